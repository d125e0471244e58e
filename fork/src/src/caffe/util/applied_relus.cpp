#include "caffe/util/applied_relus.hpp"

#include <string>
#include <vector>

#include "caffe/util/channel_bias.hpp"

namespace caffe {

template <typename Dtype>
std::vector<bool> ApplyReLUs(const Net<Dtype>& net) {
  std::vector<bool> applied(net.layers().size(), false);
  if (Caffe::mode() != Caffe::GPU) { return applied; }
  for (int l = 1; l < applied.size(); ++l) {
    Layer<Dtype>& relu = *net.layers()[l];
    AppliesReLU* before = dynamic_cast<AppliesReLU*>(net.layers()[l - 1].get());
    if (before == NULL || std::string(relu.type()) != "ReLU"
        || relu.layer_param().relu_param().negative_slope() != 0
        || net.top_ids(l - 1).size() != 1 || net.top_ids(l) != net.top_ids(l - 1)
        || net.bottom_ids(l) != net.top_ids(l)
        || net.layer_need_backward()[l] != net.layer_need_backward()[l - 1]) {
      continue;
    }
    before->ApplyReLU();
    applied[l] = true;
  }
  return applied;
}

template std::vector<bool> ApplyReLUs<float>(const Net<float>& net);
template std::vector<bool> ApplyReLUs<double>(const Net<double>& net);

}  // namespace caffe
