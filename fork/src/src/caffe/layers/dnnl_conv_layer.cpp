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
    const BlobArray input = BlobArray::Data(*bottom[i]);
    const BlobArray output = BlobArray::Data(*top[i]);
    convolution_->Forward(input, DnnlMemory(convolution_->weights(), weights), bias,
                          output, &call);
    convolution_->Equalize(input, output);
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
    const BlobArray top_diff = BlobArray::Diff(*top[i]);
    float* bias_diff =
        this->WantsBias() ? this->Floats(this->blobs_[1]->mutable_cpu_diff()) : NULL;
    if (this->WantsWeights()) {
      convolution_->BackwardWeights(BlobArray::Data(*bottom[i]), top_diff,
          DnnlMemory(convolution_->weights(),
              this->Floats(this->blobs_[0]->mutable_cpu_diff())), bias_diff, &call);
    } else if (this->WantsBias()) {
      AddChannelSums(this->num_, this->num_output_, this->out_spatial_dim_, top_diff,
                     bias_diff);
    }
    if (propagate_down[i]) {
      convolution_->BackwardInput(top_diff,
          DnnlMemory(convolution_->weights(), this->Floats(this->blobs_[0]->cpu_data())),
          BlobArray::Diff(*bottom[i]), &call);
    }
  }
}

INSTANTIATE_CLASS(DNNLConvolutionLayer);

}  // namespace caffe

#endif  // USE_DNNL
