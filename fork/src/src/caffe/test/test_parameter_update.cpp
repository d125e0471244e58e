#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

#include "caffe/common.hpp"
#include "caffe/filler.hpp"
#include "caffe/sgd_solvers.hpp"
#include "caffe/solver_factory.hpp"
#include "caffe/util/parameter_update.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

/// What a kernel updates an element with, against the solvers: on the CPU against their own
/// steps, on the GPU against the kernel that updates all parameters.
template <typename TypeParam>
class ParameterUpdateTest : public MultiDeviceTest<TypeParam> {
 protected:
  typedef typename TypeParam::Dtype Dtype;

  // A solver of a network with `layers` inner products, one of which has many weights.
  void MakeSolver(const string& settings, int layers) {
    Caffe::set_random_seed(1701);
    std::ostringstream text;
    text << "base_lr: 0.1 lr_policy: 'fixed' weight_decay: 0.02 random_seed: 1 "
        << "net_param { layer { name: 'data' type: 'DummyData' top: 'data' "
        << "dummy_data_param { shape { dim: 2 dim: 123 } } } ";
    for (int i = 0; i < layers; ++i) {
      text << "layer { name: 'ip" << i << "' type: 'InnerProduct' bottom: 'data' top: 'ip"
          << i << "' inner_product_param { num_output: " << (i == 1 ? 77 : 3)
          << " weight_filler { type: 'gaussian' } bias_filler { type: 'gaussian' } } "
          << "param { lr_mult: " << 1 + i % 3 << " } "
          << "param { lr_mult: 2 decay_mult: 0 } } ";
    }
    text << '}';
    SolverParameter parameter;
    CHECK(google::protobuf::TextFormat::ParseFromString(text.str(), &parameter));
    CHECK(google::protobuf::TextFormat::MergeFromString(settings, &parameter));
    solver_.reset(SolverRegistry<Dtype>::CreateSolver(parameter));
  }

  static vector<Dtype> Copy(const Dtype* values, int count) {
    return vector<Dtype>(values, values + count);
  }

  static void ExpectNear(const vector<Dtype>& expected, const Dtype* found,
      const char* what) {
    for (int i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(expected[i], found[i], 1e-5 * std::max(Dtype(1), std::abs(expected[i])))
          << what << ", " << i;
    }
  }

  void Check(const string& settings, int layers = 3) {
    MakeSolver(settings, layers);
    SGDSolver<Dtype>* solver = static_cast<SGDSolver<Dtype>*>(solver_.get());
    const vector<Blob<Dtype>*>& params = solver->net()->learnable_params();
    const vector<shared_ptr<Blob<Dtype> > >& history = solver->history();
    ASSERT_EQ(2 * layers, params.size());
    FillerParameter about_one;
    about_one.set_min(0.5);
    about_one.set_max(1.5);
    UniformFiller<Dtype> filler(about_one);
    for (int k = 0; k < history.size(); ++k) { filler.Fill(history[k].get()); }
    params[0]->mutable_cpu_data()[1] = 0;  // has no sign
    for (int step = 0; step < 2; ++step) {
      double squares = 0;
      for (int k = 0; k < params.size(); ++k) {
        Blob<Dtype> gradient(params[k]->shape());
        filler.Fill(&gradient);
        for (int i = 0; i < gradient.count(); ++i) {
          const Dtype value = gradient.cpu_data()[i] * (i % 2 ? 1 : -1);
          params[k]->mutable_cpu_diff()[i] = value;
          squares += static_cast<double>(value) * value;
        }
      }
      UpdateRule<Dtype> rule;
      vector<ParameterUpdate<Dtype> > updates;
      const Dtype rate = solver->GetLearningRate();
      ASSERT_TRUE(NextUpdate(solver, rate, &rule, &updates));
      ASSERT_EQ(params.size(), updates.size());
      const Dtype clip = solver->param().clip_gradients();
      vector<vector<Dtype> > data, diff, first, second;
      for (int k = 0; k < params.size(); ++k) {
        const int count = params[k]->count();
        data.push_back(Copy(params[k]->cpu_data(), count));
        diff.push_back(Copy(params[k]->cpu_diff(), count));
        for (int i = 0; i < count && clip > 0 && squares > clip * clip; ++i) {
          diff[k][i] *= clip / std::sqrt(squares);
        }
        first.push_back(Copy(history[k]->cpu_data(), count));
        const int other = k + params.size();
        second.push_back(other < history.size()
            ? Copy(history[other]->cpu_data(), count) : vector<Dtype>(1));
        updates[k].data = &data[k][0];
        updates[k].diff = &diff[k][0];
        updates[k].history = &first[k][0];
        updates[k].history2 = &second[k][0];
        ASSERT_EQ(count, updates[k].count);
        for (int i = 0; i < count; ++i) { rule(updates[k], i); }
      }
      solver->ApplyUpdate();
      EXPECT_EQ(step + 1, solver->iter());
      for (int k = 0; k < params.size(); ++k) {
        ExpectNear(data[k], params[k]->cpu_data(), "weights");
        ExpectNear(diff[k], params[k]->cpu_diff(), "update");
        ExpectNear(first[k], history[k]->cpu_data(), "history");
        const int other = k + params.size();
        if (other < history.size()) {
          ExpectNear(second[k], history[other]->cpu_data(), "second history");
        }
      }
    }
  }

  shared_ptr<Solver<Dtype> > solver_;
};

TYPED_TEST_CASE(ParameterUpdateTest, TestDtypesAndDevices);

TYPED_TEST(ParameterUpdateTest, TestSGD) {
  this->Check("type: 'SGD' momentum: 0.9");
  this->Check("type: 'SGD' momentum: 0.9 iter_size: 3");
  this->Check("type: 'SGD' weight_decay: 0");
}

TYPED_TEST(ParameterUpdateTest, TestL1) {
  this->Check("type: 'SGD' momentum: 0.9 regularization_type: 'L1'");
}

TYPED_TEST(ParameterUpdateTest, TestClippedGradients) {
  this->Check("type: 'SGD' momentum: 0.9 clip_gradients: 1.5");
  this->Check("type: 'SGD' momentum: 0.9 clip_gradients: 1e6");
  this->Check("type: 'SGD' momentum: 0.9 clip_gradients: 1.5", 50);
}

TYPED_TEST(ParameterUpdateTest, TestMoreParametersThanATableHolds) {
  this->Check("type: 'SGD' momentum: 0.9", 50);
  this->Check("type: 'Adam' momentum: 0.9", 90);
}

TYPED_TEST(ParameterUpdateTest, TestNesterov) {
  this->Check("type: 'Nesterov' momentum: 0.9");
}

TYPED_TEST(ParameterUpdateTest, TestAdaGrad) { this->Check("type: 'AdaGrad'"); }

TYPED_TEST(ParameterUpdateTest, TestRMSProp) {
  this->Check("type: 'RMSProp' rms_decay: 0.95");
}

TYPED_TEST(ParameterUpdateTest, TestAdaDelta) {
  this->Check("type: 'AdaDelta' momentum: 0.95 delta: 1e-3");
}

TYPED_TEST(ParameterUpdateTest, TestAdam) {
  this->Check("type: 'Adam' momentum: 0.9 momentum2: 0.99 delta: 1e-4");
}

}  // namespace caffe
