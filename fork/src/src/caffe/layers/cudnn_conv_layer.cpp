#ifdef USE_CUDNN
#include <cstring>
#include <vector>

#include "caffe/layers/cudnn_conv_layer.hpp"

namespace caffe {

template <typename Dtype>
void CuDNNConvolutionLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
    const vector<Blob<Dtype>*>& top) {
  ConvolutionLayer<Dtype>::Reshape(bottom, top);
  CHECK_EQ(2, this->num_spatial_axes_) << "Layer " << this->layer_param_.name()
      << ": cuDNN's convolutions are over height and width; write engine: CAFFE for "
      << this->num_spatial_axes_ << " axes.";
  const int axis = this->channel_axis_;
  const Blob<Dtype>& x = *bottom[0];
  const Blob<Dtype>& y = *top[0];
  std::memset(&shape_, 0, sizeof(shape_));
  shape_.count = this->num_;
  shape_.channels = this->channels_;
  shape_.height = x.shape(axis + 1);
  shape_.width = x.shape(axis + 2);
  shape_.outputs = this->num_output_;
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

INSTANTIATE_CLASS(CuDNNConvolutionLayer);

}  // namespace caffe
#endif
