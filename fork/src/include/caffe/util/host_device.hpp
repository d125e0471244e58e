#ifndef CAFFE_UTIL_HOST_DEVICE_HPP_
#define CAFFE_UTIL_HOST_DEVICE_HPP_

/// In front of a function that kernels call, and that the CPU's tests call, too.
#ifdef __CUDACC__
#define CAFFE_HOST_DEVICE __host__ __device__ inline
#else
#define CAFFE_HOST_DEVICE inline
#endif

#endif  // CAFFE_UTIL_HOST_DEVICE_HPP_
