#include "caffe/util/loss_sum.hpp"

#include <vector>

namespace caffe {

template <typename Dtype>
void LossSum<Dtype>::Start() {
  on_host_ = 0;
#ifndef CPU_ONLY
  on_device_ = false;
#endif
}

template <typename Dtype>
void LossSum<Dtype>::Forward(Layer<Dtype>* layer, const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
#ifndef CPU_ONLY
  if (Caffe::mode() == Caffe::GPU) {
    layer->ForwardOnGpu(bottom, top);
    for (int i = 0; i < top.size(); ++i) {
      if (layer->loss(i)) { AddOnDevice(*top[i]); }
    }
    return;
  }
#endif
  on_host_ += layer->Forward(bottom, top);
}

#ifdef CPU_ONLY

template <typename Dtype>
LossSum<Dtype>::LossSum() : on_host_(0) {}

template <typename Dtype>
LossSum<Dtype>::~LossSum() {}

template <typename Dtype>
void LossSum<Dtype>::Finish() {}

template <typename Dtype>
Dtype LossSum<Dtype>::Get() { return on_host_; }

#else

template <typename Dtype>
LossSum<Dtype>::LossSum()
    : on_host_(0), on_device_(false), sum_(NULL), copy_(NULL) {}

// Without checks: when a program ends, CUDA may end before the network.
template <typename Dtype>
LossSum<Dtype>::~LossSum() {
  if (sum_) { cudaFree(sum_); }
  if (copy_) { cudaFreeHost(copy_); }
}

template <typename Dtype>
void LossSum<Dtype>::Finish() {
  if (!on_device_) { return; }
  CUDA_CHECK(cudaMemcpyAsync(copy_, sum_, sizeof(*sum_), cudaMemcpyDeviceToHost,
      0));
  copied_.Record();
}

template <typename Dtype>
Dtype LossSum<Dtype>::Get() {
  if (!on_device_) { return on_host_; }
  copied_.Wait();
  return on_host_ + static_cast<Dtype>(*copy_);
}

#endif

INSTANTIATE_CLASS(LossSum);

}  // namespace caffe
