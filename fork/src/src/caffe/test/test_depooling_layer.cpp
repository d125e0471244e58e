#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/depooling_layer.hpp"
#include "caffe/layers/pooling_layer.hpp"
#include "caffe/net.hpp"
#include "caffe/util/unpooling.hpp"

#include "caffe/test/test_caffe_main.hpp"
#include "caffe/test/test_gradient_check_util.hpp"

namespace caffe {

// A plane and the windows that pool it.
struct PoolingCase {
  const char* name;
  int height, width;
  int kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
  bool floor;         // round_mode
  bool default_size;  // unpooling finds the plane's size without a shape blob
};

static const PoolingCase kPoolingCases[] = {
  {"windows side by side", 6, 8, 2, 2, 2, 2, 0, 0, false, true},
  {"overlapping windows", 7, 9, 3, 3, 2, 2, 0, 0, false, true},
  {"odd plane, rounded up", 5, 7, 2, 2, 2, 2, 0, 0, false, false},
  {"odd plane, rounded down", 5, 7, 2, 2, 2, 2, 0, 0, true, false},
  {"overlapping, cut off", 6, 8, 3, 3, 2, 2, 0, 0, false, false},
  {"padding", 7, 5, 3, 3, 2, 2, 1, 1, false, true},
  {"padding, windows side by side", 4, 6, 2, 2, 2, 2, 1, 1, false, true},
  {"padding, last window dropped", 5, 6, 2, 2, 2, 2, 1, 1, false, false},
  {"padding above, last window at the right dropped", 4, 5, 2, 1, 1, 3, 1, 0, false,
      false},
  {"padding of two, cut off", 8, 9, 4, 4, 3, 3, 2, 2, false, false},
  {"rectangular windows", 8, 5, 3, 2, 2, 1, 1, 0, false, false},
  {"dense windows", 5, 4, 3, 3, 1, 1, 1, 1, false, true},
  {"gaps between windows", 8, 5, 2, 2, 3, 3, 0, 0, false, true},
  {"one window", 3, 4, 3, 4, 1, 1, 0, 0, false, true},
  {"plane smaller than the window", 2, 2, 3, 3, 2, 2, 0, 0, false, false},
};
static const int kNumPoolingCases =
    sizeof(kPoolingCases) / sizeof(kPoolingCases[0]);

template <typename TypeParam>
class DepoolingLayerTest : public MultiDeviceTest<TypeParam> {
  typedef typename TypeParam::Dtype Dtype;

 protected:
  virtual void SetUp() {
    Caffe::set_random_seed(1701);
    // A process that was forked cannot use CUDA.
    if (Caffe::mode() == Caffe::GPU) {
      ::testing::FLAGS_gtest_death_test_style = "threadsafe";
    }
  }

  LayerParameter Parameter(const PoolingCase& geometry,
      PoolingParameter_PoolMethod method) {
    LayerParameter layer_param;
    PoolingParameter* param = layer_param.mutable_pooling_param();
    param->set_pool(method);
    param->set_kernel_h(geometry.kernel_h);
    param->set_kernel_w(geometry.kernel_w);
    param->set_stride_h(geometry.stride_h);
    param->set_stride_w(geometry.stride_w);
    param->set_pad_h(geometry.pad_h);
    param->set_pad_w(geometry.pad_w);
    if (geometry.floor) {
      param->set_round_mode(PoolingParameter_RoundMode_FLOOR);
    }
    return layer_param;
  }

  // Pools a random plane with stock Pooling: fills plane_, values_, switches_.
  void Pool(const PoolingCase& geometry, int num = 2, int channels = 3) {
    plane_.Reshape(num, channels, geometry.height, geometry.width);
    FillerParameter filler_param;
    GaussianFiller<Dtype> filler(filler_param);
    filler.Fill(&plane_);
    LayerParameter layer_param =
        Parameter(geometry, PoolingParameter_PoolMethod_MAX);
    PoolingLayer<Dtype> pooling(layer_param);
    vector<Blob<Dtype>*> bottom(1, &plane_), top;
    top.push_back(&values_);
    top.push_back(&switches_);
    pooling.SetUp(bottom, top);
    pooling.Forward(bottom, top);
    // So that unpooling something other than the maxima would be noticed.
    filler.Fill(&values_);
  }

  vector<Blob<Dtype>*> Bottom(bool with_switches, bool with_shape) {
    vector<Blob<Dtype>*> bottom(1, &values_);
    if (with_switches) { bottom.push_back(&switches_); }
    if (with_shape) { bottom.push_back(&plane_); }
    return bottom;
  }

  vector<Blob<Dtype>*> Top() {
    vector<Blob<Dtype>*> top(1, &unpooled_);
    top.push_back(&landed_);
    return top;
  }

  static bool InWindow(int place, int window, int kernel, int stride, int pad) {
    const int start = window * stride - pad;
    return start <= place && place < start + kernel;
  }

  // Of the places of one axis that the window covers, the nearest to the wanted
  // one: looks at every place.
  static int NearestPlace(int wanted, int window, int size, int kernel, int stride,
      int pad) {
    int nearest = -1;
    for (int place = 0; place < size; ++place) {
      if (InWindow(place, window, kernel, stride, pad) && (nearest < 0
          || std::abs(place - wanted) < std::abs(nearest - wanted))) {
        nearest = place;
      }
    }
    return nearest;
  }

  // The slow reference: asks for every place of the plane and every window
  // whether, and with what weight, the window's value lands there.
  // fix_y and fix_x are places in the window (for FIX).
  void ExpectUnpooled(const PoolingCase& g, PoolingParameter_PoolMethod method,
      int fix_y = 0, int fix_x = 0) {
    ASSERT_EQ(values_.num(), unpooled_.num());
    ASSERT_EQ(values_.channels(), unpooled_.channels());
    ASSERT_EQ(g.height, unpooled_.height());
    ASSERT_EQ(g.width, unpooled_.width());
    ASSERT_TRUE(unpooled_.shape() == landed_.shape());
    for (int n = 0; n < values_.num(); ++n) {
      for (int c = 0; c < values_.channels(); ++c) {
        for (int y = 0; y < g.height; ++y) {
          for (int x = 0; x < g.width; ++x) {
            double sum = 0;
            int count = 0;
            for (int i = 0; i < values_.height(); ++i) {
              for (int j = 0; j < values_.width(); ++j) {
                double weight = 0;
                if (method == PoolingParameter_PoolMethod_AVE) {
                  if (InWindow(y, i, g.kernel_h, g.stride_h, g.pad_h)
                      && InWindow(x, j, g.kernel_w, g.stride_w, g.pad_w)) {
                    int rows = 0, columns = 0;
                    for (int r = -g.pad_h; r < g.height + g.pad_h; ++r) {
                      rows += InWindow(r, i, g.kernel_h, g.stride_h, g.pad_h);
                    }
                    for (int r = -g.pad_w; r < g.width + g.pad_w; ++r) {
                      columns += InWindow(r, j, g.kernel_w, g.stride_w, g.pad_w);
                    }
                    weight = 1. / (rows * columns);
                  }
                } else if (method == PoolingParameter_PoolMethod_FIX) {
                  weight = y == NearestPlace(i * g.stride_h - g.pad_h + fix_y, i,
                      g.height, g.kernel_h, g.stride_h, g.pad_h)
                      && x == NearestPlace(j * g.stride_w - g.pad_w + fix_x, j,
                      g.width, g.kernel_w, g.stride_w, g.pad_w);
                } else {
                  weight = switches_.data_at(n, c, i, j) == y * g.width + x;
                }
                sum += weight * values_.data_at(n, c, i, j);
                count += weight > 0;
              }
            }
            EXPECT_NEAR(sum, unpooled_.data_at(n, c, y, x), 1e-5)
                << g.name << " at " << n << ", " << c << ", " << y << ", " << x;
            EXPECT_EQ(count, landed_.data_at(n, c, y, x))
                << g.name << " at " << n << ", " << c << ", " << y << ", " << x;
          }
        }
      }
    }
  }

  void Forward(const LayerParameter& layer_param,
      const vector<Blob<Dtype>*>& bottom) {
    DepoolingLayer<Dtype> layer(layer_param);
    layer.SetUp(bottom, Top());
    layer.Forward(bottom, Top());
  }

  // What the GPU finds wrong with switches is said in a later pass.
  void ForwardTwice(const LayerParameter& layer_param,
      const vector<Blob<Dtype>*>& bottom) {
    DepoolingLayer<Dtype> layer(layer_param);
    layer.SetUp(bottom, Top());
    layer.Forward(bottom, Top());
    unpooled_.cpu_data();  // waits for the GPU
    layer.Forward(bottom, Top());
  }

  // Compares with the reference, with the shape blob and, where the plane's size
  // follows from the windows, without it.
  void TestForward(const PoolingCase& geometry, const LayerParameter& layer_param,
      bool with_switches, int fix_y = 0, int fix_x = 0) {
    Forward(layer_param, Bottom(with_switches, true));
    ExpectUnpooled(geometry, layer_param.pooling_param().pool(), fix_y, fix_x);
    if (geometry.default_size) {
      Forward(layer_param, Bottom(with_switches, false));
      ExpectUnpooled(geometry, layer_param.pooling_param().pool(), fix_y, fix_x);
    }
  }

  void TestGradient(PoolingParameter_PoolMethod method) {
    const bool with_switches = method == PoolingParameter_PoolMethod_SWITCH;
    GradientChecker<Dtype> checker(1e-2, 1e-2);
    for (int i = 0; i < kNumPoolingCases; ++i) {
      Pool(kPoolingCases[i], 2, 2);
      DepoolingLayer<Dtype> layer(Parameter(kPoolingCases[i], method));
      checker.CheckGradientExhaustive(&layer, Bottom(with_switches, true), Top(), 0);
    }
  }

  // Unpooling is what stock Pooling does backward, and the other way round.
  void TestAdjointOfPooling(PoolingParameter_PoolMethod method) {
    const bool with_switches = method == PoolingParameter_PoolMethod_MAX;
    for (int i = 0; i < kNumPoolingCases; ++i) {
      const PoolingCase& geometry = kPoolingCases[i];
      Pool(geometry);
      const LayerParameter layer_param = Parameter(geometry, method);
      DepoolingLayer<Dtype> depooling(layer_param);
      const vector<Blob<Dtype>*> bottom = Bottom(with_switches, true);
      depooling.SetUp(bottom, Top());
      depooling.Forward(bottom, Top());

      PoolingLayer<Dtype> pooling(layer_param);
      Blob<Dtype> pooled, mask;
      vector<Blob<Dtype>*> pooling_bottom(1, &plane_), pooling_top(1, &pooled);
      if (with_switches) { pooling_top.push_back(&mask); }
      pooling.SetUp(pooling_bottom, pooling_top);
      pooling.Forward(pooling_bottom, pooling_top);
      caffe_copy(values_.count(), values_.cpu_data(), pooled.mutable_cpu_diff());
      pooling.Backward(pooling_top, vector<bool>(1, true), pooling_bottom);
      for (int k = 0; k < plane_.count(); ++k) {
        EXPECT_NEAR(plane_.cpu_diff()[k], unpooled_.cpu_data()[k], 1e-5)
            << geometry.name;
      }

      caffe_copy(plane_.count(), plane_.cpu_data(), unpooled_.mutable_cpu_diff());
      vector<bool> propagate_down(bottom.size(), false);
      propagate_down[0] = true;
      depooling.Backward(Top(), propagate_down, bottom);
      for (int k = 0; k < values_.count(); ++k) {
        EXPECT_NEAR(pooled.cpu_data()[k], values_.cpu_diff()[k], 1e-5)
            << geometry.name;
      }
    }
  }

  Blob<Dtype> plane_, values_, switches_, unpooled_, landed_;
};

TYPED_TEST_CASE(DepoolingLayerTest, TestDtypesAndDevices);

TYPED_TEST(DepoolingLayerTest, TestByHand) {
  typedef typename TypeParam::Dtype Dtype;
  // Two 3 x 3 windows, one column apart; the first two switches meet.
  const Dtype values[] = {1, 2, 4, 8};
  const Dtype switches[] = {9, 9, 4, 15};
  this->values_.Reshape(1, 1, 2, 2);
  this->switches_.Reshape(1, 1, 2, 2);
  caffe_copy(4, values, this->values_.mutable_cpu_data());
  caffe_copy(4, switches, this->switches_.mutable_cpu_data());
  LayerParameter layer_param;
  layer_param.mutable_pooling_param()->set_pool(PoolingParameter_PoolMethod_SWITCH);
  layer_param.mutable_pooling_param()->set_kernel_size(3);
  this->Forward(layer_param, this->Bottom(true, false));
  ASSERT_EQ(4, this->unpooled_.height());
  ASSERT_EQ(4, this->unpooled_.width());
  const Dtype expected[] = {0, 0, 0, 0, 4, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 8};
  const Dtype landed[] = {0, 0, 0, 0, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1};
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(expected[i], this->unpooled_.cpu_data()[i]) << i;
    EXPECT_EQ(landed[i], this->landed_.cpu_data()[i]) << i;
  }
}

TYPED_TEST(DepoolingLayerTest, TestForwardSwitch) {
  for (int i = 0; i < kNumPoolingCases; ++i) {
    this->Pool(kPoolingCases[i]);
    this->TestForward(kPoolingCases[i], this->Parameter(kPoolingCases[i],
        PoolingParameter_PoolMethod_SWITCH), true);
  }
}

TYPED_TEST(DepoolingLayerTest, TestForwardMaxMeansSwitch) {
  for (int i = 0; i < kNumPoolingCases; ++i) {
    this->Pool(kPoolingCases[i]);
    this->TestForward(kPoolingCases[i], this->Parameter(kPoolingCases[i],
        PoolingParameter_PoolMethod_MAX), true);
  }
}

TYPED_TEST(DepoolingLayerTest, TestForwardAverage) {
  for (int i = 0; i < kNumPoolingCases; ++i) {
    this->Pool(kPoolingCases[i]);
    this->TestForward(kPoolingCases[i], this->Parameter(kPoolingCases[i],
        PoolingParameter_PoolMethod_AVE), false);
  }
}

TYPED_TEST(DepoolingLayerTest, TestForwardFixAtEveryPlace) {
  for (int i = 0; i < kNumPoolingCases; ++i) {
    const PoolingCase& geometry = kPoolingCases[i];
    this->Pool(geometry);
    LayerParameter layer_param =
        this->Parameter(geometry, PoolingParameter_PoolMethod_FIX);
    this->TestForward(geometry, layer_param, false, geometry.kernel_h / 2,
        geometry.kernel_w / 2);
    for (int y = 0; y < geometry.kernel_h; ++y) {
      for (int x = 0; x < geometry.kernel_w; ++x) {
        layer_param.mutable_pooling_param()->set_fix_y(y);
        layer_param.mutable_pooling_param()->set_fix_x(x);
        this->TestForward(geometry, layer_param, false, y, x);
      }
    }
  }
}

TYPED_TEST(DepoolingLayerTest, TestForwardFixOneNumber) {
  const PoolingCase& geometry = kPoolingCases[1];
  this->Pool(geometry);
  LayerParameter layer_param =
      this->Parameter(geometry, PoolingParameter_PoolMethod_FIX);
  for (int place = 0; place < 3; ++place) {
    layer_param.mutable_pooling_param()->set_fix(place);
    this->TestForward(geometry, layer_param, false, place, place);
  }
  // The axis that is left out, and -1, mean the centre.
  layer_param.mutable_pooling_param()->set_fix(-1);
  this->TestForward(geometry, layer_param, false, 1, 1);
  layer_param.mutable_pooling_param()->clear_fix();
  layer_param.mutable_pooling_param()->set_fix_x(2);
  this->TestForward(geometry, layer_param, false, 1, 2);
}

// What a thread of the GPU computes, for every place and window.
TYPED_TEST(DepoolingLayerTest, TestPlacesAndWindows) {
  typedef typename TypeParam::Dtype Dtype;
  for (int k = 0; k < kNumPoolingCases; ++k) {
    const PoolingCase& g = kPoolingCases[k];
    this->Pool(g);
    const PoolingGrid grid = {g.height, g.width, this->values_.height(),
        this->values_.width(), g.kernel_h, g.kernel_w, g.stride_h, g.stride_w, g.pad_h,
        g.pad_w};
    const int plane = g.height * g.width;
    const int pooled = grid.pooled_height * grid.pooled_width;
    const int planes = this->values_.count() / pooled;
    const Dtype* values = this->values_.cpu_data();
    this->unpooled_.ReshapeLike(this->plane_);
    this->landed_.ReshapeLike(this->plane_);
    for (int average = 0; average < 2; ++average) {
      for (int i = 0; i < planes * plane; ++i) {
        const int n = i / plane, y = i % plane / g.width, x = i % g.width;
        int landed;
        this->unpooled_.mutable_cpu_data()[i] = average
            ? SharesAt(grid, y, x, values + n * pooled, &landed)
            : UnpooledAt(grid, y, x, this->switches_.cpu_data() + n * pooled,
                values + n * pooled, &landed);
        this->landed_.mutable_cpu_data()[i] = landed;
      }
      this->ExpectUnpooled(g, average ? PoolingParameter_PoolMethod_AVE
          : PoolingParameter_PoolMethod_SWITCH);
    }
    // Averages are the adjoint of shares.
    double by_windows = 0, by_places = 0;
    for (int w = 0; w < planes * pooled; ++w) {
      const int n = w / pooled, i = w % pooled / grid.pooled_width;
      const int j = w % grid.pooled_width;
      by_windows += values[w] * AverageOf(grid, i, j,
          this->plane_.cpu_data() + n * plane);
      const int place = this->switches_.cpu_data()[w];
      EXPECT_TRUE(IsPlace(this->switches_.cpu_data()[w], plane));
      EXPECT_TRUE(InWindow(grid, i, j, place)) << g.name;
    }
    for (int i = 0; i < planes * plane; ++i) {
      by_places += this->unpooled_.cpu_data()[i] * this->plane_.cpu_data()[i];
    }
    EXPECT_NEAR(by_windows, by_places, 1e-4) << g.name;
  }
}

// Switches may lie anywhere in the plane, also where several meet.
TYPED_TEST(DepoolingLayerTest, TestSwitchesOutsideTheirWindows) {
  typedef typename TypeParam::Dtype Dtype;
  for (int k = 0; k < kNumPoolingCases; ++k) {
    const PoolingCase& geometry = kPoolingCases[k];
    this->Pool(geometry);
    const int plane = geometry.height * geometry.width;
    Dtype* switches = this->switches_.mutable_cpu_data();
    for (int i = 0; i < this->switches_.count(); ++i) { switches[i] = 7 * i % plane; }
    switches[1] = switches[0];
    this->TestForward(geometry, this->Parameter(geometry,
        PoolingParameter_PoolMethod_SWITCH), true);
  }
}

TYPED_TEST(DepoolingLayerTest, TestFixCentreOfTwoByTwo) {
  typedef typename TypeParam::Dtype Dtype;
  this->values_.Reshape(1, 1, 1, 2);
  this->values_.mutable_cpu_data()[0] = 5;
  this->values_.mutable_cpu_data()[1] = 7;
  LayerParameter layer_param;
  layer_param.mutable_pooling_param()->set_pool(PoolingParameter_PoolMethod_FIX);
  layer_param.mutable_pooling_param()->set_kernel_size(2);
  layer_param.mutable_pooling_param()->set_stride(2);
  this->Forward(layer_param, this->Bottom(false, false));
  const Dtype expected[] = {0, 0, 0, 0, 0, 5, 0, 7};
  ASSERT_EQ(8, this->unpooled_.count());
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(expected[i], this->unpooled_.cpu_data()[i]) << i;
  }
}

TYPED_TEST(DepoolingLayerTest, TestWithoutCountTop) {
  this->Pool(kPoolingCases[1]);
  DepoolingLayer<typename TypeParam::Dtype> layer(this->Parameter(
      kPoolingCases[1], PoolingParameter_PoolMethod_SWITCH));
  vector<Blob<typename TypeParam::Dtype>*> top(1, &this->unpooled_);
  layer.SetUp(this->Bottom(true, false), top);
  layer.Forward(this->Bottom(true, false), top);
  Blob<typename TypeParam::Dtype> alone;
  alone.CopyFrom(this->unpooled_, false, true);
  this->Forward(layer.layer_param(), this->Bottom(true, false));
  for (int i = 0; i < alone.count(); ++i) {
    EXPECT_EQ(alone.cpu_data()[i], this->unpooled_.cpu_data()[i]);
  }
}

// Stock pooling takes the first of equal values; so does the way back.
TYPED_TEST(DepoolingLayerTest, TestTies) {
  typedef typename TypeParam::Dtype Dtype;
  this->plane_.Reshape(1, 1, 4, 4);
  caffe_set(16, Dtype(3), this->plane_.mutable_cpu_data());
  LayerParameter layer_param;
  layer_param.mutable_pooling_param()->set_kernel_size(3);
  layer_param.mutable_pooling_param()->set_stride(1);
  PoolingLayer<Dtype> pooling(layer_param);
  vector<Blob<Dtype>*> pooling_bottom(1, &this->plane_), pooling_top;
  pooling_top.push_back(&this->values_);
  pooling_top.push_back(&this->switches_);
  pooling.SetUp(pooling_bottom, pooling_top);
  pooling.Forward(pooling_bottom, pooling_top);
  this->Forward(layer_param, this->Bottom(true, false));
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 4; ++x) {
      EXPECT_EQ(y < 2 && x < 2 ? 3 : 0, this->unpooled_.data_at(0, 0, y, x));
    }
  }
}

// What was pooled lies where it came from, and nothing else does.
TYPED_TEST(DepoolingLayerTest, TestRoundTrip) {
  typedef typename TypeParam::Dtype Dtype;
  for (int i = 0; i < kNumPoolingCases; ++i) {
    const PoolingCase& geometry = kPoolingCases[i];
    this->Pool(geometry);
    for (int k = 0; k < this->values_.count(); ++k) {
      const int plane = k / (this->values_.height() * this->values_.width());
      this->values_.mutable_cpu_data()[k] = this->plane_.cpu_data()[
          plane * geometry.height * geometry.width
          + static_cast<int>(this->switches_.cpu_data()[k])];
    }
    this->Forward(this->Parameter(geometry, PoolingParameter_PoolMethod_SWITCH),
        this->Bottom(true, true));
    for (int k = 0; k < this->plane_.count(); ++k) {
      const Dtype landed = this->landed_.cpu_data()[k];
      EXPECT_NEAR(landed * this->plane_.cpu_data()[k],
          this->unpooled_.cpu_data()[k], 1e-5) << geometry.name;
    }
  }
}

TYPED_TEST(DepoolingLayerTest, TestAdjointOfMaxPooling) {
  this->TestAdjointOfPooling(PoolingParameter_PoolMethod_MAX);
}

TYPED_TEST(DepoolingLayerTest, TestAdjointOfAveragePooling) {
  this->TestAdjointOfPooling(PoolingParameter_PoolMethod_AVE);
}

TYPED_TEST(DepoolingLayerTest, TestGradientSwitch) {
  this->TestGradient(PoolingParameter_PoolMethod_SWITCH);
}

TYPED_TEST(DepoolingLayerTest, TestGradientFix) {
  this->TestGradient(PoolingParameter_PoolMethod_FIX);
}

TYPED_TEST(DepoolingLayerTest, TestGradientAverage) {
  this->TestGradient(PoolingParameter_PoolMethod_AVE);
}

TYPED_TEST(DepoolingLayerTest, TestReshapedBetweenForwards) {
  typedef typename TypeParam::Dtype Dtype;
  // The windows of the second case on planes of several sizes, and back.
  PoolingCase geometry = kPoolingCases[1];
  const int sizes[][4] = {{2, 3, 7, 9}, {1, 1, 13, 5}, {3, 2, 8, 8}, {2, 3, 7, 9}};
  const PoolingParameter_PoolMethod methods[] = {PoolingParameter_PoolMethod_SWITCH,
      PoolingParameter_PoolMethod_FIX, PoolingParameter_PoolMethod_AVE};
  for (int m = 0; m < 3; ++m) {
    const bool with_switches = m == 0;
    DepoolingLayer<Dtype> layer(this->Parameter(geometry, methods[m]));
    for (int i = 0; i < 4; ++i) {
      geometry.height = sizes[i][2];
      geometry.width = sizes[i][3];
      this->Pool(geometry, sizes[i][0], sizes[i][1]);
      const vector<Blob<Dtype>*> bottom = this->Bottom(with_switches, true);
      if (i == 0) {
        layer.SetUp(bottom, this->Top());
      } else {
        layer.Reshape(bottom, this->Top());
      }
      layer.Forward(bottom, this->Top());
      this->ExpectUnpooled(geometry, methods[m], 1, 1);
    }
  }
}

TYPED_TEST(DepoolingLayerTest, TestGlobalPooling) {
  const PoolingCase geometry = {"global", 5, 3, 5, 3, 1, 1, 0, 0, false, true};
  this->Pool(geometry);
  LayerParameter layer_param;
  layer_param.mutable_pooling_param()->set_global_pooling(true);
  layer_param.mutable_pooling_param()->set_pool(PoolingParameter_PoolMethod_SWITCH);
  this->Forward(layer_param, this->Bottom(true, true));
  this->ExpectUnpooled(geometry, PoolingParameter_PoolMethod_SWITCH);
  layer_param.mutable_pooling_param()->set_pool(PoolingParameter_PoolMethod_AVE);
  this->Forward(layer_param, this->Bottom(false, true));
  this->ExpectUnpooled(geometry, PoolingParameter_PoolMethod_AVE);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(false, false)),
      "needs a shape blob");
}

// Caffe asks for gradients of switches and shape where an encoder is trained.
TYPED_TEST(DepoolingLayerTest, TestOtherGradientsAreZero) {
  typedef typename TypeParam::Dtype Dtype;
  this->Pool(kPoolingCases[2]);
  DepoolingLayer<Dtype> layer(this->Parameter(kPoolingCases[2],
      PoolingParameter_PoolMethod_SWITCH));
  const vector<Blob<Dtype>*> bottom = this->Bottom(true, true);
  layer.SetUp(bottom, this->Top());
  layer.Forward(bottom, this->Top());
  for (int i = 0; i < 3; ++i) {
    caffe_set(bottom[i]->count(), Dtype(77), bottom[i]->mutable_cpu_diff());
  }
  vector<bool> propagate_down(3, true);
  propagate_down[0] = false;
  layer.Backward(this->Top(), propagate_down, bottom);
  EXPECT_EQ(77, bottom[0]->cpu_diff()[0]);
  EXPECT_EQ(0, bottom[1]->asum_diff());
  EXPECT_EQ(0, bottom[2]->asum_diff());
}

// An autoencoder whose encoder is trained: with the lines that keep gradients
// from the switches, without them, and with the pooled blob for a shape, the
// weights' gradients are the same.
TYPED_TEST(DepoolingLayerTest, TestInTrainedNet) {
  typedef typename TypeParam::Dtype Dtype;
  const string variants[] = {"", "propagate_down: true propagate_down: false ",
      "bottom: 'conv' ", "bottom: 'conv' propagate_down: true "
      "propagate_down: false propagate_down: true "};
  vector<Dtype> expected;
  for (int i = 0; i < 4; ++i) {
    const string proto =
        "force_backward: " + string(i % 2 ? "true " : "false ") +
        "layer { name: 'data' type: 'DummyData' top: 'data' dummy_data_param { "
        "  shape { dim: 2 dim: 3 dim: 5 dim: 7 } "
        "  data_filler { type: 'gaussian' } } } "
        "layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' "
        "  convolution_param { num_output: 3 kernel_size: 2 "
        "  weight_filler { type: 'gaussian' } } } "
        "layer { name: 'pool' type: 'Pooling' bottom: 'conv' top: 'pool' "
        "  top: 'mask' pooling_param { kernel_size: 2 stride: 2 } } "
        "layer { name: 'unpool' type: 'Depooling' bottom: 'pool' bottom: 'mask' "
        + variants[i] + " top: 'unpool' "
        "  pooling_param { pool: SWITCH kernel_size: 2 stride: 2 } } "
        "layer { name: 'other' type: 'DummyData' top: 'other' dummy_data_param { "
        "  shape { dim: 2 dim: 3 dim: 4 dim: 6 } "
        "  data_filler { type: 'gaussian' } } } "
        "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'unpool' "
        "  bottom: 'other' top: 'loss' } "
        "layer { name: 'side' type: 'EuclideanLoss' bottom: 'conv' "
        "  bottom: 'other' top: 'side' } ";
    NetParameter param;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(proto, &param));
    Caffe::set_random_seed(1701);
    Net<Dtype> net(param);
    net.Forward();
    net.Backward();
    const Blob<Dtype>& weights = *net.params()[0];
    const vector<Dtype> found(weights.cpu_diff(),
        weights.cpu_diff() + weights.count());
    if (i == 0) {
      expected = found;
      EXPECT_GT(weights.asum_diff(), 0);
    }
    EXPECT_TRUE(expected == found) << variants[i];
  }
}

TYPED_TEST(DepoolingLayerTest, TestRefusesSwitchesOfAnotherShape) {
  this->Pool(kPoolingCases[0]);
  const LayerParameter layer_param = this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_SWITCH);
  this->switches_.Reshape(2, 3, 4, 3);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(true, false)),
      "values are 2 3 3 4 .*switches 2 3 4 3 ");
  this->switches_.Reshape(2, 1, 3, 4);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(true, false)),
      "values are 2 3 3 4 .*switches 2 1 3 4 ");
}

TYPED_TEST(DepoolingLayerTest, TestRefusesShapeThatDoesNotPoolToValues) {
  this->Pool(kPoolingCases[0]);
  this->plane_.Reshape(1, 1, 7, 8);
  EXPECT_DEATH(this->Forward(this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_SWITCH), this->Bottom(true, true)),
      "7 x 8 plane .*gives 4 x 4 values, but bottom 0 has 3 x 4");
  EXPECT_DEATH(this->Forward(this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_FIX), this->Bottom(false, true)),
      "7 x 8 plane .*gives 4 x 4 values, but bottom 0 has 3 x 4");
  // One place more or less than rounding up explains.
  this->plane_.Reshape(1, 1, 5, 9);
  EXPECT_DEATH(this->Forward(this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_AVE), this->Bottom(false, true)),
      "5 x 9 plane .*gives 3 x 5 values, but bottom 0 has 3 x 4");
  this->values_.Reshape(vector<int>(3, 2));
  EXPECT_DEATH(this->Forward(this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_AVE), this->Bottom(false, false)),
      "must have 4 axes .*2 2 2 ");
}

TYPED_TEST(DepoolingLayerTest, TestRefusesSwitchOutsidePlane) {
  typedef typename TypeParam::Dtype Dtype;
  this->Pool(kPoolingCases[0]);
  const LayerParameter layer_param = this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_SWITCH);
  const Dtype good = this->switches_.cpu_data()[17];
  const struct { Dtype value; const char* message; } bad[] = {
    {48, "switch at 0, 1, 1, 1 is 48, not one of the 48 places of a 6 x 8 plane"},
    {-1, "is -1, not one of the 48 places"},
    {Dtype(2.5), "is 2.5, not one of the 48 places"},
    {Dtype(1e20), "is 1e\\+20, not one of the 48 places"},
    {std::numeric_limits<Dtype>::quiet_NaN(), "is -?nan, not one of the 48 places"},
    {std::numeric_limits<Dtype>::infinity(), "is inf, not one of the 48 places"},
  };
  for (int i = 0; i < sizeof(bad) / sizeof(bad[0]); ++i) {
    this->switches_.mutable_cpu_data()[17] = bad[i].value;
    EXPECT_DEATH(this->ForwardTwice(layer_param, this->Bottom(true, false)),
        bad[i].message);
  }
  // The first and the last place are places.
  this->switches_.mutable_cpu_data()[17] = 47;
  this->Forward(layer_param, this->Bottom(true, false));
  this->switches_.mutable_cpu_data()[17] = 0;
  this->Forward(layer_param, this->Bottom(true, false));
  this->switches_.mutable_cpu_data()[17] = good;
}

TYPED_TEST(DepoolingLayerTest, TestRefusesPlaneThatFloatsCannotIndex) {
  typedef typename TypeParam::Dtype Dtype;
  LayerParameter layer_param;
  layer_param.mutable_pooling_param()->set_pool(PoolingParameter_PoolMethod_SWITCH);
  layer_param.mutable_pooling_param()->set_kernel_size(2);
  layer_param.mutable_pooling_param()->set_stride(2);
  DepoolingLayer<Dtype> layer(layer_param);
  // Shapes only: no memory is taken until data are asked for.
  this->values_.Reshape(1, 1, 2048, 2048);
  this->switches_.Reshape(1, 1, 2048, 2048);
  layer.SetUp(this->Bottom(true, false), this->Top());
  EXPECT_EQ(1 << 24, this->unpooled_.count());
  this->values_.Reshape(1, 1, 2049, 2048);
  this->switches_.Reshape(1, 1, 2049, 2048);
  EXPECT_DEATH(layer.Reshape(this->Bottom(true, false), this->Top()),
      "4098 x 4096 has 16785408 places.*16777216");
}

TYPED_TEST(DepoolingLayerTest, TestRefusesPlaceOutsideWindow) {
  this->Pool(kPoolingCases[1]);
  LayerParameter layer_param = this->Parameter(kPoolingCases[1],
      PoolingParameter_PoolMethod_FIX);
  layer_param.mutable_pooling_param()->set_fix(3);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(false, false)),
      "place 3, 3 is not in the window of 3 x 3");
  layer_param.mutable_pooling_param()->set_fix(-2);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(false, false)),
      "place -2, -2 is not in the window of 3 x 3");
  layer_param.mutable_pooling_param()->set_fix_x(1);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(false, false)),
      "fix, or else fix_y and fix_x");
  layer_param = this->Parameter(kPoolingCases[1],
      PoolingParameter_PoolMethod_SWITCH);
  layer_param.mutable_pooling_param()->set_fix(1);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(true, false)),
      "pool: FIX only; found pool: SWITCH");
}

TYPED_TEST(DepoolingLayerTest, TestRefusesWindowsThatCannotBe) {
  this->Pool(kPoolingCases[0]);
  LayerParameter layer_param = this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_AVE);
  PoolingParameter* param = layer_param.mutable_pooling_param();
  param->set_kernel_size(2);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(false, false)),
      "kernel_size, or else both kernel_h and kernel_w");
  param->clear_kernel_size();
  param->set_stride(2);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(false, false)),
      "stride, or else both stride_h and stride_w");
  param->clear_stride();
  param->set_stride_h(0);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(false, false)),
      "stride is 0 x 2");
  param->set_stride_h(2);
  param->set_pad_w(2);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(false, false)),
      "padding, 0 x 2, must be smaller than the kernel, 2 x 2");
  param->set_pad_h(1);
  param->set_pad_w(1);
  this->values_.Reshape(2, 3, 1, 4);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(false, false)),
      "1 x 4 values would unpool to 0 x 6 places");
  // 3 steps of 1 x 1 windows on 5 places: rounding up starts the last at 6.
  param->set_pad_h(0);
  param->set_pad_w(0);
  param->set_kernel_h(1);
  param->set_kernel_w(1);
  param->set_stride_h(3);
  param->set_stride_w(3);
  this->values_.Reshape(1, 1, 3, 3);
  this->plane_.Reshape(1, 1, 5, 5);
  EXPECT_DEATH(this->Forward(layer_param, this->Bottom(false, true)),
      "starts at 6, 6, outside the 5 x 5 plane");
}

TYPED_TEST(DepoolingLayerTest, TestRefusesWrongBottomsAndMethods) {
  this->Pool(kPoolingCases[0]);
  EXPECT_DEATH(this->Forward(this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_SWITCH), this->Bottom(false, false)),
      "values, switches .*found 1");
  EXPECT_DEATH(this->Forward(this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_FIX), this->Bottom(true, true)),
      "values \\[, shape\\]; found 3");
  EXPECT_DEATH(this->Forward(this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_STOCHASTIC), this->Bottom(false, false)),
      "STOCHASTIC pooling keeps no switches");
}

TYPED_TEST(DepoolingLayerTest, TestPoolingRefusesUnpoolingMethods) {
  typedef typename TypeParam::Dtype Dtype;
  this->plane_.Reshape(1, 1, 4, 4);
  vector<Blob<Dtype>*> bottom(1, &this->plane_), top(1, &this->values_);
  PoolingLayer<Dtype> fix(this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_FIX));
  EXPECT_DEATH(fix.SetUp(bottom, top), "FIX is for layers of type Depooling");
  PoolingLayer<Dtype> known(this->Parameter(kPoolingCases[0],
      PoolingParameter_PoolMethod_SWITCH));
  EXPECT_DEATH(known.SetUp(bottom, top), "SWITCH is for layers of type Depooling");
}

}  // namespace caffe
