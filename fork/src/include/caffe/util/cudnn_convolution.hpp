#ifndef CAFFE_UTIL_CUDNN_CONVOLUTION_HPP_
#define CAFFE_UTIL_CUDNN_CONVOLUTION_HPP_
#ifdef USE_CUDNN

#include <string>

#include "caffe/util/algorithm_cache.hpp"
#include "caffe/util/cudnn.hpp"
#include "caffe/util/gpu_math.hpp"

namespace caffe {

/**
 * @brief A convolution y = x * w and its gradients, by cuDNN's fastest algorithms.
 *
 * x is (count, channels, height, width), w (outputs, channels / groups, kernel_h,
 * kernel_w), y (count, outputs, out_height, out_width), all row-major.
 *
 * The first time that a pass of a shape is computed, all of cuDNN's algorithms for it are
 * measured (some 0.1 s) and the fastest is kept: in the process for every layer of that
 * shape, and in the file CAFFE_CUDNN_CACHE (default: ~/.cache/caffe/cudnn.txt, "" for
 * none) for later runs. All layers share one handle and one workspace a thread and
 * device; an algorithm that needs more than CAFFE_CUDNN_WORKSPACE_MB (default: 1024) for
 * a whole batch takes it in equal pieces, where that is the fastest.
 * CAFFE_DETERMINISTIC=1 takes only algorithms whose results are the same every time.
 */
template <typename Dtype>
class CuDNNConvolution {
 public:
  struct Shape {
    int count, channels, height, width;
    int outputs, kernel_h, kernel_w, out_height, out_width;
    int pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, groups;
  };

  CuDNNConvolution();
  ~CuDNNConvolution();

  void SetShape(const Shape& shape);

  /// y = x * w
  void Forward(const Dtype* x, const Dtype* w, Dtype* y);
  /// dx = gradient of x
  void BackwardData(const Dtype* w, const Dtype* dy, Dtype* dx);
  /// dw += gradient of w
  void BackwardFilter(const Dtype* x, const Dtype* dy, Dtype* dw);

 private:
  enum Pass { FORWARD, BACKWARD_DATA, BACKWARD_FILTER };

  /// Finds the pass's algorithm. Operands as cuDNN's search takes them; `output` is
  /// overwritten.
  const Algorithm& Choose(Pass pass, const Dtype* first, const Dtype* second,
      Dtype* output);
  Algorithm Measure(Pass pass, const Dtype* first, const Dtype* second, Dtype* output,
      bool* all_fitted);
  /// The fastest algorithm for the first of the pieces that are described. Whether there
  /// is one; `larger` is set if one needs more workspace.
  bool MeasurePiece(Pass pass, const Dtype* first, const Dtype* second, Dtype* output,
      void* workspace, size_t bytes, Algorithm* found, bool* larger);
  /// Describes x and y, of one of so many equal pieces of the batch.
  void Describe(int pieces);
  /// How many values a piece of x, of y has.
  size_t InputSize(const Algorithm& algorithm) const;
  size_t OutputSize(const Algorithm& algorithm) const;
  std::string Problem(Pass pass) const;

  Shape shape_;
  bool shaped_;
  GpuMath math_;
  cudnnTensorDescriptor_t x_, y_;
  cudnnFilterDescriptor_t w_;
  cudnnConvolutionDescriptor_t convolution_;
  Algorithm algorithms_[3];
  bool chosen_[3];

  DISABLE_COPY_AND_ASSIGN(CuDNNConvolution);
};

}  // namespace caffe

#endif  // USE_CUDNN
#endif  // CAFFE_UTIL_CUDNN_CONVOLUTION_HPP_
