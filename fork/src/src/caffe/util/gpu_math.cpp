#include "caffe/util/gpu_math.hpp"

#include <cstdlib>
#include <string>

#include "caffe/common.hpp"

namespace caffe {

static GpuMath& MathOfThread() {
  static thread_local GpuMath math = ChooseGpuMath(GPU_MATH_FP32);
  return math;
}

GpuMath ChooseGpuMath(GpuMath wanted) {
  const char* value = std::getenv("CAFFE_GPU_MATH");
  const std::string math = value ? value : "";
  if (math.empty()) { return wanted; }
  CHECK(math == "fp32" || math == "tf32")
      << "CAFFE_GPU_MATH in the environment is " << math << "; it can be fp32, which is "
      << "the default, or tf32.";
  return math == "tf32" ? GPU_MATH_TF32 : GPU_MATH_FP32;
}

GpuMath CurrentGpuMath() { return MathOfThread(); }

void SetGpuMath(GpuMath math) { MathOfThread() = math; }

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
