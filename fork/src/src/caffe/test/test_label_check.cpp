#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/layers/accuracy_layer.hpp"
#include "caffe/layers/softmax_loss_layer.hpp"
#include "caffe/util/label_check.hpp"
#include "caffe/util/loss_functors.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

// Two items of three scores.
template <typename TypeParam>
class LabelCheckTest : public MultiDeviceTest<TypeParam> {
 protected:
  typedef typename TypeParam::Dtype Dtype;

  LabelCheckTest() : scores_(vector<int>({2, 3})), labels_(vector<int>(1, 2)) {
    caffe_set(scores_.count(), Dtype(1), scores_.mutable_cpu_data());
    parameter_.set_name("named");
  }

  // Twice: on a GPU the second pass tells what the first one has found.
  template <typename Layer>
  Dtype Forward(Dtype first, Dtype second) {
    labels_.mutable_cpu_data()[0] = first;
    labels_.mutable_cpu_data()[1] = second;
    Blob<Dtype> top;
    const vector<Blob<Dtype>*> bottoms = {&scores_, &labels_}, tops = {&top};
    Layer layer(parameter_);
    layer.SetUp(bottoms, tops);
    for (int pass = 0; pass < 2; ++pass) {
      layer.Forward(bottoms, tops);
      top.cpu_data();
    }
    return top.cpu_data()[0];
  }

  template <typename Layer>
  void CheckRefusals() {
    const struct { Dtype label; const char* message; } bad[] = {
      {3, "Layer 'named' is given the label 3 and has 3 outputs, for the labels 0 to 2"},
      {-1, "the label -1 and has 3 outputs"},
      {70000, "the label 70000 and"},
    };
    for (int i = 0; i < 3; ++i) {
      EXPECT_DEATH(Forward<Layer>(0, bad[i].label), bad[i].message);
      EXPECT_DEATH(Forward<Layer>(bad[i].label, 2), bad[i].message);
    }
  }

  LayerParameter parameter_;
  Blob<Dtype> scores_, labels_;
};

TYPED_TEST_CASE(LabelCheckTest, TestDtypesAndDevices);

TYPED_TEST(LabelCheckTest, TestSoftmaxWithLoss) {
  typedef typename TypeParam::Dtype Dtype;
  typedef SoftmaxWithLossLayer<Dtype> Layer;
  this->template CheckRefusals<Layer>();
  EXPECT_NEAR(std::log(Dtype(3)), this->template Forward<Layer>(0, 2), 1e-5);
  this->parameter_.mutable_loss_param()->set_ignore_label(-1);
  EXPECT_NEAR(std::log(Dtype(3)), this->template Forward<Layer>(-1, 2), 1e-5);
  EXPECT_DEATH(this->template Forward<Layer>(-1, -2), "the label -2 and");
}

TYPED_TEST(LabelCheckTest, TestAccuracy) {
  typedef typename TypeParam::Dtype Dtype;
  typedef AccuracyLayer<Dtype> Layer;
  this->template CheckRefusals<Layer>();
  this->parameter_.mutable_accuracy_param()->set_top_k(3);
  EXPECT_EQ(1, this->template Forward<Layer>(0, 2));
  this->parameter_.mutable_accuracy_param()->set_ignore_label(255);
  EXPECT_EQ(1, this->template Forward<Layer>(0, 255));
  EXPECT_DEATH(this->template Forward<Layer>(0, 254), "the label 254 and");
}

TEST(LabelTest, TestNumbersThatAreNoLabels) {
  Blob<float> labels(vector<int>(1, 1));
  const float bad[] = {std::numeric_limits<float>::quiet_NaN(), 1e20f, -1e20f, -1};
  for (int i = 0; i < 4; ++i) {
    labels.mutable_cpu_data()[0] = bad[i];
    EXPECT_DEATH(CheckLabels("named", labels, 3, true, 7), "'named' is given the label");
  }
  labels.mutable_cpu_data()[0] = 7;
  CheckLabels("named", labels, 3, true, 7);
}

// As the kernel does: what has no output does not count, and is told.
TEST(LabelTest, TestTermOnTheHost) {
  const float prob[] = {0.5f, 0.5f};
  for (int label = -3; label < 5; ++label) {
    const float value = label;
    unsigned long long foreign = 0;  // NOLINT(runtime/int)
    const LogLikelihood<float> term = {prob, {&value, 2, 1, false, 0}, &foreign};
    double sums[2] = {0, 0};
    term(0, sums);
    const bool has_output = label == 0 || label == 1;
    EXPECT_EQ(has_output ? 1 : 0, sums[1]);
    EXPECT_EQ(has_output, foreign == 0);
    if (!has_output) { EXPECT_EQ(label, UnpackLabel(foreign)); }
  }
}

}  // namespace caffe
