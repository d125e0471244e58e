#ifdef USE_CUDNN
#include <vector>

#include "caffe/layers/cudnn_deconv_layer.hpp"

namespace caffe {

template <typename Dtype>
void CuDNNDeconvolutionLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const Dtype* weight = this->blobs_[0]->gpu_data();
  for (int i = 0; i < bottom.size(); ++i) {
    this->convolution().BackwardData(weight, bottom[i]->gpu_data(),
        top[i]->mutable_gpu_data());
    this->FinishForward(top[i]);
  }
}

template <typename Dtype>
void CuDNNDeconvolutionLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  for (int i = 0; i < top.size(); ++i) {
    const Dtype* top_diff = this->BeginBackward(top[i]);
    if (this->param_propagate_down_[0]) {
      this->convolution().BackwardFilter(top_diff, bottom[i]->gpu_data(),
          this->blobs_[0]->mutable_gpu_diff());
    }
    if (propagate_down[i]) {
      this->convolution().Forward(top_diff, this->blobs_[0]->gpu_data(),
          bottom[i]->mutable_gpu_diff());
    }
  }
}

INSTANTIATE_LAYER_GPU_FUNCS(CuDNNDeconvolutionLayer);

}  // namespace caffe
#endif
