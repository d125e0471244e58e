#ifndef CAFFE_UTIL_LOSS_SUM_HPP_
#define CAFFE_UTIL_LOSS_SUM_HPP_

#include <vector>

#include "caffe/layer.hpp"
#include "caffe/util/cuda_device.hpp"

namespace caffe {

/**
 * @brief Adds up the weighted losses of a forward pass.
 *
 * In GPU mode losses stay on the card, and so does their sum. Finish() starts to copy it to
 * the host behind the kernels of the pass; Get() alone waits for it. What the caller has
 * started in between, such as the backward pass, keeps the card busy meanwhile.
 */
template <typename Dtype>
class LossSum {
 public:
  LossSum();
  ~LossSum();

  /// Forgets what was added.
  void Start();
  /// Computes a layer's forward pass and adds its loss, in the order of the calls.
  void Forward(Layer<Dtype>* layer, const std::vector<Blob<Dtype>*>& bottom,
      const std::vector<Blob<Dtype>*>& top);
  void Finish();
  /// The sum, once Finish() was called.
  Dtype Get();

 private:
  Dtype on_host_;
#ifndef CPU_ONLY
  void AddOnDevice(const Blob<Dtype>& top);

  bool on_device_;       // whether a loss of this pass was added there
  double* sum_;          // the card's
  double* copy_;         // the host's, page-locked
  CudaEvent copied_;
#endif

  DISABLE_COPY_AND_ASSIGN(LossSum);
};

}  // namespace caffe

#endif  // CAFFE_UTIL_LOSS_SUM_HPP_
