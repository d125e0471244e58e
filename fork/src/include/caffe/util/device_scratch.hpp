#ifndef CAFFE_UTIL_DEVICE_SCRATCH_HPP_
#define CAFFE_UTIL_DEVICE_SCRATCH_HPP_
#ifndef CPU_ONLY

#include <cstddef>

namespace caffe {

/// At least so many bytes of the current card for what this thread's kernels leave to the
/// one behind them in the default stream. Valid until the thread asks for more.
void* DeviceScratch(size_t bytes);

}  // namespace caffe

#endif  // CPU_ONLY
#endif  // CAFFE_UTIL_DEVICE_SCRATCH_HPP_
