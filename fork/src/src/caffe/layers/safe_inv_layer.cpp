#include <vector>

#include "caffe/layers/safe_inv_layer.hpp"
#include "caffe/util/safe_inv.hpp"

namespace caffe {

template <typename Dtype>
void SafeInvLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const SafeInverse<Dtype> inverse = {bottom[0]->cpu_data(), top[0]->mutable_cpu_data()};
  const int count = bottom[0]->count();
  for (int i = 0; i < count; ++i) { inverse(i); }
}

template <typename Dtype>
void SafeInvLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) { return; }
  const SafeInverseGradient<Dtype> gradient = {top[0]->cpu_data(), top[0]->cpu_diff(),
      bottom[0]->mutable_cpu_diff()};
  const int count = bottom[0]->count();
  for (int i = 0; i < count; ++i) { gradient(i); }
}

#ifdef CPU_ONLY
STUB_GPU(SafeInvLayer);
#endif

INSTANTIATE_CLASS(SafeInvLayer);
REGISTER_LAYER_CLASS(SafeInv);

}  // namespace caffe
