#ifndef CAFFE_UTIL_CUDA_DEVICE_CODE_HPP_
#define CAFFE_UTIL_CUDA_DEVICE_CODE_HPP_
#ifndef CPU_ONLY

#include <cuda_runtime.h>

namespace caffe {

/// Whether this build's kernels run on the current card: cudaSuccess, or why not.
cudaError_t CodeForCurrentDevice();

}  // namespace caffe

#endif  // CPU_ONLY
#endif  // CAFFE_UTIL_CUDA_DEVICE_CODE_HPP_
