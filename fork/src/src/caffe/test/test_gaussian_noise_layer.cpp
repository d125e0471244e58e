#include <algorithm>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/gaussian_noise_layer.hpp"

#include "caffe/test/test_caffe_main.hpp"
#include "caffe/test/test_gradient_check_util.hpp"

namespace caffe {

template <typename TypeParam>
class GaussianNoiseLayerTest : public MultiDeviceTest<TypeParam> {
  typedef typename TypeParam::Dtype Dtype;

 protected:
  // An odd count: cuRAND makes pairs.
  GaussianNoiseLayerTest() : x_(3, 5, 41, 43), bottom_(1, &x_), top_(1, &y_) {
    Caffe::set_random_seed(1701);
    FillerParameter filler_param;
    GaussianFiller<Dtype> filler(filler_param);
    filler.Fill(&x_);
    before_.CopyFrom(x_, false, true);
    Caffe::set_random_seed(1702);
  }

  LayerParameter Param(float std, Phase phase) const {
    LayerParameter param;
    param.set_phase(phase);
    param.mutable_gaussian_noise_param()->set_std(std);
    return param;
  }

  // What a layer adds to the bottom.
  vector<Dtype> Noise(const Blob<Dtype>& y) const {
    vector<Dtype> noise(y.count());
    for (int i = 0; i < y.count(); ++i) {
      noise[i] = y.cpu_data()[i] - before_.cpu_data()[i];
    }
    return noise;
  }

  static Dtype Mean(const vector<Dtype>& a, const vector<Dtype>& b) {
    double sum = 0;
    for (int i = 0; i < a.size(); ++i) { sum += a[i] * b[i]; }
    return sum / a.size();
  }

  void ExpectUnchanged(const Blob<Dtype>& y) const {
    ASSERT_TRUE(y.shape() == before_.shape());
    for (int i = 0; i < y.count(); ++i) {
      ASSERT_EQ(before_.cpu_data()[i], y.cpu_data()[i]) << i;
    }
  }

  Blob<Dtype> x_, y_, before_;
  vector<Blob<Dtype>*> bottom_, top_;
};

TYPED_TEST_CASE(GaussianNoiseLayerTest, TestDtypesAndDevices);

TYPED_TEST(GaussianNoiseLayerTest, TestMeanAndDeviation) {
  typedef typename TypeParam::Dtype Dtype;
  GaussianNoiseLayer<Dtype> layer(this->Param(0.7, TRAIN));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  const vector<Dtype> noise = this->Noise(this->y_);
  const vector<Dtype> ones(noise.size(), 1);
  const Dtype error = 5 * 0.7 / std::sqrt(noise.size());
  EXPECT_NEAR(0, this->Mean(noise, ones), error);
  EXPECT_NEAR(0.7, std::sqrt(this->Mean(noise, noise)), error);
  // About 0.3 % of a normal distribution lies beyond three deviations.
  int far = 0;
  for (int i = 0; i < noise.size(); ++i) { far += std::abs(noise[i]) > 2.1; }
  EXPECT_NEAR(0.0027, Dtype(far) / noise.size(), 0.0015);
}

TYPED_TEST(GaussianNoiseLayerTest, TestEveryForwardIsNew) {
  typedef typename TypeParam::Dtype Dtype;
  GaussianNoiseLayer<Dtype> layer(this->Param(1, TRAIN));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  const vector<Dtype> first = this->Noise(this->y_);
  layer.Forward(this->bottom_, this->top_);
  const vector<Dtype> second = this->Noise(this->y_);
  EXPECT_NEAR(0, this->Mean(first, second), 5 / std::sqrt(first.size()));
}

TYPED_TEST(GaussianNoiseLayerTest, TestSeedMakesItAgain) {
  typedef typename TypeParam::Dtype Dtype;
  GaussianNoiseLayer<Dtype> layer(this->Param(1, TRAIN));
  layer.SetUp(this->bottom_, this->top_);
  Caffe::set_random_seed(3);
  layer.Forward(this->bottom_, this->top_);
  const vector<Dtype> first = this->Noise(this->y_);
  Caffe::set_random_seed(3);
  layer.Forward(this->bottom_, this->top_);
  EXPECT_TRUE(first == this->Noise(this->y_));
}

TYPED_TEST(GaussianNoiseLayerTest, TestInPlaceIsTheSame) {
  typedef typename TypeParam::Dtype Dtype;
  GaussianNoiseLayer<Dtype> layer(this->Param(0.5, TRAIN));
  layer.SetUp(this->bottom_, this->top_);
  Caffe::set_random_seed(4);
  layer.Forward(this->bottom_, this->top_);
  GaussianNoiseLayer<Dtype> in_place(this->Param(0.5, TRAIN));
  in_place.SetUp(this->bottom_, this->bottom_);
  Caffe::set_random_seed(4);
  in_place.Forward(this->bottom_, this->bottom_);
  for (int i = 0; i < this->x_.count(); ++i) {
    ASSERT_EQ(this->y_.cpu_data()[i], this->x_.cpu_data()[i]) << i;
  }
}

TYPED_TEST(GaussianNoiseLayerTest, TestNothingInTheTestPhase) {
  typedef typename TypeParam::Dtype Dtype;
  GaussianNoiseLayer<Dtype> layer(this->Param(1, TEST));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  this->ExpectUnchanged(this->y_);
  layer.Forward(this->bottom_, this->bottom_);
  this->ExpectUnchanged(this->x_);
}

TYPED_TEST(GaussianNoiseLayerTest, TestNothingWithoutDeviation) {
  typedef typename TypeParam::Dtype Dtype;
  GaussianNoiseLayer<Dtype> layer(this->Param(0, TRAIN));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  this->ExpectUnchanged(this->y_);
}

TYPED_TEST(GaussianNoiseLayerTest, TestBackward) {
  typedef typename TypeParam::Dtype Dtype;
  GaussianNoiseLayer<Dtype> layer(this->Param(1, TRAIN));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  Dtype* diff = this->y_.mutable_cpu_diff();
  for (int i = 0; i < this->y_.count(); ++i) { diff[i] = i % 17 - 8; }
  layer.Backward(this->top_, vector<bool>(1, true), this->bottom_);
  for (int i = 0; i < this->x_.count(); ++i) {
    ASSERT_EQ(i % 17 - 8, this->x_.cpu_diff()[i]) << i;
  }
}

TYPED_TEST(GaussianNoiseLayerTest, TestGradient) {
  typedef typename TypeParam::Dtype Dtype;
  this->x_.Reshape(2, 3, 2, 2);
  // The checker sets the seed before every forward pass: the noise is the same.
  GaussianNoiseLayer<Dtype> layer(this->Param(0.5, TRAIN));
  GradientChecker<Dtype> checker(1e-2, 1e-3);
  checker.CheckGradientEltwise(&layer, this->bottom_, this->top_);
}

TYPED_TEST(GaussianNoiseLayerTest, TestReshape) {
  typedef typename TypeParam::Dtype Dtype;
  GaussianNoiseLayer<Dtype> layer(this->Param(1, TRAIN));
  layer.SetUp(this->bottom_, this->top_);
  this->x_.Reshape(7, 3, 50, 50);
  caffe_set(this->x_.count(), Dtype(0), this->x_.mutable_cpu_data());
  layer.Reshape(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  ASSERT_TRUE(this->x_.shape() == this->y_.shape());
  const Dtype* y = this->y_.cpu_data();
  EXPECT_EQ(0, std::count(y, y + this->y_.count(), Dtype(0)));
}

TYPED_TEST(GaussianNoiseLayerTest, TestNegativeDeviationFails) {
  typedef typename TypeParam::Dtype Dtype;
  GaussianNoiseLayer<Dtype> layer(this->Param(-1, TRAIN));
  EXPECT_DEATH(layer.SetUp(this->bottom_, this->top_), "std is -1");
}

}  // namespace caffe
