#ifndef CAFFE_UTIL_CHANNEL_BIAS_HPP_
#define CAFFE_UTIL_CHANNEL_BIAS_HPP_

#include "caffe/util/host_device.hpp"

namespace caffe {

/// ReLU; NaN stays what it is.
template <typename Dtype>
CAFFE_HOST_DEVICE Dtype Rectified(Dtype x) {
  return x <= 0 ? Dtype(0) : x;
}

/// The gradient of x, by y = Rectified(x) and y's gradient.
template <typename Dtype>
CAFFE_HOST_DEVICE Dtype RectifiedGradient(Dtype y, Dtype y_diff) {
  return y > 0 ? y_diff : Dtype(0);
}

/// A layer that can apply the ReLU which follows it in place, where it adds its bias.
class AppliesReLU {
 public:
  virtual ~AppliesReLU() {}
  /// Whether, from now on on a GPU, y is rectified, and y's gradient is taken for that of
  /// the ReLU, which Backward overwrites by that of what was rectified.
  virtual void ApplyReLU(bool applies) = 0;
};

#ifndef CPU_ONLY

/**
 * @brief Adds a channel's bias to all of its values, and rectifies them, on the GPU.
 *
 * @param bias  (channels), or NULL
 * @param y     (count x channels x spatial)
 */
template <typename Dtype>
void AddChannelBiasGpu(int count, int channels, int spatial, bool relu, const Dtype* bias,
    Dtype* y);

/**
 * @brief The gradients of AddChannelBiasGpu, in one pass and without atomics: the same
 *        values in every run.
 *
 * @param y       what it made, where it rectified; otherwise NULL
 * @param y_diff  the gradient of y; where y is given, becomes that of what was rectified
 * @param bias_diff  (channels): what is found is added to it; or NULL
 */
template <typename Dtype>
void ChannelBiasGradientGpu(int count, int channels, int spatial, const Dtype* y,
    Dtype* y_diff, Dtype* bias_diff);

#endif  // CPU_ONLY

}  // namespace caffe

#endif  // CAFFE_UTIL_CHANNEL_BIAS_HPP_
