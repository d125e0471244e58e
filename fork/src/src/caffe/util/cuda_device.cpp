#ifndef CPU_ONLY
#include "caffe/util/cuda_device.hpp"

#include <sstream>
#include <string>

#include "caffe/util/cuda_device_code.hpp"

namespace caffe {

namespace {

const size_t kMiB = size_t(1) << 20;

size_t Megabytes(size_t bytes) { return (bytes + kMiB - 1) / kMiB; }

// 13.0 of 13000
std::string CudaVersion(int version) {
  std::ostringstream text;
  text << version / 1000 << '.' << version % 1000 / 10;
  return text.str();
}

std::string DriverVersion() {
  int version = 0;
  cudaDriverGetVersion(&version);
  return CudaVersion(version);
}

std::string RuntimeVersion() {
  int version = 0;
  cudaRuntimeGetVersion(&version);
  return CudaVersion(version);
}

// Why CUDA cannot be used at all; "" where that is not what failed.
std::string WhyNoCuda(cudaError_t error) {
  int driver = 0;
  switch (error) {
  case cudaErrorInsufficientDriver:
  case cudaErrorStubLibrary:
    cudaDriverGetVersion(&driver);
    if (driver == 0 || error == cudaErrorStubLibrary) {
      return "There is no NVIDIA driver on this machine, which computing on a GPU takes;"
          " install one, or run without --gpu.";
    }
    return "NVIDIA's driver on this machine is too old: it is for CUDA "
        + CudaVersion(driver) + ", and this Caffe uses CUDA " + RuntimeVersion()
        + "; install a newer driver, or build with an older CUDA.";
  case cudaErrorNoDevice:
    return "There is no NVIDIA GPU on this machine, or CUDA_VISIBLE_DEVICES hides it; run"
        " without --gpu.";
  case cudaErrorSystemDriverMismatch:
  case cudaErrorCompatNotSupportedOnDevice:
    return std::string("NVIDIA's driver on this machine does not fit its libraries (")
        + cudaGetErrorString(error) + "); install the driver anew, and restart.";
  default:
    return "";
  }
}

// Ends the program with the reason why a call failed.
void EndBecause(cudaError_t error, const char* what) {
  cudaGetLastError();  // so that nobody meets it again
  const std::string why = WhyNoCuda(error);
  if (!why.empty()) { LOG(FATAL) << why; }
  LOG(FATAL) << "CUDA cannot " << what << ": " << cudaGetErrorString(error) << ".";
}

}  // namespace

int CountDevices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) { EndBecause(error, "count the machine's GPUs"); }
  if (count == 0) { EndBecause(cudaErrorNoDevice, ""); }
  return count;
}

void ExpectDevice(int device) {
  const int count = CountDevices();
  if (device >= 0 && device < count) { return; }
  LOG(FATAL) << "There is no GPU " << device << ": this machine has " << count
      << (count == 1 ? " GPU, number 0" : " GPUs, numbers 0 to ")
      << (count == 1 ? "" : std::to_string(count - 1)) << ".";
}

void UseDevice(int device) {
  ExpectDevice(device);
  cudaError_t error = cudaSetDevice(device);
  if (error != cudaSuccess) { EndBecause(error, "use this GPU"); }
  error = CodeForCurrentDevice();
  if (error == cudaErrorNoKernelImageForDevice || error == cudaErrorInvalidDeviceFunction
      || error == cudaErrorUnsupportedPtxVersion) {
    cudaDeviceProp properties;
    CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
    LOG(FATAL) << "GPU " << device << ", " << properties.name << ", has compute capability "
        << properties.major << '.' << properties.minor << ", and this Caffe was built for "
        << "others; build it with CUDA_ARCHITECTURES=" << properties.major
        << properties.minor << " fork/build.sh --cuda, if CUDA " << RuntimeVersion()
        << " still knows this card.";
  }
  if (error != cudaSuccess) { EndBecause(error, "use this GPU"); }
}

std::string DescribeDevice(int device) {
  cudaDeviceProp properties;
  CUDA_CHECK(cudaGetDeviceProperties(&properties, device));
  std::ostringstream text;
  text << "GPU " << device << ": " << properties.name << ", compute capability "
      << properties.major << '.' << properties.minor << ", "
      << properties.totalGlobalMem / kMiB << " MB, driver " << DriverVersion()
      << ", CUDA " << RuntimeVersion();
#ifdef USE_CUDNN
  const size_t cudnn = cudnnGetVersion();
  const size_t major = cudnn >= 90000 ? 10000 : 1000;
  text << ", cuDNN " << cudnn / major << '.' << cudnn % major / 100 << '.' << cudnn % 100;
#endif
  text << ", math " << GpuMathName(CurrentGpuMath()) << ", deterministic "
      << (Deterministic() ? "yes" : "no");
  return text.str();
}

void* AllocateOnDevice(size_t bytes) {
  void* memory = NULL;
  const cudaError_t error = cudaMalloc(&memory, bytes);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    LOG(FATAL) << "The card has no memory left for " << Megabytes(bytes) << " MB (it has "
        << free / kMiB << " MB free of " << total / kMiB << " MB); take fewer "
        << "images a batch, and iter_size.";
  }
  if (error != cudaSuccess) { EndBecause(error, "get memory on the card"); }
  return memory;
}

void* AllocatePinned(size_t bytes) {
  void* memory = NULL;
  const cudaError_t error = cudaMallocHost(&memory, bytes);
  if (error == cudaErrorMemoryAllocation) {
    LOG(FATAL) << "The machine has no memory left for " << Megabytes(bytes)
        << " MB that the card can read; take fewer images a batch, and iter_size.";
  }
  if (error != cudaSuccess) { EndBecause(error, "get memory that the card can read"); }
  return memory;
}

}  // namespace caffe
#endif  // CPU_ONLY
