#ifndef CAFFE_CUDNN_DECONV_LAYER_HPP_
#define CAFFE_CUDNN_DECONV_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "caffe/layers/cudnn_base_conv_layer.hpp"
#include "caffe/layers/deconv_layer.hpp"

namespace caffe {

#ifdef USE_CUDNN
/**
 * @brief Deconvolution by cuDNN's fastest algorithm; in CPU mode as DeconvolutionLayer.
 *
 * In place of upstream's layer of the same name, which asked functions that cuDNN 8 took
 * out, held three handles a group and a workspace of its own, and took whatever algorithm
 * the heuristics named first.
 *
 * A deconvolution's forward pass is the gradient of the data of the convolution that it
 * undoes, whose x is the layer's top and whose y its bottom.
 */
template <typename Dtype>
class CuDNNDeconvolutionLayer
    : public CuDNNBaseConvolutionLayer<Dtype, DeconvolutionLayer<Dtype> > {
 public:
  explicit CuDNNDeconvolutionLayer(const LayerParameter& param)
      : CuDNNBaseConvolutionLayer<Dtype, DeconvolutionLayer<Dtype> >(param) {}

 protected:
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);
};
#endif

}  // namespace caffe

#endif  // CAFFE_CUDNN_DECONV_LAYER_HPP_
