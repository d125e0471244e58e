#ifndef CAFFE_UTIL_LOSS_FUNCTORS_HPP_
#define CAFFE_UTIL_LOSS_FUNCTORS_HPP_

#include <cfloat>
#include <cmath>

#include "caffe/util/host_device.hpp"
#include "caffe/util/label_check.hpp"

/// What losses and their gradients compute on a GPU, for one element each. A term adds to
/// `kSums` sums; what finishes takes the sums over all elements (util/device_sum.cuh).

namespace caffe {

/// EuclideanLoss: the sum of the squares of a - b.
template <typename Dtype>
struct SquaredDifference {
  enum { kSums = 1 };
  const Dtype* a;
  const Dtype* b;

  CAFFE_HOST_DEVICE void operator()(int i, double* sums) const {
    const Dtype difference = a[i] - b[i];
    sums[0] += difference * difference;
  }
};

template <typename Dtype>
struct EuclideanLossOfSum {
  int num;
  Dtype* loss;

  CAFFE_HOST_DEVICE void operator()(const double* sums) const {
    *loss = static_cast<Dtype>(sums[0]) / num / Dtype(2);
  }
};

/// The gradients of a and b, either of which may be NULL.
template <typename Dtype>
struct EuclideanGradient {
  const Dtype* a;
  const Dtype* b;
  const Dtype* loss_weight;
  int num;
  Dtype* a_diff;
  Dtype* b_diff;

  CAFFE_HOST_DEVICE void operator()(int i) const {
    const Dtype alpha = *loss_weight / num;
    const Dtype difference = a[i] - b[i];
    if (a_diff) { a_diff[i] = alpha * difference; }
    if (b_diff) { b_diff[i] = -alpha * difference; }
  }
};

/// Where an element of (outer, channels, inner) finds its label, of (outer, inner).
template <typename Dtype>
struct Labels {
  const Dtype* label;
  int channels, inner;
  bool has_ignore_label;
  int ignore_label;

  CAFFE_HOST_DEVICE int Of(int item) const { return static_cast<int>(label[item]); }
  CAFFE_HOST_DEVICE bool Ignored(int value) const {
    return has_ignore_label && value == ignore_label;
  }
};

/// SoftmaxWithLoss: the sum of -log of the labels' probabilities, and how many counted.
/// An item is one of the labels. One that has no output does not count; it goes to
/// `foreign`, as PackLabel.
template <typename Dtype>
struct LogLikelihood {
  enum { kSums = 2 };
  const Dtype* prob;
  Labels<Dtype> labels;
  unsigned long long* foreign;  // NOLINT(runtime/int)

  CAFFE_HOST_DEVICE void operator()(int item, double* sums) const {
    const int value = labels.Of(item);
    if (labels.Ignored(value)) { return; }
    if (value < 0 || value >= labels.channels) {
      *foreign = PackLabel(value);
      return;
    }
    const int n = item / labels.inner, place = item % labels.inner;
    const Dtype p = prob[(n * labels.channels + value) * labels.inner + place];
    sums[0] -= std::log(p < Dtype(FLT_MIN) ? Dtype(FLT_MIN) : p);  // NaN stays NaN
    sums[1] += 1;
  }
};

/// The loss, and what it was divided by, which the gradient needs.
template <typename Dtype>
struct SoftmaxLossOfSums {
  Dtype fixed_normalizer;  ///< at least 1; 0: the number of labels that counted
  Dtype* normalizer;
  Dtype* loss;

  CAFFE_HOST_DEVICE void operator()(const double* sums) const {
    Dtype divisor = fixed_normalizer;
    if (divisor == 0) { divisor = sums[1] < 1 ? Dtype(1) : static_cast<Dtype>(sums[1]); }
    *normalizer = divisor;
    *loss = static_cast<Dtype>(sums[0]) / divisor;
  }
};

template <typename Dtype>
struct SoftmaxLossGradient {
  const Dtype* prob;
  Labels<Dtype> labels;
  const Dtype* loss_weight;
  const Dtype* normalizer;
  Dtype* diff;

  CAFFE_HOST_DEVICE void operator()(int i) const {
    const int place = i % labels.inner;
    const int channel = i / labels.inner % labels.channels;
    const int n = i / labels.inner / labels.channels;
    const int value = labels.Of(n * labels.inner + place);
    const Dtype hit = channel == value ? 1 : 0;
    diff[i] = labels.Ignored(value) ? Dtype(0)
        : (prob[i] - hit) * (*loss_weight / *normalizer);
  }
};

/// A top's share of the network's loss: its values times their weights.
template <typename Dtype>
struct WeightedLoss {
  enum { kSums = 1 };
  const Dtype* values;
  const Dtype* weights;

  CAFFE_HOST_DEVICE void operator()(int i, double* sums) const {
    sums[0] += static_cast<double>(values[i]) * weights[i];
  }
};

/// Where it goes: to what others of the same pass gave, or, of the first one, alone.
struct AddLoss {
  bool first;
  double* loss;

  CAFFE_HOST_DEVICE void operator()(const double* sums) const {
    *loss = first ? sums[0] : *loss + sums[0];
  }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_LOSS_FUNCTORS_HPP_
