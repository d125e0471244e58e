#ifndef CAFFE_CUDNN_BASE_CONV_LAYER_HPP_
#define CAFFE_CUDNN_BASE_CONV_LAYER_HPP_
#ifdef USE_CUDNN

#include <cstring>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "caffe/util/channel_bias.hpp"
#include "caffe/util/cudnn_convolution.hpp"

namespace caffe {

/**
 * @brief What CuDNNConvolutionLayer and CuDNNDeconvolutionLayer share: the shape of the
 *    convolution that has the layer's weights, bias and ReLU.
 *
 * A deconvolution undoes that convolution, whose x is the layer's top and whose y its
 * bottom.
 *
 * @tparam Stock what computes in CPU mode: ConvolutionLayer<Dtype> or
 *    DeconvolutionLayer<Dtype>.
 */
template <typename Dtype, typename Stock>
class CuDNNBaseConvolutionLayer : public Stock, public AppliesReLU {
 public:
  explicit CuDNNBaseConvolutionLayer(const LayerParameter& param)
      : Stock(param), relu_(false) {}

  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
    Stock::Reshape(bottom, top);
    CHECK_EQ(2, this->num_spatial_axes_) << "Layer " << this->layer_param_.name()
        << ": cuDNN's convolutions are over height and width; write engine: CAFFE for "
        << this->num_spatial_axes_ << " axes.";
    const bool undoes = this->reverse_dimensions();
    const int axis = this->channel_axis_;
    const Blob<Dtype>& x = undoes ? *top[0] : *bottom[0];
    const Blob<Dtype>& y = undoes ? *bottom[0] : *top[0];
    std::memset(&shape_, 0, sizeof(shape_));
    shape_.count = this->num_;
    shape_.channels = undoes ? this->num_output_ : this->channels_;
    shape_.height = x.shape(axis + 1);
    shape_.width = x.shape(axis + 2);
    shape_.outputs = undoes ? this->channels_ : this->num_output_;
    shape_.kernel_h = this->kernel_shape_.cpu_data()[0];
    shape_.kernel_w = this->kernel_shape_.cpu_data()[1];
    shape_.out_height = y.shape(axis + 1);
    shape_.out_width = y.shape(axis + 2);
    shape_.pad_h = this->pad_.cpu_data()[0];
    shape_.pad_w = this->pad_.cpu_data()[1];
    shape_.stride_h = this->stride_.cpu_data()[0];
    shape_.stride_w = this->stride_.cpu_data()[1];
    shape_.dilation_h = this->dilation_.cpu_data()[0];
    shape_.dilation_w = this->dilation_.cpu_data()[1];
    shape_.groups = this->group_;
    if (convolution_) { convolution_->SetShape(shape_); }
  }

  virtual void ApplyReLU(bool applies) { relu_ = applies; }

 protected:
  /// Made in the first pass on a GPU: in CPU mode there may be none.
  CuDNNConvolution<Dtype>& convolution() {
    if (!convolution_) {
      convolution_.reset(new CuDNNConvolution<Dtype>);
      convolution_->SetShape(shape_);
    }
    return *convolution_;
  }

  /// Adds the bias to a top and rectifies it, where there is a bias or a ReLU.
  void FinishForward(Blob<Dtype>* top) {
    AddChannelBiasGpu(this->num_, this->num_output_, this->out_spatial_dim_, relu_,
        this->bias_term_ ? this->blobs_[1]->gpu_data() : NULL, top->mutable_gpu_data());
  }

  /// The gradients of FinishForward: adds the bias', and returns that of what it began with.
  const Dtype* BeginBackward(Blob<Dtype>* top) {
    Dtype* bias_diff = this->bias_term_ && this->param_propagate_down_[1]
        ? this->blobs_[1]->mutable_gpu_diff() : NULL;
    ChannelBiasGradientGpu(this->num_, this->num_output_, this->out_spatial_dim_,
        relu_ ? top->gpu_data() : NULL, top->mutable_gpu_diff(), bias_diff);
    return top->gpu_diff();
  }

 private:
  shared_ptr<CuDNNConvolution<Dtype> > convolution_;
  typename CuDNNConvolution<Dtype>::Shape shape_;
  bool relu_;
};

}  // namespace caffe

#endif  // USE_CUDNN
#endif  // CAFFE_CUDNN_BASE_CONV_LAYER_HPP_
