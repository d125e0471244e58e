#include <algorithm>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/layers/euclidean_loss_layer.hpp"
#include "caffe/layers/softmax_loss_layer.hpp"
#include "caffe/util/loss_functors.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

/// What kernels compute an element with, against the layers: on the CPU against arithmetic
/// of their own, on the GPU against the sums that kernels make of it.
template <typename TypeParam>
class LossFunctorsTest : public MultiDeviceTest<TypeParam> {
 protected:
  typedef typename TypeParam::Dtype Dtype;

  void Fill(Blob<Dtype>* blob) {
    FillerParameter parameter;
    parameter.set_std(1.5);
    GaussianFiller<Dtype>(parameter).Fill(blob);
  }

  template <typename Term>
  static void Sum(int count, const Term& term, double* sums) {
    for (int k = 0; k < Term::kSums; ++k) { sums[k] = 0; }
    for (int i = 0; i < count; ++i) { term(i, sums); }
  }

  static void ExpectNear(Dtype expected, Dtype found, const char* what) {
    EXPECT_NEAR(expected, found, 2e-5 * std::max(Dtype(1), std::abs(expected))) << what;
  }

  void CheckEuclidean(int num, int dim, bool first, bool second) {
    Caffe::set_random_seed(1701);
    const vector<int> shape = {num, dim};
    Blob<Dtype> a(shape), b(shape), loss;
    Fill(&a);
    Fill(&b);
    const vector<Blob<Dtype>*> bottom = {&a, &b}, top = {&loss};
    LayerParameter parameter;
    parameter.add_loss_weight(3);
    EuclideanLossLayer<Dtype> layer(parameter);
    layer.SetUp(bottom, top);
    const Dtype weighted = layer.Forward(bottom, top);
    const Dtype found = loss.cpu_data()[0];
    const SquaredDifference<Dtype> term = {a.cpu_data(), b.cpu_data()};
    double sum;
    Sum(a.count(), term, &sum);
    Dtype expected;
    const EuclideanLossOfSum<Dtype> finish = {num, &expected};
    finish(&sum);
    ExpectNear(expected, found, "loss");
    ExpectNear(3 * expected, weighted, "weighted loss");
    layer.Forward(bottom, top);
    EXPECT_EQ(found, loss.cpu_data()[0]) << "the same every time";

    layer.Backward(top, {first, second}, bottom);
    vector<Dtype> a_diff(a.count()), b_diff(a.count());
    const Dtype weight = 3;
    const EuclideanGradient<Dtype> gradient = {a.cpu_data(), b.cpu_data(), &weight, num,
        first ? &a_diff[0] : NULL, second ? &b_diff[0] : NULL};
    for (int i = 0; i < a.count(); ++i) {
      gradient(i);
      ASSERT_NEAR(a_diff[i], first ? a.cpu_diff()[i] : 0, 1e-6) << i;
      ASSERT_NEAR(b_diff[i], second ? b.cpu_diff()[i] : 0, 1e-6) << i;
    }
  }

  void CheckSoftmax(const LossParameter& how, int outer, int channels, int inner) {
    Caffe::set_random_seed(1701);
    Blob<Dtype> scores(vector<int>({outer, channels, inner}));
    Blob<Dtype> label(vector<int>({outer, 1, inner}));
    Blob<Dtype> loss, prob;
    Fill(&scores);
    for (int i = 0; i < label.count(); ++i) {
      label.mutable_cpu_data()[i] = i * i % channels;
    }
    // Certain of another label: the probability is 0, its logarithm is bounded.
    scores.mutable_cpu_data()[((1 % channels) * inner)] = 2000;
    const vector<Blob<Dtype>*> bottom = {&scores, &label}, top = {&loss, &prob};
    LayerParameter parameter;
    parameter.add_loss_weight(3);
    parameter.add_loss_weight(0);
    *parameter.mutable_loss_param() = how;
    SoftmaxWithLossLayer<Dtype> layer(parameter);
    layer.SetUp(bottom, top);
    layer.Forward(bottom, top);
    const Labels<Dtype> labels = {label.cpu_data(), channels, inner,
        how.has_ignore_label(), how.ignore_label()};
    unsigned long long foreign = 0;  // NOLINT(runtime/int)
    const LogLikelihood<Dtype> term = {prob.cpu_data(), labels, &foreign};
    double sums[2];
    Sum(outer * inner, term, sums);
    EXPECT_EQ(0, foreign);
    Dtype fixed = 0, normalizer, expected;
    switch (how.normalization()) {
    case LossParameter_NormalizationMode_VALID: break;
    case LossParameter_NormalizationMode_BATCH_SIZE: fixed = outer; break;
    case LossParameter_NormalizationMode_FULL: fixed = outer * inner; break;
    default: fixed = 1;
    }
    const SoftmaxLossOfSums<Dtype> finish = {fixed, &normalizer, &expected};
    finish(sums);
    ExpectNear(expected, loss.cpu_data()[0], "loss");

    layer.Backward(top, {true, false}, bottom);
    vector<Dtype> diff(scores.count());
    const Dtype weight = 3;
    const SoftmaxLossGradient<Dtype> gradient = {prob.cpu_data(), labels, &weight,
        &normalizer, &diff[0]};
    for (int i = 0; i < scores.count(); ++i) {
      gradient(i);
      ASSERT_NEAR(diff[i], scores.cpu_diff()[i], 1e-6) << i;
    }
  }

  void CheckSoftmaxModes(int outer, int channels, int inner) {
    for (int mode = 0; mode <= LossParameter_NormalizationMode_NONE; ++mode) {
      LossParameter how;
      how.set_normalization(static_cast<LossParameter_NormalizationMode>(mode));
      CheckSoftmax(how, outer, channels, inner);
      how.set_ignore_label(1);
      CheckSoftmax(how, outer, channels, inner);
    }
  }
};

TYPED_TEST_CASE(LossFunctorsTest, TestDtypesAndDevices);

TYPED_TEST(LossFunctorsTest, TestEuclidean) {
  this->CheckEuclidean(1, 1, true, true);
  this->CheckEuclidean(3, 7, true, false);
  this->CheckEuclidean(4, 300, false, true);
}

TYPED_TEST(LossFunctorsTest, TestEuclideanOfManyBlocks) {
  this->CheckEuclidean(5, 1237, true, true);
  this->CheckEuclidean(3, 1 << 20, true, true);
}

TYPED_TEST(LossFunctorsTest, TestSoftmax) { this->CheckSoftmaxModes(7, 5, 1); }

TYPED_TEST(LossFunctorsTest, TestSoftmaxOfPlanes) { this->CheckSoftmaxModes(3, 4, 6); }

TYPED_TEST(LossFunctorsTest, TestSoftmaxOfManyBlocks) {
  this->CheckSoftmaxModes(30, 3, 431);
}

TYPED_TEST(LossFunctorsTest, TestSoftmaxIgnoresAll) {
  LossParameter how;
  how.set_ignore_label(0);
  this->CheckSoftmax(how, 1, 2, 1);
}

}  // namespace caffe
