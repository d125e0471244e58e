#include <vector>

#include "caffe/layers/safe_inv_layer.hpp"

namespace caffe {

template <typename Dtype>
void SafeInvLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const Dtype* x = bottom[0]->cpu_data();
  Dtype* y = top[0]->mutable_cpu_data();
  const int count = bottom[0]->count();
  for (int i = 0; i < count; ++i) {
    y[i] = x[i] == 0 ? Dtype(0) : 1 / x[i];
  }
}

template <typename Dtype>
void SafeInvLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) { return; }
  const Dtype* y = top[0]->cpu_data();
  const Dtype* y_diff = top[0]->cpu_diff();
  Dtype* x_diff = bottom[0]->mutable_cpu_diff();
  const int count = bottom[0]->count();
  for (int i = 0; i < count; ++i) {
    x_diff[i] = -y[i] * y[i] * y_diff[i];
  }
}

#ifdef CPU_ONLY
STUB_GPU(SafeInvLayer);
#endif

INSTANTIATE_CLASS(SafeInvLayer);
REGISTER_LAYER_CLASS(SafeInv);

}  // namespace caffe
