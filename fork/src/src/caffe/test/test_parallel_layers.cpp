#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/layers/dropout_layer.hpp"
#include "caffe/layers/euclidean_loss_layer.hpp"
#include "caffe/layers/pooling_layer.hpp"
#include "caffe/layers/relu_layer.hpp"
#include "caffe/util/math_functions.hpp"
#include "caffe/util/max_pooling.hpp"
#include "caffe/util/parallel.hpp"
#include "caffe/util/softmax.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

// A function of OpenMP's, looked up, since the library alone is linked with OpenMP.
template <typename Function>
static Function* OpenMp(const char* name) {
  void* const function = dlsym(RTLD_DEFAULT, name);
  CHECK(function) << "The library was built without OpenMP.";
  return reinterpret_cast<Function*>(function);
}

static void SetThreads(int threads) {
  OpenMp<void(int)>("omp_set_num_threads")(threads);
}

// Whether two arrays hold the same bits; any NaN equals any other.
template <typename T>
static void ExpectSame(const vector<T>& expected, const T* found) {
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] != expected[i] && found[i] != found[i]) { continue; }
    ASSERT_EQ(0, std::memcmp(&expected[i], found + i, sizeof(T)))
        << "at " << i << " expected " << expected[i] << ", found " << found[i];
  }
}

static const int kMaxBlock = 16;

// Planes of `places` values each, with the values of every `block` planes side by side.
template <typename T>
static vector<T> InBlocks(const vector<T>& planes, int block, int places) {
  vector<T> blocks(planes.size());
  const int size = block * places;
  for (size_t i = 0; i < planes.size(); ++i) {
    const size_t place = i % places, channel = i / places % block;
    blocks[i / size * size + place * block + channel] = planes[i];
  }
  return blocks;
}

template <typename Dtype>
class ParallelTest : public ::testing::Test {
 protected:
  ParallelTest() : random_(1701), threads_(OpenMp<int()>("omp_get_max_threads")()) {
    Caffe::set_mode(Caffe::CPU);
  }
  // Other tests take as many as the environment says.
  virtual void TearDown() { SetThreads(threads_); }

  int Draw(int first, int last) {
    return std::uniform_int_distribution<int>(first, last)(random_);
  }

  // Full of ties, and of what compares in unusual ways; or just of numbers.
  vector<Dtype> Values(int count, bool unusual) {
    const Dtype kinds[] = {0, -0.0, 1, -1, 2, -FLT_MAX,
        std::numeric_limits<Dtype>::quiet_NaN(),
        std::numeric_limits<Dtype>::infinity(),
        -std::numeric_limits<Dtype>::infinity()};
    std::normal_distribution<Dtype> normal;
    vector<Dtype> values(count);
    for (Dtype& value : values) {
      value = unusual ? kinds[Draw(0, 8)] : normal(random_);
    }
    return values;
  }

  // Windows of any kind on a plane, each of which has a place of the plane.
  PoolingGrid DrawGrid() {
    PoolingGrid grid;
    Axis(&grid.height, &grid.pooled_height, &grid.kernel_h, &grid.stride_h,
        &grid.pad_h);
    Axis(&grid.width, &grid.pooled_width, &grid.kernel_w, &grid.stride_w, &grid.pad_w);
    if (Draw(0, 1)) {  // windows side by side, rounded up or down
      grid.kernel_h = grid.stride_h = grid.kernel_w = grid.stride_w = 2;
      grid.pad_h = grid.pad_w = 0;
      const int up = Draw(0, 1);
      grid.height = Draw(2, 9);
      grid.width = Draw(0, 1) ? Draw(2, 70) : Draw(96, 131);
      grid.pooled_height = (grid.height + up) / 2;
      grid.pooled_width = (grid.width + up) / 2;
    }
    return grid;
  }

  // Few planes, or so many that threads share them out.
  int DrawPlanes(const PoolingGrid& grid) {
    const int enough = kParallelCount / (grid.height * grid.width) + 1;
    return Draw(0, 3) ? Draw(1, 3) : enough + Draw(0, 3);
  }

  // The rule of stock Caffe, a window at a time.
  template <typename Index>
  static void PoolSlowly(const PoolingGrid& g, int planes, const vector<Dtype>& values,
      vector<Dtype>* maxima, vector<Index>* switches) {
    for (int n = 0; n < planes; ++n) {
      for (int i = 0; i < g.pooled_height; ++i) {
        for (int j = 0; j < g.pooled_width; ++j) {
          Dtype maximum = -FLT_MAX;
          int at = -1;
          for (int place = 0; place < g.height * g.width; ++place) {
            const int y = place / g.width - (i * g.stride_h - g.pad_h);
            const int x = place % g.width - (j * g.stride_w - g.pad_w);
            const bool inside = 0 <= y && y < g.kernel_h && 0 <= x && x < g.kernel_w;
            const Dtype value = values[n * g.height * g.width + place];
            if (inside && value > maximum) {
              maximum = value;
              at = place;
            }
          }
          maxima->push_back(maximum);
          switches->push_back(at);
        }
      }
    }
  }

  template <typename Index>
  void TestPoolingAndBack();

  template <typename Index>
  void TestSwitchesAnywhere();

  std::mt19937 random_;
  const int threads_;

 private:
  void Axis(int* plane, int* pooled, int* kernel, int* stride, int* pad) {
    *kernel = Draw(1, 4);
    *stride = Draw(1, 4);
    *pad = Draw(0, *kernel - 1);
    *plane = Draw(1, 23);
    // Up to the last window that starts in the plane.
    *pooled = Draw(1, (*plane + *pad - 1) / *stride + 1);
  }
};

template <typename Dtype>
template <typename Index>
void ParallelTest<Dtype>::TestPoolingAndBack() {
  for (int test = 0; test < 150; ++test) {
    const PoolingGrid grid = DrawGrid();
    const int planes = (DrawPlanes(grid) + kMaxBlock - 1) / kMaxBlock * kMaxBlock;
    const int plane = grid.height * grid.width;
    const int pooled = grid.pooled_height * grid.pooled_width;
    const vector<Dtype> values = Values(planes * plane, test % 2);
    vector<Dtype> maxima;
    vector<Index> switches;
    PoolSlowly(grid, planes, values, &maxima, &switches);

    const vector<Dtype> ones = Values(planes * pooled, false);
    vector<Dtype> scattered(planes * plane, 0);
    vector<Dtype> gathered(planes * pooled, 0);
    bool good = true;
    for (int i = 0; i < planes * pooled; ++i) {
      good = good && switches[i] >= 0;
      if (switches[i] < 0) { continue; }
      const int place = i / pooled * plane + static_cast<int>(switches[i]);
      scattered[place] += ones[i];
      gathered[i] = values[place];
    }
    for (int block : {1, 1, 8, kMaxBlock}) {
      const int threads = 1 + Draw(0, 1);
      SCOPED_TRACE(::testing::Message() << "test " << test << ", threads " << threads
          << ", plane " << grid.height << " x " << grid.width << ", block " << block);
      SetThreads(threads);
      vector<Dtype> found(planes * pooled, 7), unpooled(planes * plane, 7);
      vector<Index> found_switches(planes * pooled, 7);
      const vector<Dtype> its_values = InBlocks(values, block, plane);
      const vector<Index> its_switches = InBlocks(switches, block, pooled);
      MaxPool(grid, planes, block, its_values.data(), found.data(),
          found_switches.data());
      ExpectSame(InBlocks(maxima, block, pooled), found.data());
      ExpectSame(its_switches, found_switches.data());
      EXPECT_EQ(good, ScatterToSwitches(grid, planes, block, false, its_switches.data(),
          InBlocks(ones, block, pooled).data(), unpooled.data()));
      ExpectSame(InBlocks(scattered, block, plane), unpooled.data());
      if (good) {
        GatherFromSwitches(grid, planes, block, false, its_switches.data(),
            its_values.data(), found.data());
        ExpectSame(InBlocks(gathered, block, pooled), found.data());
      }
    }
  }
}

// Depooling takes switches that are not pooling's: they may leave their windows.
template <typename Dtype>
template <typename Index>
void ParallelTest<Dtype>::TestSwitchesAnywhere() {
  for (int test = 0; test < 60; ++test) {
    const PoolingGrid grid = DrawGrid();
    const int planes = (DrawPlanes(grid) + kMaxBlock - 1) / kMaxBlock * kMaxBlock;
    const int plane = grid.height * grid.width;
    const int pooled = grid.pooled_height * grid.pooled_width;
    const bool shared = test % 3 == 0;
    vector<Index> switches(shared ? pooled : planes * pooled);
    for (Index& at : switches) { at = Draw(0, plane - 1); }
    const int bad = test % 4 == 0 ? Draw(0, switches.size() - 1) : -1;
    if (bad >= 0) { switches[bad] = test % 8 ? Index(plane) : Index(-1); }
    const vector<Dtype> values = Values(planes * pooled, false);
    vector<Dtype> expected(planes * plane, 0);
    for (int i = 0; i < planes * pooled; ++i) {
      const int at = shared ? i % pooled : i;
      if (at == bad) { continue; }
      expected[i / pooled * plane + static_cast<int>(switches[at])] += values[i];
    }
    for (int block : {1, 1, 8, kMaxBlock}) {
      SetThreads(1 + Draw(0, 1));
      SCOPED_TRACE(::testing::Message() << "test " << test << ", block " << block);
      vector<Dtype> found(planes * plane, 7), back(planes * pooled, 7);
      const vector<Index> its_switches =
          shared ? switches : InBlocks(switches, block, pooled);
      EXPECT_EQ(bad < 0, ScatterToSwitches(grid, planes, block, shared,
          its_switches.data(), InBlocks(values, block, pooled).data(), found.data()));
      ExpectSame(InBlocks(expected, block, plane), found.data());
      if (bad < 0) {
        GatherFromSwitches(grid, planes, block, shared, its_switches.data(),
            found.data(), back.data());
        vector<Dtype> gathered(planes * pooled);
        for (int i = 0; i < planes * pooled; ++i) {
          const int at = static_cast<int>(switches[shared ? i % pooled : i]);
          gathered[i] = expected[i / pooled * plane + at];
        }
        ExpectSame(InBlocks(gathered, block, pooled), back.data());
      }
    }
  }
}

TYPED_TEST_CASE(ParallelTest, TestDtypes);

TYPED_TEST(ParallelTest, TestPoolsAndUnpoolsAsStockCaffe) {
  this->template TestPoolingAndBack<TypeParam>();
  this->template TestPoolingAndBack<int>();
}

TYPED_TEST(ParallelTest, TestSwitchesOutsideTheirWindows) {
  this->template TestSwitchesAnywhere<TypeParam>();
  this->template TestSwitchesAnywhere<int>();
}

TYPED_TEST(ParallelTest, TestFractionalSwitchIsNoPlace) {
  const PoolingGrid narrow = {2, 2, 1, 1, 2, 2, 2, 2, 0, 0};
  const PoolingGrid wide = {2, 96, 1, 48, 2, 2, 2, 2, 0, 0};
  for (const PoolingGrid& grid : {narrow, wide}) {
    const int pooled = grid.pooled_width;
    vector<TypeParam> switches(pooled), values(pooled, 1), found(2 * grid.width, 7);
    for (int i = 0; i < pooled; ++i) { switches[i] = 2 * i; }
    for (TypeParam bad : {TypeParam(0.5),
        std::numeric_limits<TypeParam>::quiet_NaN()}) {
      switches[0] = bad;
      EXPECT_FALSE(ScatterToSwitches(grid, 1, 1, false, switches.data(), values.data(),
          found.data()));
      EXPECT_EQ(0, found[0]);
      EXPECT_EQ(pooled - 1, std::count(found.begin(), found.end(), TypeParam(1)));
    }
  }
}

TYPED_TEST(ParallelTest, TestWindowOfNaNsGetsNoGradient) {
  LayerParameter param;
  param.mutable_pooling_param()->set_kernel_size(2);
  param.mutable_pooling_param()->set_stride(2);
  for (int tops = 1; tops <= 2; ++tops) {
    Blob<TypeParam> bottom(1, 2, 2, 4), top, mask;
    for (int i = 0; i < bottom.count(); ++i) { bottom.mutable_cpu_data()[i] = i; }
    for (int i : {8, 9, 12, 13}) {
      bottom.mutable_cpu_data()[i] = std::numeric_limits<TypeParam>::quiet_NaN();
    }
    PoolingLayer<TypeParam> layer(param);
    const vector<Blob<TypeParam>*> bottoms(1, &bottom);
    vector<Blob<TypeParam>*> all_tops(1, &top);
    if (tops == 2) { all_tops.push_back(&mask); }
    layer.SetUp(bottoms, all_tops);
    layer.Forward(bottoms, all_tops);
    ExpectSame(vector<TypeParam>({5, 7, TypeParam(-FLT_MAX), 15}), top.cpu_data());
    if (tops == 2) { ExpectSame(vector<TypeParam>({5, 7, -1, 7}), mask.cpu_data()); }
    for (int i = 0; i < top.count(); ++i) { top.mutable_cpu_diff()[i] = i + 1; }
    layer.Backward(all_tops, vector<bool>(1, true), bottoms);
    ExpectSame(vector<TypeParam>({0, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4}),
        bottom.cpu_diff());
  }
}

TYPED_TEST(ParallelTest, TestReLUAsStockCaffe) {
  for (int count : {1, 37, kParallelCount + 5}) {
    for (TypeParam slope : {0., 0.25, -0.5}) {
      const vector<TypeParam> data = this->Values(count, true);
      const vector<TypeParam> diff = this->Values(count, count == 37);
      vector<TypeParam> activation(count), gradient(count), in_place(count);
      for (int i = 0; i < count; ++i) {
        activation[i] = std::max(data[i], TypeParam(0))
            + slope * std::min(data[i], TypeParam(0));
        gradient[i] = diff[i] * ((data[i] > 0) + slope * (data[i] <= 0));
        in_place[i] = diff[i] * ((activation[i] > 0) + slope * (activation[i] <= 0));
      }
      LayerParameter param;
      param.mutable_relu_param()->set_negative_slope(slope);
      for (int threads = 1; threads <= 2; ++threads) {
        SetThreads(threads);
        Blob<TypeParam> bottom(vector<int>(1, count)), top;
        for (Blob<TypeParam>* result : {&top, &bottom}) {
          std::copy(data.begin(), data.end(), bottom.mutable_cpu_data());
          ReLULayer<TypeParam> layer(param);
          const vector<Blob<TypeParam>*> bottoms(1, &bottom), tops(1, result);
          layer.SetUp(bottoms, tops);
          layer.Forward(bottoms, tops);
          ExpectSame(activation, result->cpu_data());
          std::copy(diff.begin(), diff.end(), result->mutable_cpu_diff());
          layer.Backward(tops, vector<bool>(1, true), bottoms);
          ExpectSame(result == &top ? gradient : in_place, bottom.cpu_diff());
        }
      }
    }
  }
}

TYPED_TEST(ParallelTest, TestElementwiseFunctions) {
  for (int count : {1, 37, kParallelCount + 5}) {
    const vector<TypeParam> a = this->Values(count, false);
    const vector<TypeParam> b = this->Values(count, false);
    vector<TypeParam> sum(count), difference(count), product(count), ratio(count);
    vector<TypeParam> root(count), exponential(count), scaled(count);
    for (int i = 0; i < count; ++i) {
      sum[i] = a[i] + b[i];
      difference[i] = a[i] - b[i];
      product[i] = a[i] * b[i];
      ratio[i] = a[i] / b[i];
      root[i] = std::sqrt(a[i] * a[i]);
      exponential[i] = std::exp(a[i]);
      scaled[i] = TypeParam(0) + TypeParam(-0.3) * a[i];
    }
    for (int threads = 1; threads <= 2; ++threads) {
      SetThreads(threads);
      vector<TypeParam> found(count, std::numeric_limits<TypeParam>::quiet_NaN());
      caffe_cpu_axpby<TypeParam>(count, -0.3, a.data(), 0, found.data());
      ExpectSame(scaled, found.data());
      caffe_add(count, a.data(), b.data(), found.data());
      ExpectSame(sum, found.data());
      caffe_sub(count, a.data(), b.data(), found.data());
      ExpectSame(difference, found.data());
      caffe_div(count, a.data(), b.data(), found.data());
      ExpectSame(ratio, found.data());
      caffe_exp(count, a.data(), found.data());
      ExpectSame(exponential, found.data());
      found = a;
      caffe_mul(count, found.data(), b.data(), found.data());  // in place
      ExpectSame(product, found.data());
      caffe_mul(count, a.data(), a.data(), found.data());
      caffe_sqrt(count, found.data(), found.data());
      ExpectSame(root, found.data());
    }
  }
}

TYPED_TEST(ParallelTest, TestEuclideanLossForAnyNumberOfThreads) {
  for (int dim : {1, 300, kParallelCount + 700}) {
    Blob<TypeParam> a(3, dim, 1, 1), b(3, dim, 1, 1), loss;
    for (Blob<TypeParam>* blob : {&a, &b}) {
      const vector<TypeParam> values = this->Values(3 * dim, false);
      std::copy(values.begin(), values.end(), blob->mutable_cpu_data());
    }
    long double expected = 0;
    vector<TypeParam> gradient(3 * dim);
    const TypeParam alpha = TypeParam(0.7) / 3;
    for (int i = 0; i < 3 * dim; ++i) {
      const TypeParam difference = a.cpu_data()[i] - b.cpu_data()[i];
      expected += static_cast<long double>(difference) * difference / 6;
      gradient[i] = alpha * difference;
    }
    vector<TypeParam> first;
    for (int threads = 1; threads <= 3; ++threads) {
      SetThreads(threads);
      EuclideanLossLayer<TypeParam> layer((LayerParameter()));
      const vector<Blob<TypeParam>*> bottoms = {&a, &b}, tops(1, &loss);
      layer.SetUp(bottoms, tops);
      layer.Forward(bottoms, tops);
      EXPECT_NEAR(1, loss.cpu_data()[0] / static_cast<double>(expected),
          10 * std::numeric_limits<TypeParam>::epsilon());
      if (first.empty()) { first.push_back(loss.cpu_data()[0]); }
      ExpectSame(first, loss.cpu_data());
      loss.mutable_cpu_diff()[0] = 0.7;
      layer.Backward(tops, vector<bool>(2, true), bottoms);
      ExpectSame(gradient, a.cpu_diff());
    }
  }
}

TYPED_TEST(ParallelTest, TestSoftmaxForAnyNumberOfThreads) {
  typedef TypeParam Dtype;
  const int shapes[][3] = {{64, 1000, 1}, {3, 10, 1}, {1, 7, 600}, {2, 21, 5000}};
  for (const int* shape : shapes) {
    const int outer = shape[0], channels = shape[1], inner = shape[2];
    const int count = outer * channels * inner;
    vector<Dtype> scores = this->Values(count, false), diff = this->Values(count, false);
    for (Dtype& score : scores) { score *= 20; }
    vector<Dtype> first, first_diff;
    for (int threads = 1; threads <= 3; ++threads) {
      SetThreads(threads);
      vector<Dtype> found(count), in_place(scores), found_diff(count);
      SoftmaxForward(outer, channels, inner, scores.data(), found.data());
      SoftmaxForward(outer, channels, inner, in_place.data(), in_place.data());
      SoftmaxBackward(outer, channels, inner, found.data(), diff.data(),
          found_diff.data());
      ExpectSame(found, in_place.data());
      if (threads == 1) {
        first = found;
        first_diff = found_diff;
        for (int n = 0; n < outer * inner; n += 97) {
          const int start = n / inner * channels * inner + n % inner;
          double sum = 0, dot = 0;
          for (int c = 0; c < channels; ++c) {
            sum += std::exp(double(scores[start + c * inner]));
          }
          for (int c = 0; c < channels; ++c) {
            const int at = start + c * inner;
            EXPECT_NEAR(std::exp(double(scores[at])) / sum, found[at], 1e-5);
            dot += double(found[at]) * diff[at];
          }
          for (int c = 0; c < channels; ++c) {
            const int at = start + c * inner;
            EXPECT_NEAR((diff[at] - dot) * found[at], found_diff[at], 1e-5);
          }
        }
      }
      ExpectSame(first, found.data());
      ExpectSame(first_diff, found_diff.data());
    }
  }
}

TYPED_TEST(ParallelTest, TestDropoutForAnyNumberOfThreads) {
  typedef TypeParam Dtype;
  LayerParameter param;
  param.set_phase(TRAIN);
  Blob<Dtype> bottom(4, 16, 40, 40), top;
  const vector<Dtype> values = this->Values(bottom.count(), false);
  std::copy(values.begin(), values.end(), bottom.mutable_cpu_data());
  vector<Dtype> first, first_diff;
  for (int threads = 1; threads <= 3; ++threads) {
    SetThreads(threads);
    Caffe::set_random_seed(1701);
    DropoutLayer<Dtype> layer(param);
    layer.SetUp({&bottom}, {&top});
    layer.Forward({&bottom}, {&top});
    std::copy(values.begin(), values.end(), top.mutable_cpu_diff());
    layer.Backward({&top}, {true}, {&bottom});
    const vector<Dtype> found(top.cpu_data(), top.cpu_data() + top.count());
    const vector<Dtype> diff(bottom.cpu_diff(), bottom.cpu_diff() + bottom.count());
    if (threads == 1) {
      first = found;
      first_diff = diff;
      for (int i = 0; i < bottom.count(); ++i) {
        ASSERT_TRUE(found[i] == 0 || found[i] == 2 * values[i]);
        ASSERT_EQ(found[i], diff[i]);
      }
      const int dropped = std::count(found.begin(), found.end(), Dtype(0));
      EXPECT_NEAR(0.5, double(dropped) / bottom.count(), 0.01);
    }
    ExpectSame(first, found.data());
    ExpectSame(first_diff, diff.data());
  }
}

// Elementwise and through BLAS, each large enough for several threads.
template <typename Dtype>
static Dtype ComputeInParallel() {
  const int size = 256;
  vector<Dtype> a(size * size, 1), b(size * size), product(size * size);
  caffe_add(size * size, &a[0], &a[0], &b[0]);
  caffe_cpu_gemm<Dtype>(CblasNoTrans, CblasNoTrans, size, size, size, 1, &a[0], &b[0],
      0, &product[0]);
  return product[size];
}

TYPED_TEST(ParallelTest, TestChildOfAForkComputes) {
  typedef TypeParam Dtype;
  SetThreads(2);
  const Dtype expected = ComputeInParallel<Dtype>();
  EXPECT_EQ(2 * 256, expected);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    alarm(20);
    _exit(ComputeInParallel<Dtype>() == expected ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(child, waitpid(child, &status, 0));
  EXPECT_FALSE(WIFSIGNALED(status)) << "The child waits for threads that it lacks.";
  EXPECT_EQ(0, WEXITSTATUS(status));
}

}  // namespace caffe
