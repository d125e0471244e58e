#ifdef USE_DNNL

#include <vector>

#include "caffe/layers/dnnl_conv_layer.hpp"

namespace caffe {

template <typename Dtype>
void DNNLConvolutionLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  ConvolutionLayer<Dtype>::Reshape(bottom, top);
  convolution_ = NULL;
  if (this->Usable(bottom, top)) {
    ConvolutionGeometry geometry = this->Geometry();
    geometry.bias = this->bias_term_;
    convolution_ = this->Convolution(geometry);
  }
}

template <typename Dtype>
void DNNLConvolutionLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  if (!convolution_ || !convolution_->HasForward()) {
    ConvolutionLayer<Dtype>::Forward_cpu(bottom, top);
    return;
  }
  const float* weights = this->Floats(this->blobs_[0]->cpu_data());
  const float* bias =
      this->bias_term_ ? this->Floats(this->blobs_[1]->cpu_data()) : NULL;
  for (size_t i = 0; i < bottom.size(); ++i) {
    DnnlCall call(convolution_->reorders());
    convolution_->Forward(
        DnnlMemory(convolution_->input(), this->Floats(bottom[i]->cpu_data())),
        DnnlMemory(convolution_->weights(), weights), bias,
        DnnlMemory(convolution_->output(), this->Floats(top[i]->mutable_cpu_data())),
        &call);
  }
}

template <typename Dtype>
void DNNLConvolutionLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (!convolution_ || (this->WantsWeights() && !convolution_->HasBackwardWeights())
      || (this->WantsAny(propagate_down) && !convolution_->HasBackwardInput())) {
    ConvolutionLayer<Dtype>::Backward_cpu(top, propagate_down, bottom);
    return;
  }
  for (size_t i = 0; i < top.size(); ++i) {
    DnnlCall call(convolution_->reorders());
    const float* top_diff = this->Floats(top[i]->cpu_diff());
    const dnnl::memory output_diff = DnnlMemory(convolution_->output(), top_diff);
    float* bias_diff =
        this->WantsBias() ? this->Floats(this->blobs_[1]->mutable_cpu_diff()) : NULL;
    if (this->WantsWeights()) {
      convolution_->BackwardWeights(
          DnnlMemory(convolution_->input(), this->Floats(bottom[i]->cpu_data())),
          output_diff, DnnlMemory(convolution_->weights(),
              this->Floats(this->blobs_[0]->mutable_cpu_diff())), bias_diff, &call);
    } else if (this->WantsBias()) {
      AddChannelSums(this->num_, this->num_output_, this->out_spatial_dim_, top_diff,
                     bias_diff);
    }
    if (propagate_down[i]) {
      convolution_->BackwardInput(output_diff,
          DnnlMemory(convolution_->weights(), this->Floats(this->blobs_[0]->cpu_data())),
          DnnlMemory(convolution_->input(), this->Floats(bottom[i]->mutable_cpu_diff())),
          &call);
    }
  }
}

INSTANTIATE_CLASS(DNNLConvolutionLayer);

}  // namespace caffe

#endif  // USE_DNNL
