#ifndef CAFFE_UTIL_FINITE_HPP_
#define CAFFE_UTIL_FINITE_HPP_

#include <stdexcept>
#include <string>

#include "caffe/blob.hpp"

namespace caffe {

template <typename Dtype> class Net;

/// Training cannot go on. what(): sentences that say why.
class TrainingFault : public std::runtime_error {
 public:
  explicit TrainingFault(const std::string& why) : std::runtime_error(why) {}
};

/// Whether all of a blob's values are numbers, and none is infinite.
template <typename Dtype>
bool IsFinite(const Blob<Dtype>& blob);

/// The first layer whose parameters are not finite; "" where all are.
template <typename Dtype>
std::string LayerNotFinite(const Net<Dtype>& net);

/// The first loss that is not finite after a forward pass, and its value: "loss <blob> is
/// nan"; where each of them is and their sum is not, "total loss is inf".
template <typename Dtype>
std::string LossNotFinite(const Net<Dtype>& net, Dtype sum);

/// What the first layer after whose pass something is not finite has: its weights, or else
/// its outputs, as a clause; "" where all layers' are finite. updates: there were so many.
template <typename Dtype>
std::string FirstNotFinite(const Net<Dtype>& net, int updates);

}  // namespace caffe

#endif  // CAFFE_UTIL_FINITE_HPP_
