#ifndef CAFFE_DNNL_CONV_LAYER_HPP_
#define CAFFE_DNNL_CONV_LAYER_HPP_

#ifdef USE_DNNL

#include <vector>

#include "caffe/layers/conv_layer.hpp"
#include "caffe/layers/dnnl_base_conv_layer.hpp"

namespace caffe {

/**
 * @brief ConvolutionLayer through oneDNN on the CPU (`engine: DNNL`).
 *
 * Doubles, 0 or more than 3 spatial axes, empty blobs, geometries for which oneDNN has
 * no fast implementation, and the GPU take the stock layer's way. Nothing here copies
 * images to columns, so force_nd_im2col means nothing.
 */
template <typename Dtype>
class DNNLConvolutionLayer
    : public DNNLBaseConvolutionLayer<Dtype, ConvolutionLayer<Dtype> > {
 public:
  explicit DNNLConvolutionLayer(const LayerParameter& param)
      : DNNLBaseConvolutionLayer<Dtype, ConvolutionLayer<Dtype> >(param),
        convolution_(NULL) {}
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);

  DnnlConvolution* convolution_;  ///< of the present shapes; NULL where not usable
};

}  // namespace caffe

#endif  // USE_DNNL

#endif  // CAFFE_DNNL_CONV_LAYER_HPP_
