#ifndef CPU_ONLY
#include "caffe/util/device_scratch.hpp"

#include <algorithm>
#include <map>

#include "caffe/util/cuda_device.hpp"

namespace caffe {

namespace {

struct Scratch {
  Scratch() : data(NULL), bytes(0) {}
  void* data;
  size_t bytes;
};

}  // namespace

void* DeviceScratch(size_t bytes) {
  // As long as the process lasts: when a thread's or the program's statics are destroyed,
  // CUDA may be gone.
  static thread_local std::map<int, Scratch>* devices = new std::map<int, Scratch>;
  int device;
  CUDA_CHECK(cudaGetDevice(&device));
  Scratch& scratch = (*devices)[device];
  if (bytes > scratch.bytes) {
    CUDA_CHECK(cudaFree(scratch.data));  // waits for what uses it
    scratch.bytes = std::max(bytes, size_t(1) << 16);
    scratch.data = AllocateOnDevice(scratch.bytes);
  }
  return scratch.data;
}

}  // namespace caffe
#endif  // CPU_ONLY
