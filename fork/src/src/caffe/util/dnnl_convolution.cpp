#ifdef USE_DNNL

#include "caffe/util/dnnl_convolution.hpp"

#include <omp.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "caffe/util/equal_patches.hpp"

namespace caffe {

using dnnl::memory;

static const size_t kMaxConvolutions = 16;

// Layouts that pad channels so that there are more than so many products for one are
// left alone: slower than a product of matrices (ours, measured).
static const double kMaxPadding = 6;

// How many times as many products of a direct convolution Winograd's kernels take in the
// same time (measured: 2 to 3 for 3x3 kernels). Padding may take more than that away: an
// image's 3 channels are 16 to them, and 3 to the direct kernels.
static const double kWinogradGain = 2.5;

bool ConvolutionGeometry::operator==(const ConvolutionGeometry& other) const {
  return num == other.num && group == other.group && bias == other.bias
      && input_channels == other.input_channels
      && output_channels == other.output_channels
      && input_shape == other.input_shape && output_shape == other.output_shape
      && kernel == other.kernel && stride == other.stride && pad == other.pad
      && dilation == other.dilation;
}

static std::string ShapeString(int num, int channels, const vector<int>& shape) {
  std::ostringstream text;
  text << num << "x" << channels;
  for (int size : shape) {
    text << "x" << size;
  }
  return text.str();
}

std::string ConvolutionGeometry::InputString() const {
  return ShapeString(num, input_channels, input_shape);
}

std::string ConvolutionGeometry::OutputString() const {
  return ShapeString(num, output_channels, output_shape);
}

bool ConvolutionGeometry::Mirrored(ConvolutionGeometry* mirrored) const {
  *mirrored = *this;
  std::swap(mirrored->input_channels, mirrored->output_channels);
  std::swap(mirrored->input_shape, mirrored->output_shape);
  for (size_t i = 0; i < kernel.size(); ++i) {
    mirrored->pad[i] = dilation[i] * (kernel[i] - 1) - pad[i];
    if (stride[i] != 1 || mirrored->pad[i] < 0) {
      return false;
    }
  }
  return true;
}

static memory::dims Dims(int num, int channels, const vector<int>& shape) {
  memory::dims dims = {num, channels};
  dims.insert(dims.end(), shape.begin(), shape.end());
  return dims;
}

// oneDNN counts the gaps between a kernel's elements.
static memory::dims Gaps(const vector<int>& dilation) {
  memory::dims gaps(dilation.begin(), dilation.end());
  for (memory::dim& gap : gaps) {
    --gap;
  }
  return gaps;
}

DnnlConvolution::DnnlConvolution(const std::string& name,
    const ConvolutionGeometry& geometry, bool winograd)
    : name_(name), geometry_(geometry), winograd_(winograd), tried_() {
  const int group = geometry.group;
  const memory::dim outputs = geometry.output_channels / group;
  const memory::dim inputs = geometry.input_channels / group;
  input_ = DnnlPlain(Dims(geometry.num, geometry.input_channels, geometry.input_shape));
  output_ = DnnlPlain(
      Dims(geometry.num, geometry.output_channels, geometry.output_shape));
  bias_ = DnnlPlain({geometry.output_channels});

  memory::dims dims = Dims(outputs, inputs, geometry.kernel);
  memory::dims transposed_dims = Dims(inputs, outputs, geometry.kernel);
  int channel_axis = 0;
  if (group > 1) {
    dims.insert(dims.begin(), group);
    transposed_dims.insert(transposed_dims.begin(), group);
    channel_axis = 1;
  }
  weights_ = DnnlPlain(dims);
  vector<int> swapped(dims.size());
  for (size_t i = 0; i < swapped.size(); ++i) {
    swapped[i] = i;
  }
  std::swap(swapped[channel_axis], swapped[channel_axis + 1]);
  transposed_weights_ = DnnlPlain(transposed_dims).permute_axes(swapped);
}

bool DnnlConvolution::HasForward() { return Has(FORWARD); }
bool DnnlConvolution::HasBackwardInput() { return Has(BACKWARD_INPUT); }
bool DnnlConvolution::HasBackwardWeights() { return Has(BACKWARD_WEIGHTS); }

bool DnnlConvolution::ForwardCopiesWindows() {
  return HasForward()
      && primitives_[FORWARD].implementation.find("gemm") != std::string::npos;
}

// How many times as many channels a layout has as there are.
static double Padding(const memory::desc& desc) {
  return static_cast<double>(desc.data.padded_dims[1]) / desc.data.dims[1];
}

// How many products there are for one, then.
static double Padding(const DnnlPrimitive& primitive) {
  return Padding(primitive.source) * Padding(primitive.destination);
}

bool DnnlConvolution::Has(Pass pass) {
  static const char* const kNames[NUM_PASSES] =
      {"forward", "gradient of the input", "gradient of the weights"};
  DnnlPrimitive* primitive = &primitives_[pass];
  if (!tried_[pass]) {
    tried_[pass] = true;
    const dnnl::algorithm kDirect = dnnl::algorithm::convolution_direct;
    const dnnl::algorithm kWinograd = dnnl::algorithm::convolution_winograd;
    DnnlPrimitive winograd;
    const bool padded = !Make(pass, kDirect, false, primitive);
    if (winograd_ && Make(pass, kWinograd, false, &winograd) && (padded
        || Padding(winograd) / kWinogradGain < Padding(*primitive))) {
      *primitive = winograd;
    } else if (padded) {
      Make(pass, kDirect, true, primitive);
    }
    VLOG(1) << name_ << ", " << kNames[pass] << ", " << geometry_.InputString()
        << " to " << geometry_.OutputString() << ": "
        << (primitive->primitive ? "oneDNN's " + primitive->implementation
            : "oneDNN has no fast implementation");
  }
  return bool(primitive->primitive);
}

static memory::desc Source(const dnnl::convolution_forward::primitive_desc& desc) {
  return desc.src_desc();
}
static memory::desc Weights(const dnnl::convolution_forward::primitive_desc& desc) {
  return desc.weights_desc();
}
static memory::desc Destination(const dnnl::convolution_forward::primitive_desc& desc) {
  return desc.dst_desc();
}

typedef dnnl::convolution_backward_data::primitive_desc BackwardDataDesc;
static memory::desc Source(const BackwardDataDesc& desc) {
  return desc.diff_src_desc();
}
static memory::desc Weights(const BackwardDataDesc& desc) {
  return desc.weights_desc();
}
static memory::desc Destination(const BackwardDataDesc& desc) {
  return desc.diff_dst_desc();
}

typedef dnnl::convolution_backward_weights::primitive_desc BackwardWeightsDesc;
static memory::desc Source(const BackwardWeightsDesc& desc) {
  return desc.src_desc();
}
static memory::desc Weights(const BackwardWeightsDesc& desc) {
  return desc.diff_weights_desc();
}
static memory::desc Destination(const BackwardWeightsDesc& desc) {
  return desc.diff_dst_desc();
}

// Takes the first implementation that is fast: not oneDNN's reference, and none that
// multiplies mostly padding, unless that is allowed.
template <typename Primitive, typename PrimitiveDesc>
static bool Choose(PrimitiveDesc desc, bool allow_padding, DnnlPrimitive* chosen) {
  if (!desc) {
    return false;
  }
  do {
    chosen->implementation = desc.impl_info_str();
    chosen->source = Source(desc);
    chosen->weights = Weights(desc);
    chosen->destination = Destination(desc);
    chosen->scratchpad = desc.scratchpad_desc();
    if (chosen->implementation.compare(0, 3, "ref") != 0 && (allow_padding
        || Padding(*chosen) <= kMaxPadding)) {
      chosen->primitive = Primitive(desc);
      return true;
    }
  } while (desc.next_impl());
  return false;
}

static memory::desc AnyLayout(const memory::desc& desc) {
  return memory::desc(desc.dims(), memory::data_type::f32, memory::format_tag::any);
}

bool DnnlConvolution::Make(Pass pass, dnnl::algorithm algorithm, bool allow_padding,
                           DnnlPrimitive* primitive) {
  const memory::dims stride(geometry_.stride.begin(), geometry_.stride.end());
  const memory::dims pad(geometry_.pad.begin(), geometry_.pad.end());
  const memory::dims gaps = Gaps(geometry_.dilation);
  const memory::desc input = AnyLayout(input_), weights = AnyLayout(weights_);
  const memory::desc output = AnyLayout(output_);
  const memory::desc bias = geometry_.bias ? bias_ : memory::desc();
  const dnnl::primitive_attr attributes = DnnlAttributes();
  const bool allow_empty = true;
  try {
    // What is described has to outlive next_impl.
    const dnnl::convolution_forward::desc forward_desc(
        dnnl::prop_kind::forward_training, pass == FORWARD ? algorithm
            : dnnl::algorithm::convolution_direct,
        input, weights, bias, output, stride, gaps, pad, pad);
    // A gradient's description needs one of a forward pass, of any algorithm.
    const dnnl::convolution_forward::primitive_desc forward(forward_desc, attributes,
        DnnlEngine(), allow_empty);
    if (!forward) {
      return false;
    }
    switch (pass) {
    case FORWARD:
      return Choose<dnnl::convolution_forward>(forward, allow_padding, primitive);
    case BACKWARD_INPUT: {
      const dnnl::convolution_backward_data::desc desc(algorithm, input, weights, output,
          stride, gaps, pad, pad);
      return Choose<dnnl::convolution_backward_data>(BackwardDataDesc(desc, attributes,
          DnnlEngine(), forward, allow_empty), allow_padding, primitive);
    }
    case BACKWARD_WEIGHTS: {
      const dnnl::convolution_backward_weights::desc desc(algorithm, input, weights,
          bias, output, stride, gaps, pad, pad);
      return Choose<dnnl::convolution_backward_weights>(BackwardWeightsDesc(desc,
          attributes, DnnlEngine(), forward, allow_empty), allow_padding, primitive);
    }
    default:
      LOG(FATAL) << "a convolution has no pass " << pass;
    }
  } catch (const dnnl::error& error) {
    // oneDNN's word for a geometry that it does not know at all.
  }
  return false;
}

void DnnlConvolution::Forward(const BlobArray& input, const memory& weights,
    const float* bias, const BlobArray& output, DnnlCall* call) {
  CHECK(HasForward());
  const DnnlPrimitive& pass = primitives_[FORWARD];
  vector<DnnlCall::Input> inputs = {
    {DNNL_ARG_SRC, DnnlRead(input, input_), pass.source},
    {DNNL_ARG_WEIGHTS, weights, pass.weights}
  };
  if (geometry_.bias) {
    inputs.push_back({DNNL_ARG_BIAS, DnnlMemory(bias_, bias), bias_});
  }
  call->Run(pass, inputs, {{DNNL_ARG_DST,
      DnnlOverwrite(output, output_, pass.destination), pass.destination, false}});
}

void DnnlConvolution::Equalize(const BlobArray& input, const BlobArray& output) {
  const ConvolutionGeometry& g = geometry_;
  const bool tiles =
      primitives_[FORWARD].implementation.find("wino") != std::string::npos;
  if (tiles) {
    CHECK_EQ(g.kernel.size(), 2);
    EqualizeOutputs({g.num, g.group, g.input_channels, g.output_channels,
        g.input_shape[0], g.input_shape[1], g.output_shape[0], g.output_shape[1],
        g.kernel[0], g.kernel[1], g.pad[0], g.pad[1]}, input, output);
  }
}

void DnnlConvolution::BackwardInput(const BlobArray& output_diff, const memory& weights,
    const BlobArray& input_diff, DnnlCall* call) {
  CHECK(HasBackwardInput());
  const DnnlPrimitive& pass = primitives_[BACKWARD_INPUT];
  call->Run(pass, {{DNNL_ARG_DIFF_DST, DnnlRead(output_diff, output_), pass.destination},
                   {DNNL_ARG_WEIGHTS, weights, pass.weights}},
            {{DNNL_ARG_DIFF_SRC, DnnlOverwrite(input_diff, input_, pass.source),
              pass.source, false}});
}

void DnnlConvolution::BackwardWeights(const BlobArray& input,
    const BlobArray& output_diff, const memory& weights_diff, float* bias_diff,
    DnnlCall* call) {
  CHECK(HasBackwardWeights());
  const DnnlPrimitive& pass = primitives_[BACKWARD_WEIGHTS];
  vector<DnnlCall::Output> outputs = {
    {DNNL_ARG_DIFF_WEIGHTS, weights_diff, pass.weights, true}
  };
  if (geometry_.bias) {
    const bool wanted = bias_diff != NULL;
    outputs.push_back({DNNL_ARG_DIFF_BIAS,
        wanted ? DnnlMemory(bias_, bias_diff) : call->scratch()->Take(bias_), bias_,
        wanted});
  }
  call->Run(pass, {{DNNL_ARG_SRC, DnnlRead(input, input_), pass.source},
      {DNNL_ARG_DIFF_DST, DnnlRead(output_diff, output_), pass.destination}}, outputs);
}

static const int kMaxBlock = 16;

// The block in which the values of `channels` channels lie, or are brought to lie.
static int BlockOf(const BlobArray& values, int num, int channels) {
  return values.channels() == static_cast<size_t>(channels)
      && values.planes() == static_cast<size_t>(num) * channels ? values.block() : 1;
}

void AddChannelSums(int num, int channels, int spatial, const BlobArray& values,
                    float* sums) {
  const int kPiece = 1024;  // places summed as floats; pieces are summed as doubles
  const int block = BlockOf(values, num, channels);
  const float* start = values.Read<float>(block);
#pragma omp parallel for
  for (int channel = 0; channel < channels; channel += block) {
    double sum[kMaxBlock] = {};
    for (int n = 0; n < num; ++n) {
      const float* planes =
          start + (static_cast<size_t>(n) * channels + channel) * spatial;
      for (int first = 0; first < spatial; first += kPiece) {
        const int end = std::min(first + kPiece, spatial);
        if (block == 1) {
          float piece = 0;
#pragma omp simd reduction(+ : piece)
          for (int i = first; i < end; ++i) {
            piece += planes[i];
          }
          sum[0] += piece;
        } else {
          float piece[kMaxBlock] = {};
          for (int i = first; i < end; ++i) {
#pragma omp simd
            for (int c = 0; c < block; ++c) {
              piece[c] += planes[static_cast<size_t>(i) * block + c];
            }
          }
          for (int c = 0; c < block; ++c) {
            sum[c] += piece[c];
          }
        }
      }
    }
    for (int c = 0; c < block; ++c) {
      sums[channel + c] += sum[c];
    }
  }
}

void AddBias(int num, int channels, int spatial, const float* bias,
             const BlobArray& values) {
  const int block = BlockOf(values, num, channels);
  values.Read<float>(block);
  float* start = values.Overwrite<float>(block);
#pragma omp parallel for
  for (int plane = 0; plane < num * channels; plane += block) {
    const float* its_bias = bias + plane % channels;
    float* planes = start + static_cast<size_t>(plane) * spatial;
    for (int i = 0; i < spatial; ++i) {
#pragma omp simd
      for (int c = 0; c < block; ++c) {
        planes[static_cast<size_t>(i) * block + c] += its_bias[c];
      }
    }
  }
}

void ReverseKernels(int count, int size, const float* kernels, float* reversed) {
#pragma omp parallel for
  for (int i = 0; i < count; ++i) {
    const float* kernel = kernels + static_cast<size_t>(i) * size;
    std::reverse_copy(kernel, kernel + size, reversed + static_cast<size_t>(i) * size);
  }
}

DnnlConvolution* DnnlConvolutions::Get(const std::string& name,
    const ConvolutionGeometry& geometry, bool winograd) {
  const int threads = omp_get_max_threads();
  std::list<Entry>::iterator found = std::find_if(entries_.begin(), entries_.end(),
      [&](const Entry& entry) {
        return entry.threads == threads && entry.geometry == geometry;
      });
  if (found != entries_.end()) {
    entries_.splice(entries_.begin(), entries_, found);
  } else {
    entries_.push_front({geometry, threads, shared_ptr<DnnlConvolution>(
        new DnnlConvolution(name, geometry, winograd))});
    if (entries_.size() > kMaxConvolutions) {
      entries_.pop_back();
    }
  }
  return entries_.front().convolution.get();
}

}  // namespace caffe

#endif  // USE_DNNL
