#ifndef CAFFE_GAUSSIAN_NOISE_LAYER_HPP_
#define CAFFE_GAUSSIAN_NOISE_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

#include "caffe/layers/neuron_layer.hpp"

namespace caffe {

/**
 * @brief Adds Gaussian noise in the training phase, new at every forward pass.
 *
 * Bottom: @f$ x @f$ of any shape. Top: of the same shape (in place or not)
 * @f$ y = x + \sigma n @f$, @f$ n \sim N(0, 1) @f$ for every value by itself, with
 * `gaussian_noise_param { std }` for @f$ \sigma @f$; @f$ y = x @f$ in the test phase
 * and where @f$ \sigma = 0 @f$. The numbers are Caffe's, so that `random_seed` makes
 * them again.
 *
 * Backward: @f$ \partial E / \partial x = \partial E / \partial y @f$.
 *
 * In place it must not follow a layer that needs its own top again for its backward
 * pass, as Sigmoid and TanH do, and ReLU where it is in place itself.
 *
 * Fails (CHECK) on a negative or infinite @f$ \sigma @f$.
 */
template <typename Dtype>
class GaussianNoiseLayer : public NeuronLayer<Dtype> {
 public:
  explicit GaussianNoiseLayer(const LayerParameter& param)
      : NeuronLayer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "GaussianNoise"; }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);

  bool Noisy() const { return this->phase_ == TRAIN && std_ > 0; }

  Dtype std_;
  /// One number more than needed where the count is odd: cuRAND makes pairs.
  Blob<Dtype> noise_;
};

}  // namespace caffe

#endif  // CAFFE_GAUSSIAN_NOISE_LAYER_HPP_
