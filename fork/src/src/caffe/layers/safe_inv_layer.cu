#include <vector>

#include "caffe/layers/safe_inv_layer.hpp"
#include "caffe/util/device_sum.cuh"
#include "caffe/util/safe_inv.hpp"

namespace caffe {

template <typename Dtype>
void SafeInvLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const SafeInverse<Dtype> inverse = {bottom[0]->gpu_data(), top[0]->mutable_gpu_data()};
  DeviceForEach(bottom[0]->count(), inverse);
}

template <typename Dtype>
void SafeInvLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) { return; }
  const SafeInverseGradient<Dtype> gradient = {top[0]->gpu_data(), top[0]->gpu_diff(),
      bottom[0]->mutable_gpu_diff()};
  DeviceForEach(bottom[0]->count(), gradient);
}

INSTANTIATE_LAYER_GPU_FUNCS(SafeInvLayer);

}  // namespace caffe
