#ifdef USE_CUDNN
#include "caffe/util/cudnn_convolution.hpp"

#include <sys/stat.h>
#include <sys/types.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace caffe {

namespace {

const size_t kMegabyte = size_t(1) << 20;

size_t WorkspaceLimit() {
  const char* value = std::getenv("CAFFE_CUDNN_WORKSPACE_MB");
  if (value == NULL || *value == '\0') { return 1024 * kMegabyte; }
  char* end;
  const long megabytes = std::strtol(value, &end, 10);  // NOLINT(runtime/int)
  CHECK(*end == '\0' && megabytes >= 0 && megabytes <= (1 << 20))
      << "CAFFE_CUDNN_WORKSPACE_MB in the environment is " << value
      << "; it is a number of megabytes, 1024 by default.";
  return megabytes * kMegabyte;
}

// Where algorithms are kept across runs; "" for nowhere.
std::string CachePath() {
  if (const char* given = std::getenv("CAFFE_CUDNN_CACHE")) { return given; }
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  std::string folder;
  if (cache != NULL && *cache) {
    folder = cache;
  } else if (home != NULL && *home) {
    folder = std::string(home) + "/.cache";
  } else {
    return "";
  }
  mkdir(folder.c_str(), 0777);
  folder += "/caffe";
  mkdir(folder.c_str(), 0777);
  return folder + "/cudnn.txt";
}

AlgorithmCache& Cache() {
  static AlgorithmCache cache(CachePath());
  return cache;
}

// What the convolutions of one thread share on a device. It lasts until the process
// ends: when a thread's or the program's statics are destroyed, CUDA may be gone.
class Device {
 public:
  static Device& Current() {
    static thread_local std::map<int, Device*>* devices = new std::map<int, Device*>;
    int number;
    CUDA_CHECK(cudaGetDevice(&number));
    Device*& device = (*devices)[number];
    if (device == NULL) { device = new Device(number); }
    return *device;
  }

  cudnnHandle_t handle() const { return handle_; }
  const std::string& name() const { return name_; }

  // At least so many bytes, valid until the next call.
  void* Workspace(size_t bytes) {
    if (bytes > bytes_) {
      CUDA_CHECK(cudaFree(workspace_));  // waits for what uses it
      workspace_ = NULL;
      bytes_ = 0;
      CHECK_EQ(cudaMalloc(&workspace_, bytes), cudaSuccess)
          << "The card has no memory left for the " << (bytes + kMegabyte - 1) / kMegabyte
          << " MB of workspace that a convolution takes; allow it less with "
          << "CAFFE_CUDNN_WORKSPACE_MB, or take fewer images a batch, and iter_size.";
      bytes_ = bytes;
    }
    return workspace_;
  }

 private:
  explicit Device(int number) : workspace_(NULL), bytes_(0) {
    CUDNN_CHECK(cudnnCreate(&handle_));
    cudaDeviceProp properties;
    CUDA_CHECK(cudaGetDeviceProperties(&properties, number));
    name_ = properties.name;
    std::replace(name_.begin(), name_.end(), '\t', ' ');
  }

  cudnnHandle_t handle_;
  std::string name_;
  void* workspace_;
  size_t bytes_;
};

// Memory of the card for as long as the object lives; as much as there is of what was
// wished for.
class DeviceMemory {
 public:
  explicit DeviceMemory(size_t wished, bool all = false) : data_(NULL), bytes_(wished) {
    while (bytes_ > 0 && cudaMalloc(&data_, bytes_) != cudaSuccess) {
      cudaGetLastError();
      data_ = NULL;
      bytes_ = all ? 0 : bytes_ / 2;
    }
  }
  ~DeviceMemory() { cudaFree(data_); }
  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  void* data_;
  size_t bytes_;
  DISABLE_COPY_AND_ASSIGN(DeviceMemory);
};

// The fastest of what cuDNN has measured that fits and that may be taken; they come in
// the order of their times. A search tries DEFAULT_MATH beside the math that it is asked
// for, which for floats means TF32. Where FMA_MATH is asked for and nothing is reported
// with it, as may be on a card without TF32, what is reported otherwise is taken with it;
// `needs` tells the workspace of an algorithm, or that there is none of that math.
// `larger` is set if an algorithm was left out that needs more workspace.
template <typename Performance, typename Needs>
bool Fastest(const std::vector<Performance>& measured, int count, size_t limit,
    cudnnMathType_t asked, const Needs& needs, Algorithm* found, bool* larger) {
  const bool deterministic = Deterministic();
  for (int i = 0; i < count; ++i) {
    size_t bytes;
    if (measured[i].status != CUDNN_STATUS_SUCCESS
        && needs(measured[i].algo, &bytes) == CUDNN_STATUS_SUCCESS && bytes > limit) {
      *larger = true;
    }
  }
  for (int as_reported = 1; as_reported >= 0; --as_reported) {
    for (int i = 0; i < count; ++i) {
      const Performance& each = measured[i];
      if (each.status != CUDNN_STATUS_SUCCESS) { continue; }
      if (deterministic && each.determinism != CUDNN_DETERMINISTIC) { continue; }
      found->number = each.algo;
      found->math = each.mathType;
      found->workspace = each.memory;
      found->milliseconds = each.time;
      if (asked == CUDNN_FMA_MATH && each.mathType != CUDNN_FMA_MATH) {
        found->math = CUDNN_FMA_MATH;
        if (as_reported || needs(each.algo, &found->workspace) != CUDNN_STATUS_SUCCESS) {
          continue;
        }
      }
      if (found->workspace <= limit) { return true; }
    }
  }
  return false;
}

const char* PassName(int pass) {
  static const char* names[] = {"forward", "backward-data", "backward-filter"};
  return names[pass];
}

}  // namespace

template <typename Dtype>
CuDNNConvolution<Dtype>::CuDNNConvolution()
    : shaped_(false), math_(CurrentGpuMath()) {
  CUDNN_CHECK(cudnnCreateTensorDescriptor(&x_));
  CUDNN_CHECK(cudnnCreateTensorDescriptor(&y_));
  CUDNN_CHECK(cudnnCreateFilterDescriptor(&w_));
  CUDNN_CHECK(cudnnCreateConvolutionDescriptor(&convolution_));
}

template <typename Dtype>
CuDNNConvolution<Dtype>::~CuDNNConvolution() {
  cudnnDestroyTensorDescriptor(x_);
  cudnnDestroyTensorDescriptor(y_);
  cudnnDestroyFilterDescriptor(w_);
  cudnnDestroyConvolutionDescriptor(convolution_);
}

template <typename Dtype>
void CuDNNConvolution<Dtype>::SetShape(const Shape& shape) {
  if (shaped_ && std::memcmp(&shape, &shape_, sizeof(shape)) == 0) { return; }
  shape_ = shape;
  shaped_ = true;
  std::fill(chosen_, chosen_ + 3, false);
  Describe(1);
  CUDNN_CHECK(cudnnSetFilter4dDescriptor(w_, cudnn::dataType<Dtype>::type,
      CUDNN_TENSOR_NCHW, shape.outputs, shape.channels / shape.groups, shape.kernel_h,
      shape.kernel_w));
  CUDNN_CHECK(cudnnSetConvolution2dDescriptor(convolution_, shape.pad_h, shape.pad_w,
      shape.stride_h, shape.stride_w, shape.dilation_h, shape.dilation_w,
      CUDNN_CROSS_CORRELATION, cudnn::dataType<Dtype>::type));
  CUDNN_CHECK(cudnnSetConvolutionGroupCount(convolution_, shape.groups));
}

template <typename Dtype>
void CuDNNConvolution<Dtype>::Describe(int pieces) {
  const int count = shape_.count / pieces;
  cudnn::setTensor4dDesc<Dtype>(&x_, count, shape_.channels, shape_.height,
      shape_.width);
  cudnn::setTensor4dDesc<Dtype>(&y_, count, shape_.outputs, shape_.out_height,
      shape_.out_width);
}

template <typename Dtype>
std::string CuDNNConvolution<Dtype>::Problem(Pass pass) const {
  const Shape& s = shape_;
  std::ostringstream text;
  text << Device::Current().name() << ", cuDNN " << cudnnGetVersion() << ", "
      << PassName(pass) << ", " << 8 * sizeof(Dtype) << " bits " << GpuMathName(math_)
      << (Deterministic() ? ", deterministic" : "") << ", "
      << WorkspaceLimit() / kMegabyte << " MB: " << s.count << 'x' << s.channels << 'x'
      << s.height << 'x' << s.width << " -> " << s.outputs << 'x' << s.out_height << 'x'
      << s.out_width << ", kernel " << s.kernel_h << 'x' << s.kernel_w << ", pad "
      << s.pad_h << 'x' << s.pad_w << ", stride " << s.stride_h << 'x' << s.stride_w
      << ", dilation " << s.dilation_h << 'x' << s.dilation_w << ", groups " << s.groups;
  return text.str();
}

template <typename Dtype>
bool CuDNNConvolution<Dtype>::MeasurePiece(Pass pass, const Dtype* first,
    const Dtype* second, Dtype* output, void* workspace, size_t bytes, Algorithm* found,
    bool* larger) {
  const cudnnHandle_t handle = Device::Current().handle();
  int count;
  // Of doubles DEFAULT_MATH takes nothing away.
  const cudnnMathType_t asked = math_ == GPU_MATH_TF32 || sizeof(Dtype) > sizeof(float)
      ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH;
  CUDNN_CHECK(cudnnSetConvolutionMathType(convolution_, asked));
  switch (pass) {
    case FORWARD: {
      const auto needs = [&](cudnnConvolutionFwdAlgo_t algorithm, size_t* needed) {
        return cudnnGetConvolutionForwardWorkspaceSize(handle, x_, w_, convolution_, y_,
            algorithm, needed);
      };
      CUDNN_CHECK(cudnnGetConvolutionForwardAlgorithmMaxCount(handle, &count));
      std::vector<cudnnConvolutionFwdAlgoPerf_t> measured(count);
      CUDNN_CHECK(cudnnFindConvolutionForwardAlgorithmEx(handle, x_, first, w_, second,
          convolution_, y_, output, measured.size(), &count, measured.data(), workspace,
          bytes));
      return Fastest(measured, count, bytes, asked, needs, found, larger);
    }
    case BACKWARD_DATA: {
      const auto needs = [&](cudnnConvolutionBwdDataAlgo_t algorithm, size_t* needed) {
        return cudnnGetConvolutionBackwardDataWorkspaceSize(handle, w_, y_, convolution_,
            x_, algorithm, needed);
      };
      CUDNN_CHECK(cudnnGetConvolutionBackwardDataAlgorithmMaxCount(handle, &count));
      std::vector<cudnnConvolutionBwdDataAlgoPerf_t> measured(count);
      CUDNN_CHECK(cudnnFindConvolutionBackwardDataAlgorithmEx(handle, w_, first, y_,
          second, convolution_, x_, output, measured.size(), &count, measured.data(),
          workspace, bytes));
      return Fastest(measured, count, bytes, asked, needs, found, larger);
    }
    default: {
      const auto needs = [&](cudnnConvolutionBwdFilterAlgo_t algorithm, size_t* needed) {
        return cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, x_, y_,
            convolution_, w_, algorithm, needed);
      };
      CUDNN_CHECK(cudnnGetConvolutionBackwardFilterAlgorithmMaxCount(handle, &count));
      std::vector<cudnnConvolutionBwdFilterAlgoPerf_t> measured(count);
      CUDNN_CHECK(cudnnFindConvolutionBackwardFilterAlgorithmEx(handle, x_, first, y_,
          second, convolution_, w_, output, measured.size(), &count, measured.data(),
          workspace, bytes));
      return Fastest(measured, count, bytes, asked, needs, found, larger);
    }
  }
}

// The fast algorithms for row-major arrays copy them to workspace, channels last. Where
// that does not fit for the whole batch, it does for parts of it.
template <typename Dtype>
Algorithm CuDNNConvolution<Dtype>::Measure(Pass pass, const Dtype* first,
    const Dtype* second, Dtype* output, bool* all_fitted) {
  const size_t limit = WorkspaceLimit();
  const DeviceMemory memory(limit);
  *all_fitted = memory.bytes() == limit;
  bool any = false, larger = true;
  Algorithm fastest;
  for (int pieces = 1; larger && shape_.count % pieces == 0; pieces *= 2) {
    Algorithm found;
    larger = false;
    Describe(pieces);
    if (!MeasurePiece(pass, first, second, output, memory.data(), memory.bytes(), &found,
        &larger)) {
      continue;
    }
    found.pieces = pieces;
    found.milliseconds *= pieces;
    if (!any || found.milliseconds < fastest.milliseconds) { fastest = found; }
    any = true;
  }
  CHECK(any) << "cuDNN " << cudnnGetVersion() << " has no algorithm for this convolution"
      << (Deterministic() ? " that is deterministic" : "") << " and takes at most "
      << memory.bytes() / kMegabyte << " MB of workspace: " << Problem(pass)
      << ". Allow more with CAFFE_CUDNN_WORKSPACE_MB, or write engine: CAFFE.";
  return fastest;
}

template <typename Dtype>
const Algorithm& CuDNNConvolution<Dtype>::Choose(Pass pass, const Dtype* first,
    const Dtype* second, Dtype* output) {
  Algorithm& algorithm = algorithms_[pass];
  if (!chosen_[pass]) {
    const std::string problem = Problem(pass);
    if (!Cache().Find(problem, &algorithm) || shape_.count % algorithm.pieces != 0) {
      bool all_fitted;
      algorithm = Measure(pass, first, second, output, &all_fitted);
      // What was found while the card was short of memory is not for other runs.
      if (all_fitted) { Cache().Add(problem, algorithm); }
    }
    chosen_[pass] = true;
    VLOG(1) << problem << ": algorithm " << algorithm.number << ", "
        << algorithm.milliseconds << " ms, " << algorithm.pieces << " pieces, "
        << algorithm.workspace / kMegabyte << " MB";
  }
  Describe(algorithm.pieces);
  CUDNN_CHECK(cudnnSetConvolutionMathType(convolution_,
      static_cast<cudnnMathType_t>(algorithm.math)));
  return algorithm;
}

template <typename Dtype>
void CuDNNConvolution<Dtype>::Forward(const Dtype* x, const Dtype* w, Dtype* y) {
  const Algorithm& algorithm = Choose(FORWARD, x, w, y);
  Device& device = Device::Current();
  for (int piece = 0; piece < algorithm.pieces; ++piece) {
    CUDNN_CHECK(cudnnConvolutionForward(device.handle(), cudnn::dataType<Dtype>::one, x_,
        x + piece * InputSize(algorithm), w_, w, convolution_,
        static_cast<cudnnConvolutionFwdAlgo_t>(algorithm.number),
        device.Workspace(algorithm.workspace), algorithm.workspace,
        cudnn::dataType<Dtype>::zero, y_, y + piece * OutputSize(algorithm)));
  }
}

template <typename Dtype>
void CuDNNConvolution<Dtype>::BackwardData(const Dtype* w, const Dtype* dy, Dtype* dx) {
  const Algorithm& algorithm = Choose(BACKWARD_DATA, w, dy, dx);
  Device& device = Device::Current();
  for (int piece = 0; piece < algorithm.pieces; ++piece) {
    CUDNN_CHECK(cudnnConvolutionBackwardData(device.handle(),
        cudnn::dataType<Dtype>::one, w_, w, y_, dy + piece * OutputSize(algorithm),
        convolution_, static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm.number),
        device.Workspace(algorithm.workspace), algorithm.workspace,
        cudnn::dataType<Dtype>::zero, x_, dx + piece * InputSize(algorithm)));
  }
}

template <typename Dtype>
void CuDNNConvolution<Dtype>::BackwardFilter(const Dtype* x, const Dtype* dy,
    Dtype* dw) {
  if (!chosen_[BACKWARD_FILTER]) {
    // Gradients add up in dw, and a search overwrites what it measures with.
    const size_t count = size_t(shape_.outputs) * (shape_.channels / shape_.groups)
        * shape_.kernel_h * shape_.kernel_w;
    const DeviceMemory scratch(count * sizeof(Dtype), true);
    CHECK(scratch.data() != NULL) << "The card has no memory left for "
        << Problem(BACKWARD_FILTER) << "; take fewer images a batch, and iter_size.";
    Choose(BACKWARD_FILTER, x, dy, static_cast<Dtype*>(scratch.data()));
  }
  const Algorithm& algorithm = Choose(BACKWARD_FILTER, x, dy, NULL);
  Device& device = Device::Current();
  for (int piece = 0; piece < algorithm.pieces; ++piece) {
    CUDNN_CHECK(cudnnConvolutionBackwardFilter(device.handle(),
        cudnn::dataType<Dtype>::one, x_, x + piece * InputSize(algorithm), y_,
        dy + piece * OutputSize(algorithm), convolution_,
        static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm.number),
        device.Workspace(algorithm.workspace), algorithm.workspace,
        cudnn::dataType<Dtype>::one, w_, dw));
  }
}

template <typename Dtype>
size_t CuDNNConvolution<Dtype>::InputSize(const Algorithm& algorithm) const {
  return size_t(shape_.count / algorithm.pieces) * shape_.channels * shape_.height
      * shape_.width;
}

template <typename Dtype>
size_t CuDNNConvolution<Dtype>::OutputSize(const Algorithm& algorithm) const {
  return size_t(shape_.count / algorithm.pieces) * shape_.outputs * shape_.out_height
      * shape_.out_width;
}

template class CuDNNConvolution<float>;
template class CuDNNConvolution<double>;

}  // namespace caffe
#endif
