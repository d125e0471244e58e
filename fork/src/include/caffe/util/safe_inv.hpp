#ifndef CAFFE_UTIL_SAFE_INV_HPP_
#define CAFFE_UTIL_SAFE_INV_HPP_

#include "caffe/util/host_device.hpp"

namespace caffe {

/// y = 1 / x, and 0 at 0.
template <typename Dtype>
struct SafeInverse {
  const Dtype* x;
  Dtype* y;

  CAFFE_HOST_DEVICE void operator()(int i) const {
    const Dtype value = x[i];
    y[i] = value == 0 ? Dtype(0) : 1 / value;
  }
};

/// Its gradient, of y alone: x may have been overwritten.
template <typename Dtype>
struct SafeInverseGradient {
  const Dtype* y;
  const Dtype* y_diff;
  Dtype* x_diff;

  CAFFE_HOST_DEVICE void operator()(int i) const { x_diff[i] = -y[i] * y[i] * y_diff[i]; }
};

}  // namespace caffe

#endif  // CAFFE_UTIL_SAFE_INV_HPP_
