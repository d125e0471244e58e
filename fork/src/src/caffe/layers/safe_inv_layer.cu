#include <vector>

#include "caffe/layers/safe_inv_layer.hpp"

namespace caffe {

template <typename Dtype>
__global__ void SafeInvForward(const int count, const Dtype* x, Dtype* y) {
  CUDA_KERNEL_LOOP(i, count) {
    y[i] = x[i] == 0 ? Dtype(0) : 1 / x[i];
  }
}

template <typename Dtype>
__global__ void SafeInvBackward(const int count, const Dtype* y,
    const Dtype* y_diff, Dtype* x_diff) {
  CUDA_KERNEL_LOOP(i, count) {
    x_diff[i] = -y[i] * y[i] * y_diff[i];
  }
}

template <typename Dtype>
void SafeInvLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const int count = bottom[0]->count();
  // NOLINT_NEXT_LINE(whitespace/operators)
  SafeInvForward<Dtype><<<CAFFE_GET_BLOCKS(count), CAFFE_CUDA_NUM_THREADS>>>(
      count, bottom[0]->gpu_data(), top[0]->mutable_gpu_data());
  CUDA_POST_KERNEL_CHECK;
}

template <typename Dtype>
void SafeInvLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) { return; }
  const int count = bottom[0]->count();
  // NOLINT_NEXT_LINE(whitespace/operators)
  SafeInvBackward<Dtype><<<CAFFE_GET_BLOCKS(count), CAFFE_CUDA_NUM_THREADS>>>(
      count, top[0]->gpu_data(), top[0]->gpu_diff(),
      bottom[0]->mutable_gpu_diff());
  CUDA_POST_KERNEL_CHECK;
}

INSTANTIATE_LAYER_GPU_FUNCS(SafeInvLayer);

}  // namespace caffe
