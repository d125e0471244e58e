#ifdef USE_DNNL

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/layer_factory.hpp"
#include "caffe/layers/conv_layer.hpp"
#include "caffe/layers/deconv_layer.hpp"
#include "caffe/layers/dnnl_conv_layer.hpp"
#include "caffe/layers/dnnl_deconv_layer.hpp"

#include "caffe/test/test_caffe_main.hpp"
#include "caffe/test/test_gradient_check_util.hpp"

namespace caffe {

// A layer and the blob it reads; one number an axis.
struct DnnlCase {
  bool transposed;  // a Deconvolution
  int num, channels, num_output, group;
  vector<int> shape, kernel, stride, pad, dilation;
  bool bias;

  LayerParameter Parameter() const {
    LayerParameter param;
    param.set_type(transposed ? "Deconvolution" : "Convolution");
    param.set_name("layer");
    ConvolutionParameter* convolution = param.mutable_convolution_param();
    convolution->set_num_output(num_output);
    convolution->set_group(group);
    convolution->set_bias_term(bias);
    for (size_t i = 0; i < shape.size(); ++i) {
      convolution->add_kernel_size(kernel[i]);
      convolution->add_stride(stride[i]);
      convolution->add_pad(pad[i]);
      convolution->add_dilation(dilation[i]);
    }
    return param;
  }

  vector<int> BottomShape() const {
    vector<int> whole = {num, channels};
    whole.insert(whole.end(), shape.begin(), shape.end());
    return whole;
  }

  std::string Name() const {
    return "bottom " + Blob<float>(BottomShape()).shape_string() + "\n"
        + Parameter().DebugString();
  }
};

// What a layer computes from the values that Pass gives it.
struct DnnlResult {
  vector<double> top, bottom_diff, weights_diff, bias_diff;
};

template <typename Dtype>
static vector<double> Values(const Dtype* data, int count) {
  return vector<double>(data, data + count);
}

// Gaussian numbers that a float holds exactly, the same for every Dtype.
template <typename Dtype>
static void FillGaussian(int count, int seed, Dtype* data) {
  std::mt19937 random(seed);
  std::normal_distribution<float> gaussian;
  for (int i = 0; i < count; ++i) {
    data[i] = gaussian(random);
  }
}

// One forward and one backward pass; gradients of parameters start from something that
// is not zero.
template <typename Dtype>
static DnnlResult Pass(Layer<Dtype>* layer, const vector<int>& bottom_shape,
    bool setup = true, bool propagate_down = true) {
  Blob<Dtype> bottom(bottom_shape), top;
  vector<Blob<Dtype>*> bottoms(1, &bottom), tops(1, &top);
  if (setup) {
    layer->SetUp(bottoms, tops);
    for (size_t i = 0; i < layer->blobs().size(); ++i) {
      Blob<Dtype>* blob = layer->blobs()[i].get();
      FillGaussian(blob->count(), 10 + i, blob->mutable_cpu_data());
    }
  }
  for (size_t i = 0; i < layer->blobs().size(); ++i) {
    Blob<Dtype>* blob = layer->blobs()[i].get();
    FillGaussian(blob->count(), 20 + i, blob->mutable_cpu_diff());
  }
  FillGaussian(bottom.count(), 1, bottom.mutable_cpu_data());
  FillGaussian(bottom.count(), 2, bottom.mutable_cpu_diff());
  layer->Forward(bottoms, tops);
  FillGaussian(top.count(), 3, top.mutable_cpu_diff());
  layer->Backward(tops, vector<bool>(1, propagate_down), bottoms);
  DnnlResult result;
  result.top = Values(top.cpu_data(), top.count());
  result.bottom_diff = Values(bottom.cpu_diff(), bottom.count());
  const vector<shared_ptr<Blob<Dtype> > >& blobs = layer->blobs();
  result.weights_diff = Values(blobs[0]->cpu_diff(), blobs[0]->count());
  if (blobs.size() > 1) {
    result.bias_diff = Values(blobs[1]->cpu_diff(), blobs[1]->count());
  }
  return result;
}

// Three axes, whichever number there is.
static vector<int> ThreeAxes(const vector<int>& numbers, int missing) {
  vector<int> three(3 - numbers.size(), missing);
  three.insert(three.end(), numbers.begin(), numbers.end());
  return three;
}

// Calls product(place of the wide side, weight, place of the strided side) for each
// product that a convolution sums: wide is its input, strided its output; for a
// Deconvolution the other way round.
static void ForEachProduct(const DnnlCase& c, const vector<int>& wide_shape,
    const vector<int>& strided_shape,
    const std::function<void(int, int, int)>& product) {
  const vector<int> wide = ThreeAxes(wide_shape, 1);
  const vector<int> strided = ThreeAxes(strided_shape, 1);
  const vector<int> kernel = ThreeAxes(c.kernel, 1), stride = ThreeAxes(c.stride, 1);
  const vector<int> pad = ThreeAxes(c.pad, 0), dilation = ThreeAxes(c.dilation, 1);
  const int wide_channels = c.transposed ? c.num_output : c.channels;
  const int strided_channels = c.transposed ? c.channels : c.num_output;
  const int per_group = wide_channels / c.group;
  for (int n = 0; n < c.num; ++n)
  for (int o = 0; o < strided_channels; ++o)
  for (int i = 0; i < per_group; ++i)
  for (int z = 0; z < strided[0]; ++z)
  for (int y = 0; y < strided[1]; ++y)
  for (int x = 0; x < strided[2]; ++x)
  for (int r = 0; r < kernel[0]; ++r)
  for (int q = 0; q < kernel[1]; ++q)
  for (int p = 0; p < kernel[2]; ++p) {
    const int wide_z = z * stride[0] - pad[0] + r * dilation[0];
    const int wide_y = y * stride[1] - pad[1] + q * dilation[1];
    const int wide_x = x * stride[2] - pad[2] + p * dilation[2];
    if (wide_z < 0 || wide_z >= wide[0] || wide_y < 0 || wide_y >= wide[1]
        || wide_x < 0 || wide_x >= wide[2]) {
      continue;
    }
    const int channel = o / (strided_channels / c.group) * per_group + i;
    product(((n * wide_channels + channel) * wide[0] + wide_z) * wide[1] * wide[2]
                + wide_y * wide[2] + wide_x,
            ((o * per_group + i) * kernel[0] + r) * kernel[1] * kernel[2]
                + q * kernel[2] + p,
            ((n * strided_channels + o) * strided[0] + z) * strided[1] * strided[2]
                + y * strided[2] + x);
  }
}

// The same as Pass, by the definition alone.
static DnnlResult Reference(const DnnlCase& c) {
  vector<int> top_shape;
  for (size_t i = 0; i < c.shape.size(); ++i) {
    const int extent = c.dilation[i] * (c.kernel[i] - 1) + 1;
    top_shape.push_back(c.transposed
        ? (c.shape[i] - 1) * c.stride[i] + extent - 2 * c.pad[i]
        : (c.shape[i] + 2 * c.pad[i] - extent) / c.stride[i] + 1);
  }
  int spatial = 1, bottom_count = c.num * c.channels, weights_count = 1;
  for (size_t i = 0; i < c.shape.size(); ++i) {
    spatial *= top_shape[i];
    bottom_count *= c.shape[i];
    weights_count *= c.kernel[i];
  }
  weights_count *= c.channels * c.num_output / c.group;
  const int top_count = c.num * c.num_output * spatial;
  vector<double> bottom(bottom_count), weights(weights_count), bias(c.num_output);
  vector<double> top_diff(top_count);
  DnnlResult result;
  result.top.resize(top_count);
  result.bottom_diff.resize(bottom_count);
  result.weights_diff.resize(weights_count);
  result.bias_diff.resize(c.bias ? c.num_output : 0);
  FillGaussian(bottom_count, 1, bottom.data());
  FillGaussian(top_count, 3, top_diff.data());
  FillGaussian(weights_count, 10, weights.data());
  FillGaussian(c.num_output, 11, bias.data());
  FillGaussian(weights_count, 20, result.weights_diff.data());
  FillGaussian(result.bias_diff.size(), 21, result.bias_diff.data());
  for (int i = 0; c.bias && i < top_count; ++i) {
    const int channel = i / spatial % c.num_output;
    result.top[i] = bias[channel];
    result.bias_diff[channel] += top_diff[i];
  }
  const vector<int>& wide = c.transposed ? top_shape : c.shape;
  const vector<int>& strided = c.transposed ? c.shape : top_shape;
  ForEachProduct(c, wide, strided, [&](int wide, int weight, int strided) {
    const int from = c.transposed ? strided : wide;
    const int to = c.transposed ? wide : strided;
    result.top[to] += weights[weight] * bottom[from];
    result.bottom_diff[from] += weights[weight] * top_diff[to];
    result.weights_diff[weight] += bottom[from] * top_diff[to];
  });
  return result;
}

// ||a - b|| / ||b||
static double RelativeDifference(const vector<double>& a, const vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double difference = 0, norm = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

static void ExpectClose(const DnnlResult& result, const DnnlResult& expected) {
  const double kTolerance = 1e-5;
  EXPECT_LE(RelativeDifference(result.top, expected.top), kTolerance);
  EXPECT_LE(RelativeDifference(result.bottom_diff, expected.bottom_diff), kTolerance);
  EXPECT_LE(RelativeDifference(result.weights_diff, expected.weights_diff), kTolerance);
  EXPECT_LE(RelativeDifference(result.bias_diff, expected.bias_diff), kTolerance);
}

static void ExpectEqual(const DnnlResult& result, const DnnlResult& expected) {
  EXPECT_EQ(result.top, expected.top);
  EXPECT_EQ(result.bottom_diff, expected.bottom_diff);
  EXPECT_EQ(result.weights_diff, expected.weights_diff);
  EXPECT_EQ(result.bias_diff, expected.bias_diff);
}

// Shows whether oneDNN has all passes of the shapes that the layer saw last.
class ProbedConvolutionLayer : public DNNLConvolutionLayer<float> {
 public:
  explicit ProbedConvolutionLayer(const LayerParameter& param)
      : DNNLConvolutionLayer<float>(param) {}
  bool Accelerated() const {
    return convolution_ && convolution_->HasForward()
        && convolution_->HasBackwardInput() && convolution_->HasBackwardWeights();
  }
};

class ProbedDeconvolutionLayer : public DNNLDeconvolutionLayer<float> {
 public:
  explicit ProbedDeconvolutionLayer(const LayerParameter& param)
      : DNNLDeconvolutionLayer<float>(param) {}
  bool Accelerated() const {
    return convolution_ && convolution_->HasForward()
        && convolution_->HasBackwardInput() && convolution_->HasBackwardWeights();
  }
  bool IsMirrored() const { return mirrored_ && mirrored_->HasForward(); }
};

static shared_ptr<Layer<float> > DnnlLayer(const LayerParameter& param) {
  if (param.type() == "Deconvolution") {
    return shared_ptr<Layer<float> >(new ProbedDeconvolutionLayer(param));
  }
  return shared_ptr<Layer<float> >(new ProbedConvolutionLayer(param));
}

static bool Accelerated(Layer<float>* layer) {
  const ProbedConvolutionLayer* convolution =
      dynamic_cast<ProbedConvolutionLayer*>(layer);
  return convolution ? convolution->Accelerated()
      : dynamic_cast<ProbedDeconvolutionLayer*>(layer)->Accelerated();
}

template <typename Dtype>
static shared_ptr<Layer<Dtype> > StockLayer(const LayerParameter& param) {
  if (param.type() == "Deconvolution") {
    return shared_ptr<Layer<Dtype> >(new DeconvolutionLayer<Dtype>(param));
  }
  return shared_ptr<Layer<Dtype> >(new ConvolutionLayer<Dtype>(param));
}

// Each as a Convolution and as a Deconvolution.
static const DnnlCase kDnnlCases[] = {
  {false, 2, 16, 32, 1, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, true},
  {false, 2, 1, 16, 1, {9, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, true},
  {false, 2, 3, 20, 1, {12, 12}, {7, 7}, {2, 2}, {3, 3}, {1, 1}, true},
  {false, 1, 3, 96, 1, {35, 35}, {11, 11}, {4, 4}, {0, 0}, {1, 1}, true},
  {false, 3, 16, 1, 1, {6, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, true},
  {false, 2, 5, 7, 1, {9, 8}, {3, 3}, {1, 1}, {0, 0}, {1, 1}, false},
  {false, 2, 32, 32, 2, {6, 6}, {5, 5}, {1, 1}, {2, 2}, {1, 1}, true},
  {false, 2, 6, 9, 3, {6, 6}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, true},
  {false, 2, 8, 8, 8, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, true},
  {false, 2, 16, 16, 1, {11, 13}, {3, 3}, {1, 1}, {2, 2}, {2, 2}, true},
  {false, 2, 8, 8, 1, {9, 12}, {3, 5}, {2, 1}, {0, 2}, {1, 2}, true},
  {false, 2, 24, 8, 1, {5, 5}, {1, 1}, {1, 1}, {0, 0}, {1, 1}, true},
  {false, 2, 8, 16, 1, {8, 7}, {1, 1}, {2, 2}, {0, 0}, {1, 1}, false},
  {false, 2, 16, 8, 1, {7, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, true},
  {false, 2, 8, 8, 1, {5, 5}, {2, 2}, {1, 1}, {2, 2}, {1, 1}, true},
  {false, 1, 64, 10, 1, {4, 4}, {4, 4}, {1, 1}, {0, 0}, {1, 1}, true},
  {false, 2, 8, 16, 1, {17}, {5}, {2}, {2}, {1}, true},
  {false, 1, 8, 8, 1, {5, 6, 4}, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, true},
  {false, 1, 4, 6, 2, {5, 6, 7}, {2, 3, 1}, {2, 1, 1}, {0, 1, 0}, {1, 1, 1}, false},
};

static void ForEachCase(const std::function<void(const DnnlCase&)>& check) {
  for (DnnlCase c : kDnnlCases) {
    for (bool transposed : {false, true}) {
      c.transposed = transposed;
      SCOPED_TRACE(c.Name());
      check(c);
    }
  }
}

class DNNLConvolutionTest : public CPUDeviceTest<float> {};

TEST_F(DNNLConvolutionTest, TestAgainstDefinition) {
  ForEachCase([](const DnnlCase& c) {
    shared_ptr<Layer<float> > layer = DnnlLayer(c.Parameter());
    ExpectClose(Pass(layer.get(), c.BottomShape()), Reference(c));
    EXPECT_TRUE(Accelerated(layer.get()));
  });
}

TEST_F(DNNLConvolutionTest, TestWinograd) {
  for (bool winograd : {false, true}) {
    ForEachCase([&](const DnnlCase& c) {
      LayerParameter param = c.Parameter();
      param.mutable_convolution_param()->set_winograd(winograd);
      ExpectClose(Pass(DnnlLayer(param).get(), c.BottomShape()), Reference(c));
    });
  }
}

// Against the stock layers, in double precision.
TEST_F(DNNLConvolutionTest, TestRandomShapes) {
  std::mt19937 random(1701);
  auto draw = [&](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  int accelerated = 0;
  const int kCases = 150;
  for (int i = 0; i < kCases; ++i) {
    DnnlCase c;
    const int axes = draw(0, 5) ? 2 : draw(1, 3);
    c.transposed = draw(0, 1);
    c.group = draw(0, 2) ? 1 : draw(2, 4);
    c.num = draw(1, 5);
    c.channels = c.group * draw(1, draw(0, 1) ? 5 : 40);
    c.num_output = c.group * draw(1, draw(0, 1) ? 5 : 40);
    c.bias = draw(0, 1);
    for (int axis = 0; axis < axes; ++axis) {
      c.kernel.push_back(draw(1, axes == 3 ? 3 : 11));
      c.stride.push_back(draw(0, 1) ? 1 : draw(1, 4));
      c.dilation.push_back(draw(0, 2) ? 1 : draw(1, 3));
      const int extent = c.dilation[axis] * (c.kernel[axis] - 1) + 1;
      c.pad.push_back(draw(0, extent - 1));
      const int smallest = c.transposed ? 1 + (2 * c.pad[axis]) / c.stride[axis]
          : std::max(1, extent - 2 * c.pad[axis]);
      c.shape.push_back(smallest + draw(0, 9));
    }
    SCOPED_TRACE(c.Name());
    shared_ptr<Layer<float> > layer = DnnlLayer(c.Parameter());
    ExpectClose(Pass(layer.get(), c.BottomShape()),
        Pass(StockLayer<double>(c.Parameter()).get(), c.BottomShape()));
    accelerated += Accelerated(layer.get());
  }
  EXPECT_GE(accelerated, kCases * 9 / 10);
}

TEST_F(DNNLConvolutionTest, TestStrideOneDeconvolutionIsMirrored) {
  DnnlCase c = kDnnlCases[0];
  c.transposed = true;
  ProbedDeconvolutionLayer one(c.Parameter());
  Pass<float>(&one, c.BottomShape());
  EXPECT_TRUE(one.IsMirrored());
  c.stride = {2, 2};
  ProbedDeconvolutionLayer two(c.Parameter());
  Pass<float>(&two, c.BottomShape());
  EXPECT_FALSE(two.IsMirrored());
}

// Shapes that come back get the same numbers, bit for bit; more of them than are kept.
TEST_F(DNNLConvolutionTest, TestReshape) {
  for (const bool transposed : {false, true}) {
    DnnlCase c = kDnnlCases[0];
    c.transposed = transposed;
    shared_ptr<Layer<float> > layer = DnnlLayer(c.Parameter());
    const DnnlResult first = Pass(layer.get(), c.BottomShape());
    for (int i = 0; i < 20; ++i) {
      DnnlCase other = c;
      other.num = 1 + i % 4;
      other.shape = {4 + i, 9 - i % 3};
      SCOPED_TRACE(other.Name());
      ExpectClose(Pass(layer.get(), other.BottomShape(), false), Reference(other));
    }
    ExpectEqual(Pass(layer.get(), c.BottomShape(), false), first);
  }
}

TEST_F(DNNLConvolutionTest, TestDeterminism) {
  const int threads = omp_get_max_threads();
  ForEachCase([&](const DnnlCase& c) {
    omp_set_num_threads(2);
    const DnnlResult first = Pass(DnnlLayer(c.Parameter()).get(), c.BottomShape());
    const DnnlResult second = Pass(DnnlLayer(c.Parameter()).get(), c.BottomShape());
    ExpectEqual(second, first);
    omp_set_num_threads(1);
    ExpectClose(Pass(DnnlLayer(c.Parameter()).get(), c.BottomShape()), first);
  });
  omp_set_num_threads(threads);
}

// Gradients that nobody uses are not written: all that Pass filled them with is left.
TEST_F(DNNLConvolutionTest, TestUnusedGradients) {
  for (const bool transposed : {false, true}) {
    DnnlCase c = kDnnlCases[0];
    c.transposed = transposed;
    const DnnlResult whole = Pass(DnnlLayer(c.Parameter()).get(), c.BottomShape());
    for (int wanted = 0; wanted < 8; ++wanted) {
      const bool weights = wanted & 1, bias = wanted & 2, bottom = wanted & 4;
      shared_ptr<Layer<float> > layer = DnnlLayer(c.Parameter());
      layer->set_param_propagate_down(0, weights);
      layer->set_param_propagate_down(1, bias);
      const DnnlResult result = Pass(layer.get(), c.BottomShape(), true, bottom);
      DnnlResult expected = whole;
      if (!weights) {
        FillGaussian(expected.weights_diff.size(), 20, expected.weights_diff.data());
      }
      if (!bias) {
        FillGaussian(expected.bias_diff.size(), 21, expected.bias_diff.data());
      }
      if (!bottom) {
        FillGaussian(expected.bottom_diff.size(), 2, expected.bottom_diff.data());
      }
      ExpectClose(result, expected);
    }
  }
}

TEST_F(DNNLConvolutionTest, TestGradientChecker) {
  for (const bool transposed : {false, true}) {
    for (const int stride : {1, 2}) {
      DnnlCase c = {transposed, 1, 2, 3, 1, {4, 3}, {3, 3}, {stride, stride}, {1, 1},
                    {1, 1}, true};
      shared_ptr<Layer<float> > layer = DnnlLayer(c.Parameter());
      Blob<float> bottom(c.BottomShape()), second(c.BottomShape()), top, second_top;
      FillGaussian(bottom.count(), 1, bottom.mutable_cpu_data());
      FillGaussian(second.count(), 2, second.mutable_cpu_data());
      vector<Blob<float>*> bottoms = {&bottom, &second}, tops = {&top, &second_top};
      layer->SetUp(bottoms, tops);
      for (const shared_ptr<Blob<float> >& blob : layer->blobs()) {
        FillGaussian(blob->count(), 3, blob->mutable_cpu_data());
      }
      GradientChecker<float> checker(1e-2, 1e-3);
      checker.CheckGradientExhaustive(layer.get(), bottoms, tops);
    }
  }
}

// Images of several axes: the axis of the channels is not the second one.
TEST_F(DNNLConvolutionTest, TestAxis) {
  for (const bool transposed : {false, true}) {
    DnnlCase c = kDnnlCases[0];
    c.transposed = transposed;
    c.num = 6;
    LayerParameter param = c.Parameter();
    param.mutable_convolution_param()->set_axis(2);
    vector<int> shape = c.BottomShape();
    shape[0] = 2;
    shape.insert(shape.begin() + 1, 3);
    ExpectClose(Pass(DnnlLayer(param).get(), shape), Reference(c));
  }
}

// Doubles, and no spatial axis at all, are the stock layers' business.
TEST_F(DNNLConvolutionTest, TestStockWay) {
  for (const bool transposed : {false, true}) {
    DnnlCase c = kDnnlCases[0];
    c.transposed = transposed;
    shared_ptr<Layer<double> > layer;
    if (transposed) {
      layer.reset(new DNNLDeconvolutionLayer<double>(c.Parameter()));
    } else {
      layer.reset(new DNNLConvolutionLayer<double>(c.Parameter()));
    }
    ExpectEqual(Pass(layer.get(), c.BottomShape()),
        Pass(StockLayer<double>(c.Parameter()).get(), c.BottomShape()));

    DnnlCase flat = {transposed, 5, 6, 4, 1, {}, {}, {}, {}, {}, true};
    LayerParameter param = flat.Parameter();
    param.mutable_convolution_param()->add_kernel_size(3);
    ExpectEqual(Pass(DnnlLayer(param).get(), flat.BottomShape()),
        Pass(StockLayer<float>(param).get(), flat.BottomShape()));
  }
}

// --- which engine a layer gets

class DNNLEngineTest : public CPUDeviceTest<float> {
 protected:
  virtual void TearDown() {
    unsetenv("CAFFE_ENGINE");
    unsetenv("CAFFE_DNNL_WINOGRAD");
    Caffe::set_mode(Caffe::CPU);
  }

  template <typename Dnnl>
  bool IsDnnl(LayerParameter param, ConvolutionParameter_Engine engine) {
    param.mutable_convolution_param()->set_engine(engine);
    return dynamic_cast<Dnnl*>(LayerRegistry<float>::CreateLayer(param).get());
  }
};

TEST_F(DNNLEngineTest, TestConvolutions) {
  typedef DNNLConvolutionLayer<float> Convolution;
  typedef DNNLDeconvolutionLayer<float> Deconvolution;
  const ConvolutionParameter_Engine kDefault = ConvolutionParameter_Engine_DEFAULT;
  const ConvolutionParameter_Engine kCaffe = ConvolutionParameter_Engine_CAFFE;
  const ConvolutionParameter_Engine kDnnl = ConvolutionParameter_Engine_DNNL;
  DnnlCase c = kDnnlCases[0];
  const LayerParameter convolution = c.Parameter();
  c.transposed = true;
  const LayerParameter deconvolution = c.Parameter();
  EXPECT_TRUE(IsDnnl<Convolution>(convolution, kDefault));
  EXPECT_TRUE(IsDnnl<Convolution>(convolution, kDnnl));
  EXPECT_FALSE(IsDnnl<Convolution>(convolution, kCaffe));
  EXPECT_TRUE(IsDnnl<Deconvolution>(deconvolution, kDefault));
  EXPECT_TRUE(IsDnnl<Deconvolution>(deconvolution, kDnnl));
  EXPECT_FALSE(IsDnnl<Deconvolution>(deconvolution, kCaffe));
  setenv("CAFFE_ENGINE", "CAFFE", 1);
  EXPECT_FALSE(IsDnnl<Convolution>(convolution, kDefault));
  EXPECT_TRUE(IsDnnl<Convolution>(convolution, kDnnl));
  EXPECT_FALSE(IsDnnl<Deconvolution>(deconvolution, kDefault));
  setenv("CAFFE_ENGINE", "DNNL", 1);
  EXPECT_TRUE(IsDnnl<Convolution>(convolution, kDefault));
}

TEST_F(DNNLEngineTest, TestUnknownWordsInEnvironment) {
  setenv("CAFFE_ENGINE", "FAST", 1);
  EXPECT_DEATH(DnnlIsDefault(), "CAFFE_ENGINE in the environment is FAST");
  setenv("CAFFE_DNNL_WINOGRAD", "yes", 1);
  EXPECT_DEATH(DnnlWinograd(), "CAFFE_DNNL_WINOGRAD in the environment is yes");
  setenv("CAFFE_DNNL_WINOGRAD", "0", 1);
  EXPECT_FALSE(DnnlWinograd());
  setenv("CAFFE_DNNL_WINOGRAD", "1", 1);
  EXPECT_TRUE(DnnlWinograd());
}

#ifdef CPU_ONLY
// The mode alone decides, so this needs no GPU.
TEST_F(DNNLEngineTest, TestDefaultOnGpuIsNotDnnl) {
  EXPECT_TRUE(DnnlIsDefault());
  Caffe::set_mode(Caffe::GPU);
  EXPECT_FALSE(DnnlIsDefault());
}
#endif

// --- scratch memory

TEST(DNNLScratchTest, TestPiecesDoNotOverlap) {
  for (int round = 0; round < 3; ++round) {
    DnnlScratch scratch;
    vector<char*> pieces;
    for (size_t size : {1, 64, 100, 1000, 3, 100000}) {
      pieces.push_back(static_cast<char*>(scratch.Take(size)));
      EXPECT_EQ(reinterpret_cast<size_t>(pieces.back()) % 64, 0);
      std::fill_n(pieces.back(), size, static_cast<char>(pieces.size()));
    }
    size_t i = 0;
    for (size_t size : {1, 64, 100, 1000, 3, 100000}) {
      const char expected = ++i;
      EXPECT_EQ(std::count(pieces[i - 1], pieces[i - 1] + size, expected), size);
    }
  }
}

TEST(DNNLScratchTest, TestSameMemoryAgain) {
  { DnnlScratch scratch; scratch.Take(1000000); }
  void* first;
  { DnnlScratch scratch; first = scratch.Take(1000000); }
  DnnlScratch scratch;
  EXPECT_EQ(scratch.Take(500000), first);
}

}  // namespace caffe

#endif  // USE_DNNL
