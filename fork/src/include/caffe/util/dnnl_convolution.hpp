#ifndef CAFFE_UTIL_DNNL_CONVOLUTION_HPP_
#define CAFFE_UTIL_DNNL_CONVOLUTION_HPP_

#ifdef USE_DNNL

#include <list>
#include <string>
#include <vector>

#include "caffe/common.hpp"
#include "caffe/util/dnnl.hpp"

namespace caffe {

/// A convolution of `inputs` to `outputs`; one number of each vector a spatial axis.
struct ConvolutionGeometry {
  int num, group;
  int input_channels, output_channels;
  vector<int> input_shape, output_shape;
  vector<int> kernel, stride, pad, dilation;
  bool bias;

  bool operator==(const ConvolutionGeometry& other) const;

  /// As `num x channels x shape`.
  std::string InputString() const;
  std::string OutputString() const;

  /**
   * @brief The convolution that the transposed one of this is: outputs to inputs, with
   *    weights of swapped channels and with every axis of the kernel reversed.
   *
   * @return false where there is none: with a stride, or a pad beyond the kernel.
   */
  bool Mirrored(ConvolutionGeometry* mirrored) const;
};

/**
 * @brief A convolution of one geometry in oneDNN: floats, in row-major order or any
 *    layout of oneDNN's.
 *
 * Each pass is made when it is first asked for, with Winograd's algorithm where that is
 * allowed and oneDNN has it, else directly. Passes for which oneDNN has nothing but its
 * slow reference do not exist: ask before calling them.
 */
class DnnlConvolution {
 public:
  /// @param name of the layer, which GLOG_v=1 says together with the implementations
  DnnlConvolution(const std::string& name, const ConvolutionGeometry& geometry,
                  bool winograd);

  bool HasForward();
  /// Whether Forward copies the kernel's windows to a matrix, which takes long where the
  /// input has more channels than the output.
  bool ForwardCopiesWindows();
  bool HasBackwardInput();
  bool HasBackwardWeights();

  /// The layout of row-major weights, outputs x inputs per group x kernel.
  const dnnl::memory::desc& weights() const { return weights_; }
  /// Weights as the mirrored convolution has them, seen as this convolution's.
  const dnnl::memory::desc& transposed_weights() const { return transposed_weights_; }

  /// Writes the output in the layout that the implementation writes, if it takes that.
  /// @param bias where the geometry has one; else ignored
  void Forward(const BlobArray& input, const dnnl::memory& weights,
               const float* bias, const BlobArray& output, DnnlCall* call);
  /// To be called with what Forward has written, where layers may compare it: equal inputs
  /// have made equal outputs then, whatever the implementation.
  void Equalize(const BlobArray& input, const BlobArray& output);
  /// Writes as Forward does.
  void BackwardInput(const BlobArray& output_diff, const dnnl::memory& weights,
                     const BlobArray& input_diff, DnnlCall* call);
  /// Adds to weights_diff and, where the geometry has a bias, to bias_diff; NULL for
  /// nobody wants it.
  void BackwardWeights(const BlobArray& input, const BlobArray& output_diff,
                       const dnnl::memory& weights_diff, float* bias_diff,
                       DnnlCall* call);

  DnnlReorders* reorders() { return &reorders_; }

 private:
  enum Pass { FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHTS, NUM_PASSES };

  bool Has(Pass pass);
  bool Make(Pass pass, dnnl::algorithm algorithm, bool allow_padding,
            DnnlPrimitive* primitive);

  const std::string name_;
  const ConvolutionGeometry geometry_;
  const bool winograd_;
  dnnl::memory::desc input_, weights_, transposed_weights_, bias_, output_;
  bool tried_[NUM_PASSES];
  DnnlPrimitive primitives_[NUM_PASSES];
  DnnlReorders reorders_;

  DISABLE_COPY_AND_ASSIGN(DnnlConvolution);
};

/// Adds to each channel's place of `sums` the sum of the channel's values.
void AddChannelSums(int num, int channels, int spatial, const BlobArray& values,
                    float* sums);

/// Adds to each channel's values the channel's bias.
void AddBias(int num, int channels, int spatial, const float* bias,
             const BlobArray& values);

/// Reverses the order of each of `count` kernels of `size` weights.
void ReverseKernels(int count, int size, const float* kernels, float* reversed);

/// A layer's convolutions by geometry, so that they survive reshapes: the last 16 used.
class DnnlConvolutions {
 public:
  /// The number of OpenMP's threads is part of the geometry, too.
  DnnlConvolution* Get(const std::string& name, const ConvolutionGeometry& geometry,
                       bool winograd);

 private:
  struct Entry {
    ConvolutionGeometry geometry;
    int threads;
    shared_ptr<DnnlConvolution> convolution;
  };
  std::list<Entry> entries_;  // the last used first
};

}  // namespace caffe

#endif  // USE_DNNL

#endif  // CAFFE_UTIL_DNNL_CONVOLUTION_HPP_
