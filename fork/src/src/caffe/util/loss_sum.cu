#include "caffe/util/loss_sum.hpp"

#include "caffe/util/device_sum.cuh"
#include "caffe/util/loss_functors.hpp"

namespace caffe {

template <typename Dtype>
void LossSum<Dtype>::AddOnDevice(const Blob<Dtype>& top) {
  if (sum_ == NULL) {
    sum_ = static_cast<double*>(AllocateOnDevice(sizeof(*sum_)));
    copy_ = static_cast<double*>(AllocatePinned(sizeof(*copy_)));
  }
  const WeightedLoss<Dtype> term = {top.gpu_data(), top.gpu_diff()};
  const AddLoss finish = {!on_device_, sum_};
  DeviceSum(top.count(), term, finish);
  on_device_ = true;
}

template void LossSum<float>::AddOnDevice(const Blob<float>&);
template void LossSum<double>::AddOnDevice(const Blob<double>&);

}  // namespace caffe
