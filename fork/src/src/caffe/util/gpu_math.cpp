#include "caffe/util/gpu_math.hpp"

#include <cstdlib>
#include <string>

#include "caffe/common.hpp"

namespace caffe {

GpuMath GpuMathOfEnvironment() {
  const char* value = std::getenv("CAFFE_GPU_MATH");
  const std::string math = value ? value : "";
  CHECK(math.empty() || math == "fp32" || math == "tf32")
      << "CAFFE_GPU_MATH in the environment is " << math << "; it can be fp32, which is "
      << "the default, or tf32.";
  return math == "tf32" ? GPU_MATH_TF32 : GPU_MATH_FP32;
}

const char* GpuMathName(GpuMath math) {
  return math == GPU_MATH_TF32 ? "tf32" : "fp32";
}

bool Deterministic() {
  const char* value = std::getenv("CAFFE_DETERMINISTIC");
  const std::string wanted = value ? value : "";
  CHECK(wanted.empty() || wanted == "0" || wanted == "1")
      << "CAFFE_DETERMINISTIC in the environment is " << wanted << "; it can be 0, which "
      << "is the default, or 1.";
  return wanted == "1";
}

}  // namespace caffe
