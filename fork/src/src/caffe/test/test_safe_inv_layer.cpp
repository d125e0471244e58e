#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/safe_inv_layer.hpp"

#include "caffe/test/test_caffe_main.hpp"
#include "caffe/test/test_gradient_check_util.hpp"

namespace caffe {

template <typename TypeParam>
class SafeInvLayerTest : public MultiDeviceTest<TypeParam> {
  typedef typename TypeParam::Dtype Dtype;

 protected:
  SafeInvLayerTest() : x_(2, 3, 4, 5), bottom_(1, &x_), top_(1, &y_) {
    // Magnitudes in [0.5, 2], either sign, and every fifth value zero.
    Caffe::set_random_seed(1701);
    FillerParameter filler_param;
    filler_param.set_min(0.5);
    filler_param.set_max(2);
    UniformFiller<Dtype> filler(filler_param);
    filler.Fill(&x_);
    Dtype* x = x_.mutable_cpu_data();
    for (int i = 0; i < x_.count(); ++i) {
      x[i] *= i % 5 == 0 ? 0 : (i % 2 ? 1 : -1);
    }
  }

  Blob<Dtype> x_, y_;
  vector<Blob<Dtype>*> bottom_, top_;
};

TYPED_TEST_CASE(SafeInvLayerTest, TestDtypesAndDevices);

TYPED_TEST(SafeInvLayerTest, TestForward) {
  typedef typename TypeParam::Dtype Dtype;
  SafeInvLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  ASSERT_TRUE(this->x_.shape() == this->y_.shape());
  for (int i = 0; i < this->x_.count(); ++i) {
    const Dtype x = this->x_.cpu_data()[i];
    const Dtype y = this->y_.cpu_data()[i];
    if (i % 5 == 0) {
      EXPECT_EQ(0, y) << i;
    } else {
      EXPECT_NEAR(1, x * y, 1e-6) << i;
    }
  }
}

TYPED_TEST(SafeInvLayerTest, TestNegativeZero) {
  typedef typename TypeParam::Dtype Dtype;
  this->x_.mutable_cpu_data()[1] = -Dtype(0);
  SafeInvLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  EXPECT_EQ(0, this->y_.cpu_data()[1]);
}

TYPED_TEST(SafeInvLayerTest, TestGradient) {
  typedef typename TypeParam::Dtype Dtype;
  // Away from zero, where the layer has its gap; that is the next test.
  for (int i = 0; i < this->x_.count(); i += 5) {
    this->x_.mutable_cpu_data()[i] = 1;
  }
  SafeInvLayer<Dtype> layer((LayerParameter()));
  GradientChecker<Dtype> checker(1e-2, 1e-2);
  checker.CheckGradientEltwise(&layer, this->bottom_, this->top_);
}

TYPED_TEST(SafeInvLayerTest, TestGradientAtZeroIsZero) {
  typedef typename TypeParam::Dtype Dtype;
  SafeInvLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  caffe_set(this->y_.count(), Dtype(3), this->y_.mutable_cpu_diff());
  layer.Backward(this->top_, vector<bool>(1, true), this->bottom_);
  for (int i = 0; i < this->x_.count(); ++i) {
    const Dtype x = this->x_.cpu_data()[i];
    EXPECT_NEAR(i % 5 == 0 ? 0 : -3 / (x * x), this->x_.cpu_diff()[i], 1e-4) << i;
  }
}

TYPED_TEST(SafeInvLayerTest, TestInPlace) {
  typedef typename TypeParam::Dtype Dtype;
  SafeInvLayer<Dtype> layer((LayerParameter()));
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  caffe_set(this->y_.count(), Dtype(3), this->y_.mutable_cpu_diff());
  layer.Backward(this->top_, vector<bool>(1, true), this->bottom_);

  Blob<Dtype> in_place;
  in_place.CopyFrom(this->x_, false, true);
  vector<Blob<Dtype>*> both(1, &in_place);
  layer.SetUp(both, both);
  layer.Forward(both, both);
  caffe_set(in_place.count(), Dtype(3), in_place.mutable_cpu_diff());
  layer.Backward(both, vector<bool>(1, true), both);
  for (int i = 0; i < in_place.count(); ++i) {
    EXPECT_EQ(this->y_.cpu_data()[i], in_place.cpu_data()[i]) << i;
    EXPECT_EQ(this->x_.cpu_diff()[i], in_place.cpu_diff()[i]) << i;
  }
}

}  // namespace caffe
