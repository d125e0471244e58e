#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

#include "caffe/common.hpp"
#include "caffe/net.hpp"
#include "caffe/util/gpu_math.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

class GpuMathTest : public ::testing::Test {
 protected:
  GpuMathTest() {
    const char* value = std::getenv("CAFFE_GPU_MATH");
    before_ = value ? value : "";
    unsetenv("CAFFE_GPU_MATH");
  }
  virtual ~GpuMathTest() {
    if (!before_.empty()) { setenv("CAFFE_GPU_MATH", before_.c_str(), 1); }
    SetGpuMath(ChooseGpuMath(GPU_MATH_FP32));
  }

  static shared_ptr<Net<float> > MakeNet(NetParameter_GpuMath math) {
    NetParameter parameter;
    parameter.set_gpu_math(math);
    LayerParameter* layer = parameter.add_layer();
    layer->set_type("DummyData");
    layer->add_top("data");
    layer->mutable_dummy_data_param()->add_shape()->add_dim(1);
    return shared_ptr<Net<float> >(new Net<float>(parameter));
  }

  string before_;
};

TEST_F(GpuMathTest, TestIsThatOfTheNetworkThatRuns) {
  Caffe::set_mode(Caffe::CPU);
  const shared_ptr<Net<float> > rounds = MakeNet(NetParameter_GpuMath_TF32);
  EXPECT_EQ(GPU_MATH_TF32, CurrentGpuMath());
  const shared_ptr<Net<float> > does_not = MakeNet(NetParameter_GpuMath_FP32);
  EXPECT_EQ(GPU_MATH_FP32, CurrentGpuMath());
  rounds->Forward();
  EXPECT_EQ(GPU_MATH_TF32, CurrentGpuMath());
  does_not->Forward();
  EXPECT_EQ(GPU_MATH_FP32, CurrentGpuMath());
}

TEST_F(GpuMathTest, TestEnvironmentWins) {
  setenv("CAFFE_GPU_MATH", "tf32", 1);
  EXPECT_EQ(GPU_MATH_TF32, ChooseGpuMath(GPU_MATH_FP32));
  setenv("CAFFE_GPU_MATH", "fp32", 1);
  EXPECT_EQ(GPU_MATH_FP32, ChooseGpuMath(GPU_MATH_TF32));
  setenv("CAFFE_GPU_MATH", "", 1);
  EXPECT_EQ(GPU_MATH_TF32, ChooseGpuMath(GPU_MATH_TF32));
  unsetenv("CAFFE_GPU_MATH");
}

}  // namespace caffe
