#include "caffe/util/applied_relus.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "caffe/net.hpp"

namespace caffe {

template <typename Dtype>
void AppliedReLUs<Dtype>::Find(const Net<Dtype>& net) {
  by_.assign(net.layers().size(), NULL);
  if (Caffe::mode() != Caffe::GPU) { return; }
  for (int l = 1; l < by_.size(); ++l) {
    const Layer<Dtype>& relu = *net.layers()[l];
    AppliesReLU* before = dynamic_cast<AppliesReLU*>(net.layers()[l - 1].get());
    const bool follows = before != NULL && std::string(relu.type()) == "ReLU"
        && net.top_ids(l - 1).size() == 1 && net.top_ids(l) == net.top_ids(l - 1)
        && net.bottom_ids(l) == net.top_ids(l)
        && net.layer_need_backward()[l] == net.layer_need_backward()[l - 1];
    if (follows && relu.layer_param().relu_param().negative_slope() == 0) {
      by_[l] = before;
    }
  }
}

template <typename Dtype>
void AppliedReLUs<Dtype>::Begin(int first, int last) {
  first_ = first;
  for (int l = 0; l < by_.size(); ++l) {
    if (by_[l]) { by_[l]->ApplyReLU(l > first && l <= last); }
  }
}

template <typename Dtype>
bool AppliedReLUs<Dtype>::Passes(int i) const {
  return i > first_ && by_[i] != NULL && Caffe::mode() == Caffe::GPU;
}

template <typename Dtype>
int AppliedReLUs<Dtype>::count() const {
  return by_.size() - std::count(by_.begin(), by_.end(), static_cast<AppliesReLU*>(NULL));
}

template class AppliedReLUs<float>;
template class AppliedReLUs<double>;

}  // namespace caffe
