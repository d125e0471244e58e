#ifdef USE_DNNL

#include <vector>

#include "caffe/layers/dnnl_deconv_layer.hpp"

namespace caffe {

template <typename Dtype>
void DNNLDeconvolutionLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  DeconvolutionLayer<Dtype>::Reshape(bottom, top);
  convolution_ = mirrored_ = NULL;
  if (this->Usable(bottom, top)) {
    const ConvolutionGeometry geometry = this->Geometry();
    convolution_ = this->Convolution(geometry);
    ConvolutionGeometry mirrored;
    if (geometry.Mirrored(&mirrored)) {
      mirrored.bias = this->bias_term_;
      mirrored_ = this->Convolution(mirrored);
    }
  }
}

template <typename Dtype>
void DNNLDeconvolutionLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const bool mirror = mirrored_ && mirrored_->HasForward()
      && !mirrored_->ForwardCopiesWindows();
  if (!mirror && !(convolution_ && convolution_->HasBackwardInput())) {
    DeconvolutionLayer<Dtype>::Forward_cpu(bottom, top);
    return;
  }
  const float* weights = this->Floats(this->blobs_[0]->cpu_data());
  const float* bias =
      this->bias_term_ ? this->Floats(this->blobs_[1]->cpu_data()) : NULL;
  for (size_t i = 0; i < bottom.size(); ++i) {
    const BlobArray input = BlobArray::Data(*bottom[i]);
    const BlobArray output = BlobArray::Data(*top[i]);
    if (mirror) {
      DnnlCall call(mirrored_->reorders());
      const dnnl::memory reversed =
          call.scratch()->Take(mirrored_->transposed_weights());
      ReverseKernels(this->blobs_[0]->count(0, 2), this->blobs_[0]->count(2), weights,
                     static_cast<float*>(reversed.get_data_handle()));
      mirrored_->Forward(input, reversed, bias, output, &call);
    } else {
      DnnlCall call(convolution_->reorders());
      convolution_->BackwardInput(input, DnnlMemory(convolution_->weights(), weights),
                                  output, &call);
      if (bias) {
        AddBias(this->num_, this->num_output_, this->out_spatial_dim_, bias, output);
      }
    }
  }
}

template <typename Dtype>
void DNNLDeconvolutionLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (!convolution_ || (this->WantsWeights() && !convolution_->HasBackwardWeights())
      || (this->WantsAny(propagate_down) && !convolution_->HasForward())) {
    DeconvolutionLayer<Dtype>::Backward_cpu(top, propagate_down, bottom);
    return;
  }
  for (size_t i = 0; i < top.size(); ++i) {
    DnnlCall call(convolution_->reorders());
    const BlobArray top_diff = BlobArray::Diff(*top[i]);
    if (this->WantsWeights()) {
      convolution_->BackwardWeights(top_diff, BlobArray::Data(*bottom[i]),
          DnnlMemory(convolution_->weights(),
              this->Floats(this->blobs_[0]->mutable_cpu_diff())), NULL, &call);
    }
    if (this->WantsBias()) {
      AddChannelSums(this->num_, this->num_output_, this->out_spatial_dim_, top_diff,
                     this->Floats(this->blobs_[1]->mutable_cpu_diff()));
    }
    if (propagate_down[i]) {
      convolution_->Forward(top_diff,
          DnnlMemory(convolution_->weights(), this->Floats(this->blobs_[0]->cpu_data())),
          NULL, BlobArray::Diff(*bottom[i]), &call);
    }
  }
}

INSTANTIATE_CLASS(DNNLDeconvolutionLayer);

}  // namespace caffe

#endif  // USE_DNNL
