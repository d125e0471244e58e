#ifndef CAFFE_DNNL_INNER_PRODUCT_LAYER_HPP_
#define CAFFE_DNNL_INNER_PRODUCT_LAYER_HPP_

#ifdef USE_DNNL

#include <vector>

#include "caffe/layers/inner_product_layer.hpp"

namespace caffe {

/**
 * @brief InnerProductLayer through oneDNN on the CPU (`engine: DNNL`).
 *
 * The products are oneDNN's sgemm rather than its inner product primitives: those would
 * convert the weights, or write their gradient to memory of its own before it can be
 * added, and both are as large as all of the rest. Doubles and the GPU take the stock
 * layer's way.
 */
template <typename Dtype>
class DNNLInnerProductLayer : public InnerProductLayer<Dtype> {
 public:
  explicit DNNLInnerProductLayer(const LayerParameter& param)
      : InnerProductLayer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);
};

}  // namespace caffe

#endif  // USE_DNNL

#endif  // CAFFE_DNNL_INNER_PRODUCT_LAYER_HPP_
