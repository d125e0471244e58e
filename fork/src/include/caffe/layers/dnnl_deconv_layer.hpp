#ifndef CAFFE_DNNL_DECONV_LAYER_HPP_
#define CAFFE_DNNL_DECONV_LAYER_HPP_

#ifdef USE_DNNL

#include <vector>

#include "caffe/layers/deconv_layer.hpp"
#include "caffe/layers/dnnl_base_conv_layer.hpp"

namespace caffe {

/**
 * @brief DeconvolutionLayer through oneDNN on the CPU (`engine: DNNL`).
 *
 * The forward pass is the gradient of a convolution's input; with stride 1 it is a
 * convolution itself, with mirrored weights, which is faster unless the tops have so few
 * channels that oneDNN would multiply matrices. What takes the stock layer's way is the
 * same as in DNNLConvolutionLayer.
 */
template <typename Dtype>
class DNNLDeconvolutionLayer
    : public DNNLBaseConvolutionLayer<Dtype, DeconvolutionLayer<Dtype> > {
 public:
  explicit DNNLDeconvolutionLayer(const LayerParameter& param)
      : DNNLBaseConvolutionLayer<Dtype, DeconvolutionLayer<Dtype> >(param),
        convolution_(NULL), mirrored_(NULL) {}
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);

  /// The convolution from tops to bottoms; NULL where not usable.
  DnnlConvolution* convolution_;
  /// The convolution from bottoms to tops, with bias; NULL where there is none.
  DnnlConvolution* mirrored_;
};

}  // namespace caffe

#endif  // USE_DNNL

#endif  // CAFFE_DNNL_DECONV_LAYER_HPP_
