#include <vector>

#include "caffe/layers/base_data_layer.hpp"

namespace caffe {

// The batch's array on the card becomes the top's; the host's stays what it is, so that the
// thread that fills it next need not fetch what it overwrites.
template <typename Dtype>
static void ShareOnDevice(const Blob<Dtype>& batch, Blob<Dtype>* top) {
  top->ReshapeLike(batch);
  top->set_gpu_data(const_cast<Dtype*>(batch.gpu_data()));
}

template <typename Dtype>
void BasePrefetchingDataLayer<Dtype>::Forward_gpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  if (prefetch_current_) {
    // The card may still be reading it.
    prefetch_current_->used_.Record();
    prefetch_free_.push(prefetch_current_);
  }
  prefetch_current_ = prefetch_full_.pop("Waiting for data");
  ShareOnDevice(prefetch_current_->data_, top[0]);
  if (this->output_labels_) {
    ShareOnDevice(prefetch_current_->label_, top[1]);
  }
}

INSTANTIATE_LAYER_GPU_FORWARD(BasePrefetchingDataLayer);

}  // namespace caffe
