#ifdef USE_CUDNN
#include <vector>

#include "caffe/layers/cudnn_conv_layer.hpp"

namespace caffe {

template <typename Dtype>
void CuDNNConvolutionLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const Dtype* weight = this->blobs_[0]->gpu_data();
  for (int i = 0; i < bottom.size(); ++i) {
    this->convolution().Forward(bottom[i]->gpu_data(), weight,
        top[i]->mutable_gpu_data());
    this->FinishForward(top[i]);
  }
}

template <typename Dtype>
void CuDNNConvolutionLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  for (int i = 0; i < top.size(); ++i) {
    const Dtype* top_diff = this->BeginBackward(top[i]);
    if (this->param_propagate_down_[0]) {
      this->convolution().BackwardFilter(bottom[i]->gpu_data(), top_diff,
          this->blobs_[0]->mutable_gpu_diff());
    }
    if (propagate_down[i]) {
      this->convolution().BackwardData(this->blobs_[0]->gpu_data(), top_diff,
          bottom[i]->mutable_gpu_diff());
    }
  }
}

INSTANTIATE_LAYER_GPU_FUNCS(CuDNNConvolutionLayer);

}  // namespace caffe
#endif
