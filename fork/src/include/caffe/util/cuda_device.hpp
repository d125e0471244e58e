#ifndef CAFFE_UTIL_CUDA_DEVICE_HPP_
#define CAFFE_UTIL_CUDA_DEVICE_HPP_
#ifndef CPU_ONLY

#include "caffe/common.hpp"
#include "caffe/util/gpu_math.hpp"

namespace caffe {

/// An attribute of the current device; CUDA 13 took some out of cudaDeviceProp.
inline int DeviceAttribute(cudaDeviceAttr attribute) {
  int device, value;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

/// How cuBLAS multiplies matrices of floats: as CAFFE_GPU_MATH says.
inline cublasMath_t CublasMath() {
  return GpuMathOfEnvironment() == GPU_MATH_TF32 ? CUBLAS_TF32_TENSOR_OP_MATH
      : CUBLAS_DEFAULT_MATH;
}

}  // namespace caffe

#endif  // CPU_ONLY
#endif  // CAFFE_UTIL_CUDA_DEVICE_HPP_
