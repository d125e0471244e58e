#ifdef USE_CUDNN
#include <vector>

#include "caffe/layers/cudnn_conv_layer.hpp"

namespace caffe {

template <typename Dtype>
CuDNNConvolution<Dtype>& CuDNNConvolutionLayer<Dtype>::convolution() {
  if (!convolution_) {
    convolution_.reset(new CuDNNConvolution<Dtype>);
    convolution_->SetShape(shape_);
  }
  return *convolution_;
}

template <typename Dtype>
void CuDNNConvolutionLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  const Dtype* weight = this->blobs_[0]->gpu_data();
  const Dtype* bias = this->bias_term_ ? this->blobs_[1]->gpu_data() : NULL;
  for (int i = 0; i < bottom.size(); ++i) {
    convolution().Forward(bottom[i]->gpu_data(), weight,
        top[i]->mutable_gpu_data());
    AddChannelBiasGpu(this->num_, this->num_output_, this->out_spatial_dim_, relu_, bias,
        top[i]->mutable_gpu_data());
  }
}

template <typename Dtype>
void CuDNNConvolutionLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  Dtype* bias_diff = this->bias_term_ && this->param_propagate_down_[1]
      ? this->blobs_[1]->mutable_gpu_diff() : NULL;
  for (int i = 0; i < top.size(); ++i) {
    ChannelBiasGradientGpu(this->num_, this->num_output_, this->out_spatial_dim_,
        relu_ ? top[i]->gpu_data() : NULL, top[i]->mutable_gpu_diff(), bias_diff);
    const Dtype* top_diff = top[i]->gpu_diff();
    if (this->param_propagate_down_[0]) {
      convolution().BackwardFilter(bottom[i]->gpu_data(), top_diff,
          this->blobs_[0]->mutable_gpu_diff());
    }
    if (propagate_down[i]) {
      convolution().BackwardData(this->blobs_[0]->gpu_data(), top_diff,
          bottom[i]->mutable_gpu_diff());
    }
  }
}

INSTANTIATE_LAYER_GPU_FUNCS(CuDNNConvolutionLayer);

}  // namespace caffe
#endif
