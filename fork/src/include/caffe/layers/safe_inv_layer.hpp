#ifndef CAFFE_SAFE_INV_LAYER_HPP_
#define CAFFE_SAFE_INV_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "caffe/layers/neuron_layer.hpp"

namespace caffe {

/**
 * @brief Inverts every value but zero, which stays zero.
 *
 * Bottom: @f$ x @f$ of any shape. Top: of the same shape (in place or not)
 * @f$ y = 1/x @f$ where @f$ x \neq 0 @f$, and @f$ y = 0 @f$ where @f$ x = 0 @f$.
 *
 * Backward: @f$ \partial E / \partial x = -y^2 \, \partial E / \partial y @f$,
 * hence 0 where @f$ x = 0 @f$.
 */
template <typename Dtype>
class SafeInvLayer : public NeuronLayer<Dtype> {
 public:
  explicit SafeInvLayer(const LayerParameter& param)
      : NeuronLayer<Dtype>(param) {}

  virtual inline const char* type() const { return "SafeInv"; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);
};

}  // namespace caffe

#endif  // CAFFE_SAFE_INV_LAYER_HPP_
