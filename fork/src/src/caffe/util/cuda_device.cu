#include "caffe/util/cuda_device_code.hpp"

namespace caffe {

__global__ void Nothing() {}

cudaError_t CodeForCurrentDevice() {
  cudaFuncAttributes attributes;
  return cudaFuncGetAttributes(&attributes, Nothing);
}

}  // namespace caffe
