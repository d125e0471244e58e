#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/layer_factory.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

// Sizes by which layers would divide, and such as overflow.
class GeometryCheckTest : public ::testing::Test {
 protected:
  GeometryCheckTest() : bottom_(2, 4, 5, 6), bottoms_(1, &bottom_), tops_(1, &top_) {}

  void SetUpLayer(const LayerParameter& param) {
    LayerRegistry<float>::CreateLayer(param)->SetUp(bottoms_, tops_);
  }

  Blob<float> bottom_, top_;
  vector<Blob<float>*> bottoms_, tops_;
};

TEST_F(GeometryCheckTest, TestRefusesSizesOfConvolutions) {
  for (const char* type : {"Convolution", "Deconvolution"}) {
    LayerParameter good;
    good.set_name("conv");
    good.set_type(type);
    good.mutable_convolution_param()->set_num_output(2);
    good.mutable_convolution_param()->add_kernel_size(3);
    SetUpLayer(good);
    LayerParameter bad = good;
    bad.mutable_convolution_param()->set_group(0);
    EXPECT_DEATH(SetUpLayer(bad), "Layer 'conv' has group: 0; it can be 1 to 32768");
    bad = good;
    bad.mutable_convolution_param()->set_stride_h(0);
    bad.mutable_convolution_param()->set_stride_w(1);
    EXPECT_DEATH(SetUpLayer(bad), "Layer 'conv' has stride_h: 0; it can be 1 to 32768");
    bad = good;
    bad.mutable_convolution_param()->add_dilation(1 << 30);
    EXPECT_DEATH(SetUpLayer(bad), "Layer 'conv' has dilation: 1073741824; it can be 1");
    bad = good;
    bad.mutable_convolution_param()->add_pad(-1);
    EXPECT_DEATH(SetUpLayer(bad), "Layer 'conv' has pad: 4294967295; it can be 0 to");
  }
}

TEST_F(GeometryCheckTest, TestRefusesSizesOfPoolings) {
  LayerParameter good;
  good.set_name("pool");
  good.set_type("Pooling");
  good.mutable_pooling_param()->set_kernel_size(2);
  SetUpLayer(good);
  LayerParameter bad = good;
  bad.mutable_pooling_param()->set_stride(0);
  EXPECT_DEATH(SetUpLayer(bad), "Layer 'pool' has stride: 0; it can be 1 to 32768");
  bad = good;
  bad.mutable_pooling_param()->set_kernel_size(1 << 30);
  EXPECT_DEATH(SetUpLayer(bad),
      "Layer 'pool' has kernel_size: 1073741824; it can be 1 to 32768");
}

// What fuzz/layer.cpp found.
TEST_F(GeometryCheckTest, TestRefusesNoLabels) {
  LayerParameter param;
  param.set_type("Accuracy");
  Blob<float> labels(vector<int>(1, 0));
  bottoms_.push_back(&labels);
  EXPECT_DEATH(SetUpLayer(param), "Accuracy needs a label at least");
}

TEST_F(GeometryCheckTest, TestRefusesRatiosOfDropout) {
  LayerParameter param;
  param.set_name("drop");
  param.set_type("Dropout");
  param.mutable_dropout_param()->set_dropout_ratio(2);
  EXPECT_DEATH(SetUpLayer(param), "Layer 'drop' has dropout_ratio: 2; it can be 0 to");
}

}  // namespace caffe
