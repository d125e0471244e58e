#ifndef CAFFE_UTIL_GPU_MATH_HPP_
#define CAFFE_UTIL_GPU_MATH_HPP_

namespace caffe {

/// @brief What a GPU computes convolutions and matrix products of floats with.
enum GpuMath {
  GPU_MATH_FP32,  ///< fp32 throughout, without tensor cores
  GPU_MATH_TF32   ///< factors rounded to 10 bits of mantissa, sums in fp32
};

/// CAFFE_GPU_MATH in the environment, fp32 or tf32, where it is set, else what is wanted.
GpuMath ChooseGpuMath(GpuMath wanted);
const char* GpuMathName(GpuMath math);

/// What this thread computes with now: what the network that it has set up, or has run,
/// last says (NetParameter.gpu_math); fp32 before, unless the environment says otherwise.
GpuMath CurrentGpuMath();
void SetGpuMath(GpuMath math);

/// CAFFE_DETERMINISTIC=1: algorithms whose results are the same in every run.
bool Deterministic();

}  // namespace caffe

#endif  // CAFFE_UTIL_GPU_MATH_HPP_
