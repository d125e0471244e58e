#ifndef CAFFE_CUDNN_CONV_LAYER_HPP_
#define CAFFE_CUDNN_CONV_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "caffe/layers/conv_layer.hpp"
#include "caffe/util/channel_bias.hpp"
#include "caffe/util/cudnn_convolution.hpp"

namespace caffe {

#ifdef USE_CUDNN
/**
 * @brief Convolution by cuDNN's fastest algorithm; in CPU mode as ConvolutionLayer.
 *
 * In place of upstream's layer of the same name, which asked functions that cuDNN 8 took
 * out, held three handles a group and a workspace of its own, and took whatever algorithm
 * the heuristics named first.
 */
template <typename Dtype>
class CuDNNConvolutionLayer : public ConvolutionLayer<Dtype>, public AppliesReLU {
 public:
  explicit CuDNNConvolutionLayer(const LayerParameter& param)
      : ConvolutionLayer<Dtype>(param), relu_(false) {}
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void ApplyReLU(bool applies) { relu_ = applies; }

 protected:
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);

  /// Made in the first pass on a GPU: in CPU mode there may be none.
  CuDNNConvolution<Dtype>& convolution();

  shared_ptr<CuDNNConvolution<Dtype> > convolution_;
  typename CuDNNConvolution<Dtype>::Shape shape_;
  bool relu_;
};
#endif

}  // namespace caffe

#endif  // CAFFE_CUDNN_CONV_LAYER_HPP_
