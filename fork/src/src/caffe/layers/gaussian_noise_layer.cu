#include <vector>

#include "caffe/layers/gaussian_noise_layer.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

template <typename Dtype>
void GaussianNoiseLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const int count = bottom[0]->count();
  const Dtype* x = bottom[0]->gpu_data();
  Dtype* y = top[0]->mutable_gpu_data();
  if (!Noisy()) {
    caffe_copy(count, x, y);
    return;
  }
  Dtype* noise = noise_.mutable_gpu_data();
  caffe_gpu_rng_gaussian(noise_.count(), Dtype(0), std_, noise);
  caffe_gpu_add(count, x, noise, y);
}

template <typename Dtype>
void GaussianNoiseLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0]) { return; }
  caffe_copy(bottom[0]->count(), top[0]->gpu_diff(), bottom[0]->mutable_gpu_diff());
}

INSTANTIATE_LAYER_GPU_FUNCS(GaussianNoiseLayer);

}  // namespace caffe
