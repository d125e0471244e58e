#ifndef CAFFE_UTIL_CUDA_DEVICE_HPP_
#define CAFFE_UTIL_CUDA_DEVICE_HPP_
#ifndef CPU_ONLY

#include <string>

#include "caffe/common.hpp"
#include "caffe/util/gpu_math.hpp"

namespace caffe {

/// How many cards there are. Ends the program with a sentence where there is none, or no
/// driver that this build can use.
int CountDevices();

/// Ends the program with a sentence unless there is a card of this number.
void ExpectDevice(int device);

/// Makes the card the calling thread's. Ends the program with a sentence unless it is there
/// and this build has code for it.
void UseDevice(int device);

/// One line: number, name, compute capability, memory, driver, CUDA, cuDNN, and what this
/// thread computes with.
std::string DescribeDevice(int device);

/// Memory of the current card, for cudaFree. Ends the program with a sentence where there is
/// not enough.
void* AllocateOnDevice(size_t bytes);

/// Page-locked memory of the host, for cudaFreeHost; likewise.
void* AllocatePinned(size_t bytes);

/// An attribute of the current device; CUDA 13 took some out of cudaDeviceProp.
inline int DeviceAttribute(cudaDeviceAttr attribute) {
  int device, value;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

/// How cuBLAS multiplies matrices of floats in this thread.
inline cublasMath_t CublasMath() {
  return CurrentGpuMath() == GPU_MATH_TF32 ? CUBLAS_TF32_TENSOR_OP_MATH
      : CUBLAS_DEFAULT_MATH;
}

/// @brief A place in a stream that others can wait for; none before the first Record().
class CudaEvent {
 public:
  CudaEvent() : event_(NULL) {}
  // Without checks: when a program ends, CUDA may end before its objects.
  ~CudaEvent() { if (event_) { cudaEventDestroy(event_); } }

  /// Behind all that was started in the default stream.
  void Record() {
    if (event_ == NULL) {
      CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming));
    }
    CUDA_CHECK(cudaEventRecord(event_, 0));
  }
  /// What is started in the stream from now on waits; the host does not.
  void HoldUp(cudaStream_t stream) const {
    if (event_) { CUDA_CHECK(cudaStreamWaitEvent(stream, event_, 0)); }
  }
  /// The host waits.
  void Wait() const {
    if (event_) { CUDA_CHECK(cudaEventSynchronize(event_)); }
  }

 private:
  cudaEvent_t event_;
  DISABLE_COPY_AND_ASSIGN(CudaEvent);
};

}  // namespace caffe

#endif  // CPU_ONLY
#endif  // CAFFE_UTIL_CUDA_DEVICE_HPP_
