#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

#include "caffe/common.hpp"
#include "caffe/net.hpp"
#include "caffe/util/applied_relus.hpp"
#include "caffe/util/channel_bias.hpp"
#include "caffe/util/gradient_memory.hpp"
#include "caffe/util/math_functions.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

// A small network like those of the paper: switches, losses at two depths, branches.
static const char* kNet =
    "force_backward: false "
    "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label' dummy_data_param {"
    "  shape { dim: 4 dim: 2 dim: 8 dim: 12 } shape { dim: 4 }"
    "  data_filler { type: 'gaussian' std: 1 } data_filler { type: 'constant' value: 1 }"
    "} } "
    "layer { name: 'conv1' type: 'Convolution' bottom: 'data' top: 'conv1'"
    "  convolution_param { num_output: 8 kernel_size: 3 pad: 1"
    "    weight_filler { type: 'xavier' } bias_filler { type: 'constant' value: 0.1 } } } "
    "layer { name: 'relu1' type: 'ReLU' bottom: 'conv1' top: 'conv1' } "
    "layer { name: 'pool1' type: 'Pooling' bottom: 'conv1' top: 'pool1' top: 'switch1'"
    "  pooling_param { kernel_size: 2 stride: 2 } } "
    "layer { name: 'conv2' type: 'Convolution' bottom: 'pool1' top: 'conv2'"
    "  convolution_param { num_output: 6 kernel_size: 3 bias_term: false"
    "    weight_filler { type: 'xavier' } } } "
    "layer { name: 'relu2' type: 'ReLU' bottom: 'conv2' top: 'conv2' } "
    "layer { name: 'fc' type: 'InnerProduct' bottom: 'conv2' top: 'fc'"
    "  inner_product_param { num_output: 3 weight_filler { type: 'xavier' } } } "
    "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'fc' bottom: 'label'"
    "  top: 'loss' } "
    "layer { name: 'dec2' type: 'Deconvolution' bottom: 'conv2' top: 'dec2'"
    "  convolution_param { num_output: 8 kernel_size: 3"
    "    weight_filler { type: 'xavier' } } } "
    "layer { name: 'relu_dec2' type: 'ReLU' bottom: 'dec2' top: 'dec2' } "
    "layer { name: 'loss2' type: 'EuclideanLoss' bottom: 'dec2' bottom: 'pool1'"
    "  top: 'loss2' loss_weight: 0.1 } "
    "layer { name: 'unpool1' type: 'Depooling' bottom: 'dec2' bottom: 'switch1'"
    "  top: 'unpool1' pooling_param { pool: SWITCH kernel_size: 2 stride: 2 } } "
    "layer { name: 'dec1' type: 'Deconvolution' bottom: 'unpool1' top: 'dec1'"
    "  convolution_param { num_output: 2 kernel_size: 3 pad: 1"
    "    weight_filler { type: 'xavier' } } } "
    "layer { name: 'scaled' type: 'Power' bottom: 'data' top: 'scaled'"
    "  power_param { scale: 0.5 } } "
    "layer { name: 'loss1' type: 'EuclideanLoss' bottom: 'dec1' bottom: 'scaled'"
    "  top: 'loss1' loss_weight: 0.2 } ";

template <typename TypeParam>
class NetMemoryTest : public MultiDeviceTest<TypeParam> {
  typedef typename TypeParam::Dtype Dtype;

 protected:
  // relu1 and conv1 get the fields that are given.
  shared_ptr<Net<Dtype> > Make(const string& relu1 = "", const string& conv1 = "") {
    string text = kNet;
    text.insert(text.find("name: 'relu1'"), relu1 + " ");
    text.insert(text.find("name: 'conv1'"), conv1 + " ");
    NetParameter param;
    CHECK(google::protobuf::TextFormat::ParseFromString(text, &param));
    param.mutable_state()->set_phase(TRAIN);
    Caffe::set_random_seed(1701);
    return shared_ptr<Net<Dtype> >(new Net<Dtype>(param));
  }

  static Dtype Least(const Blob<Dtype>& blob) {
    return *std::min_element(blob.cpu_data(), blob.cpu_data() + blob.count());
  }

  // The parameters' gradients after two passes, in both of which they add up.
  static vector<Dtype> Gradients(Net<Dtype>* net, Dtype* loss) {
    Caffe::set_random_seed(5);
    net->ClearParamDiffs();
    *loss = 0;
    for (int i = 0; i < 2; ++i) { *loss += net->ForwardBackward(); }
    vector<Dtype> gradients;
    for (int i = 0; i < net->learnable_params().size(); ++i) {
      const Blob<Dtype>& param = *net->learnable_params()[i];
      gradients.insert(gradients.end(), param.cpu_diff(), param.cpu_diff() + param.count());
    }
    return gradients;
  }
};

TYPED_TEST_CASE(NetMemoryTest, TestDtypesAndDevices);

TYPED_TEST(NetMemoryTest, TestSharedGradients) {
  typedef typename TypeParam::Dtype Dtype;
  Dtype loss, shared_loss;
  shared_ptr<Net<Dtype> > net = this->Make();
  const vector<Dtype> alone = this->Gradients(net.get(), &loss);
  shared_ptr<Net<Dtype> > sharing = this->Make();
  const size_t saved = ShareGradientMemory(*sharing);
  const vector<Dtype> shared = this->Gradients(sharing.get(), &shared_loss);
  EXPECT_NEAR(loss, shared_loss, 1e-5 * loss);
  ASSERT_EQ(alone.size(), shared.size());
  for (int i = 0; i < alone.size(); ++i) {
    // cuDNN's algorithms may add up in another order each time.
    ASSERT_NEAR(alone[i], shared[i], 1e-4 * (1 + std::fabs(alone[i]))) << i;
  }
  // Of conv1's size are the gradients of conv1 and unpool1.
  EXPECT_GE(saved, net->blob_by_name("conv1")->count() * sizeof(Dtype));
  EXPECT_EQ(sharing->blob_by_name("conv1")->diff().get(),
      sharing->blob_by_name("unpool1")->diff().get());
  EXPECT_NE(sharing->blob_by_name("loss")->diff().get(),
      sharing->blob_by_name("loss2")->diff().get());
}

// What is needed at the same time lies apart: both gradients of every layer's blobs.
TYPED_TEST(NetMemoryTest, TestNeighboursDoNotShare) {
  typedef typename TypeParam::Dtype Dtype;
  shared_ptr<Net<Dtype> > net = this->Make();
  ShareGradientMemory(*net);
  for (int l = 0; l < net->layers().size(); ++l) {
    vector<int> blobs = net->bottom_ids(l);
    for (int i = 0; i < net->top_ids(l).size(); ++i) {
      const int top = net->top_ids(l)[i];
      if (std::find(blobs.begin(), blobs.end(), top) == blobs.end()) { blobs.push_back(top); }
    }
    for (int i = 0; i < blobs.size(); ++i) {
      for (int k = 0; k < i; ++k) {
        EXPECT_NE(net->blobs()[blobs[i]]->diff().get(), net->blobs()[blobs[k]]->diff().get())
            << net->layer_names()[l] << ": " << net->blob_names()[blobs[i]] << ", "
            << net->blob_names()[blobs[k]];
      }
    }
  }
}

// A ReLU that a convolution applies changes nothing that is seen: layers one at a time
// compute what each of them is, and all together the same as they.
TYPED_TEST(NetMemoryTest, TestAppliedReLUs) {
  typedef typename TypeParam::Dtype Dtype;
  Dtype loss, loss_by_layers = 0;
  shared_ptr<Net<Dtype> > net = this->Make();
  const vector<Dtype> gradients = this->Gradients(net.get(), &loss);
  net = this->Make();
  Caffe::set_random_seed(5);
  net->ClearParamDiffs();
  for (int i = 0; i < 2; ++i) {
    for (int l = 0; l < net->layers().size(); ++l) {
      loss_by_layers += net->ForwardFromTo(l, l);
      if (net->layer_names()[l] == "conv1") {
        EXPECT_LT(this->Least(*net->blob_by_name("conv1")), 0);
      } else if (net->layer_names()[l] == "relu1") {
        EXPECT_EQ(0, this->Least(*net->blob_by_name("conv1")));
      }
    }
    for (int l = net->layers().size() - 1; l >= 0; --l) { net->BackwardFromTo(l, l); }
  }
  EXPECT_NEAR(loss, loss_by_layers, 1e-4 * loss);
  for (int i = 0, k = 0; i < net->learnable_params().size(); ++i) {
    const Blob<Dtype>& param = *net->learnable_params()[i];
    for (int j = 0; j < param.count(); ++j, ++k) {
      EXPECT_NEAR(gradients[k], param.cpu_diff()[j], 1e-4) << i << " " << j;
    }
  }
  const vector<string>& names = net->layer_names();
  const int conv1 = std::find(names.begin(), names.end(), "conv1") - names.begin();
  net->ForwardTo(conv1);
  EXPECT_LT(this->Least(*net->blob_by_name("conv1")), 0);
  net->ForwardTo(conv1 + 1);
  EXPECT_EQ(0, this->Least(*net->blob_by_name("conv1")));
}

// Those of kNet are relu1, relu2 and relu_dec2.
TYPED_TEST(NetMemoryTest, TestWhichReLUsAreApplied) {
  typedef typename TypeParam::Dtype Dtype;
  bool by_cudnn = false;
#ifdef USE_CUDNN
  by_cudnn = Caffe::mode() == Caffe::GPU;
#endif
  AppliedReLUs<Dtype> applied;
  applied.Find(*this->Make());
  EXPECT_EQ(by_cudnn ? 3 : 0, applied.count());
  applied.Find(*this->Make("relu_param { negative_slope: 0.1 }", "param { lr_mult: 0 }"));
  EXPECT_EQ(by_cudnn ? 2 : 0, applied.count());
}

TEST(ChannelBiasTest, TestRectified) {
  EXPECT_EQ(0, Rectified(-1.5f));
  EXPECT_EQ(2.5, Rectified(2.5));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(Rectified(nan), Rectified(nan));
  EXPECT_EQ(3, RectifiedGradient(0.1, 3.));
  EXPECT_EQ(0, RectifiedGradient(0., 3.));
}

#ifndef CPU_ONLY

template <typename Dtype>
class GPUChannelBiasTest : public GPUDeviceTest<Dtype> {};

TYPED_TEST_CASE(GPUChannelBiasTest, TestDtypes);

// Sizes with and without packs of four, in one block and in many.
TYPED_TEST(GPUChannelBiasTest, TestAgainstTheCPU) {
  const int shapes[][3] = {{3, 5, 7}, {2, 3, 64}, {70, 2, 36}, {5, 1, 20000}, {1, 4, 9001}};
  for (int s = 0; s < sizeof(shapes) / sizeof(shapes[0]); ++s) {
    const int count = shapes[s][0], channels = shapes[s][1], spatial = shapes[s][2];
    for (int relu = 0; relu < 2; ++relu) {
      vector<int> shape(shapes[s], shapes[s] + 3);
      Blob<TypeParam> y(shape), before(shape);
      Blob<TypeParam> bias(vector<int>(1, channels));
      Caffe::set_random_seed(7);
      caffe_rng_gaussian<TypeParam>(y.count(), 0, 1, y.mutable_cpu_data());
      caffe_rng_gaussian<TypeParam>(y.count(), 0, 1, y.mutable_cpu_diff());
      caffe_rng_gaussian<TypeParam>(channels, 0, 1, bias.mutable_cpu_data());
      caffe_set<TypeParam>(channels, 2, bias.mutable_cpu_diff());
      before.CopyFrom(y);
      before.CopyFrom(y, true);
      AddChannelBiasGpu(count, channels, spatial, relu == 1, bias.gpu_data(),
          y.mutable_gpu_data());
      ChannelBiasGradientGpu(count, channels, spatial,
          relu ? y.gpu_data() : static_cast<const TypeParam*>(NULL),
          y.mutable_gpu_diff(), bias.mutable_gpu_diff());
      vector<double> sums(channels, 2);
      for (int i = 0; i < y.count(); ++i) {
        const int c = i / spatial % channels;
        TypeParam value = before.cpu_data()[i] + bias.cpu_data()[c];
        TypeParam diff = before.cpu_diff()[i];
        if (relu) {
          diff = RectifiedGradient(value, diff);
          value = Rectified(value);
        }
        ASSERT_EQ(value, y.cpu_data()[i]) << s << " " << i;
        ASSERT_EQ(diff, y.cpu_diff()[i]) << s << " " << i;
        sums[c] += diff;
      }
      for (int c = 0; c < channels; ++c) {
        EXPECT_NEAR(sums[c], bias.cpu_diff()[c], 1e-4 * (1 + std::fabs(sums[c]))) << s;
      }
    }
  }
}

#endif  // CPU_ONLY

}  // namespace caffe
