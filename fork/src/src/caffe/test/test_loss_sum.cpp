#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

#include "caffe/common.hpp"
#include "caffe/net.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

/// The loss of a network is what its layers' losses, weighted, add up to.
template <typename TypeParam>
class LossSumTest : public MultiDeviceTest<TypeParam> {
 protected:
  typedef typename TypeParam::Dtype Dtype;

  LossSumTest() {
    Caffe::set_random_seed(1701);
    NetParameter parameter;
    CHECK(google::protobuf::TextFormat::ParseFromString(
        "layer { name: 'data' type: 'DummyData' top: 'data' top: 'target' top: 'label'"
        "  dummy_data_param { shape { dim: 6 dim: 3 dim: 40 dim: 30 }"
        "    shape { dim: 6 dim: 3 dim: 40 dim: 30 } shape { dim: 6 }"
        "    data_filler { type: 'gaussian' } data_filler { type: 'gaussian' }"
        "    data_filler { type: 'constant' value: 2 } } } "
        "layer { name: 'near' type: 'EuclideanLoss' bottom: 'data' bottom: 'target'"
        "  top: 'near' loss_weight: 0.01 } "
        // A whole array is a loss, too.
        "layer { name: 'scaled' type: 'Power' bottom: 'data' top: 'scaled'"
        "  power_param { scale: 2 shift: 0.1 } loss_weight: 0.003 } "
        "layer { name: 'ip' type: 'InnerProduct' bottom: 'scaled' top: 'ip'"
        "  inner_product_param { num_output: 5"
        "  weight_filler { type: 'gaussian' std: 0.01 } } } "
        "layer { name: 'unweighted' type: 'EuclideanLoss' bottom: 'data'"
        "  bottom: 'scaled' top: 'unweighted' loss_weight: 0 } "
        "layer { name: 'class' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label'"
        "  top: 'class' loss_weight: 2.5 }", &parameter));
    parameter.set_force_backward(true);
    net_.reset(new Net<Dtype>(parameter));
  }

  int Find(const string& name) const {
    const vector<string>& names = net_->layer_names();
    return std::find(names.begin(), names.end(), name) - names.begin();
  }

  Dtype Expected(int start, int end) const {
    double sum = 0;
    for (int i = start; i <= end; ++i) {
      const vector<Blob<Dtype>*>& top = net_->top_vecs()[i];
      for (int k = 0; k < top.size(); ++k) {
        const Dtype weight = net_->layers()[i]->loss(k);
        for (int n = 0; weight != 0 && n < top[k]->count(); ++n) {
          sum += weight * top[k]->cpu_data()[n];
        }
      }
    }
    return sum;
  }

  void ExpectLoss(int start, int end, Dtype found) const {
    const Dtype expected = Expected(start, end);
    EXPECT_NEAR(expected, found, 1e-4 * std::abs(expected)) << start << " to " << end;
  }

  shared_ptr<Net<Dtype> > net_;
};

TYPED_TEST_CASE(LossSumTest, TestDtypesAndDevices);

TYPED_TEST(LossSumTest, TestForward) {
  typename TypeParam::Dtype loss;
  const int last = this->net_->layers().size() - 1;
  this->net_->Forward(&loss);
  this->ExpectLoss(0, last, loss);
  EXPECT_GT(loss, 1);
  // New data, whose loss nobody asks for, and again.
  this->net_->Forward();
  this->net_->Forward(&loss);
  this->ExpectLoss(0, last, loss);
}

TYPED_TEST(LossSumTest, TestForwardBackward) {
  this->net_->ClearParamDiffs();
  const typename TypeParam::Dtype loss = this->net_->ForwardBackward();
  this->ExpectLoss(0, this->net_->layers().size() - 1, loss);
}

TYPED_TEST(LossSumTest, TestRanges) {
  this->net_->Forward();
  const int last = this->net_->layers().size() - 1;
  for (int start = this->Find("near"); start <= last; ++start) {
    for (int end = start; end <= last; ++end) {
      this->ExpectLoss(start, end, this->net_->ForwardFromTo(start, end));
    }
  }
  EXPECT_EQ(0, this->net_->ForwardFromTo(this->Find("ip"), this->Find("unweighted")));
}

TYPED_TEST(LossSumTest, TestLayersAlone) {
  typename TypeParam::Dtype sum = 0;
  for (int i = 0; i < this->net_->layers().size(); ++i) {
    sum += this->net_->layers()[i]->Forward(this->net_->bottom_vecs()[i],
        this->net_->top_vecs()[i]);
  }
  this->ExpectLoss(0, this->net_->layers().size() - 1, sum);
}

}  // namespace caffe
