#include <vector>

#include "caffe/layers/euclidean_loss_layer.hpp"
#include "caffe/util/device_sum.cuh"
#include "caffe/util/loss_functors.hpp"

namespace caffe {

// The difference is not kept: the backward pass takes it again, which moves as much memory
// and holds none. Both bottoms must be then what they are in the forward pass.
template <typename Dtype>
void EuclideanLossLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const SquaredDifference<Dtype> term = {bottom[0]->gpu_data(), bottom[1]->gpu_data()};
  const EuclideanLossOfSum<Dtype> finish = {bottom[0]->num(),
      top[0]->mutable_gpu_data()};
  DeviceSum(bottom[0]->count(), term, finish);
}

template <typename Dtype>
void EuclideanLossLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (!propagate_down[0] && !propagate_down[1]) { return; }
  const EuclideanGradient<Dtype> gradient = {bottom[0]->gpu_data(),
      bottom[1]->gpu_data(), top[0]->gpu_diff(), bottom[0]->num(),
      propagate_down[0] ? bottom[0]->mutable_gpu_diff() : NULL,
      propagate_down[1] ? bottom[1]->mutable_gpu_diff() : NULL};
  DeviceForEach(bottom[0]->count(), gradient);
}

INSTANTIATE_LAYER_GPU_FUNCS(EuclideanLossLayer);

}  // namespace caffe
