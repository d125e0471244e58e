#include "caffe/util/channel_bias.hpp"

#include <algorithm>

#include "caffe/common.hpp"
#include "caffe/util/device_scratch.hpp"

namespace caffe {

namespace {

const int kThreads = 256;

// Values that a block adds up, at least, where there are so many images.
const int kValuesPerBlock = 8192;

// Of a grid's second dimension.
const int kMostParts = 65535;

// What a thread reads and writes at once.
template <typename Dtype, int kWidth>
struct alignas(kWidth * sizeof(Dtype)) Pack {
  Dtype values[kWidth];
};

// `spatial` and `count` in packs.
template <typename Dtype, int kWidth, bool kReLU>
__global__ void AddBias(const int count, const int channels, const int spatial,
    const Dtype* bias, Pack<Dtype, kWidth>* y) {
  CUDA_KERNEL_LOOP(i, count) {
    const Dtype shift = bias ? bias[i / spatial % channels] : Dtype(0);
    Pack<Dtype, kWidth> pack = y[i];
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const Dtype value = pack.values[k] + shift;
      pack.values[k] = kReLU ? Rectified(value) : value;
    }
    y[i] = pack;
  }
}

// Sums of one channel (blockIdx.x) over some images (the blockIdx.y-th `each`).
template <typename Dtype, int kWidth, bool kReLU>
__global__ void ChannelSums(const int count, const int channels, const int spatial,
    const int each, const Pack<Dtype, kWidth>* y, Pack<Dtype, kWidth>* y_diff,
    Dtype* sums) {
  const int channel = blockIdx.x;
  const int first = blockIdx.y * each;
  const int values = min(each, count - first) * spatial;
  Dtype sum = 0;
  for (int j = threadIdx.x; j < values; j += kThreads) {
    const int n = j / spatial;
    const size_t i = (size_t(first + n) * channels + channel) * spatial + j - n * spatial;
    Pack<Dtype, kWidth> pack = y_diff[i];
    if (kReLU) {
      const Pack<Dtype, kWidth> rectified = y[i];
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        pack.values[k] = RectifiedGradient(rectified.values[k], pack.values[k]);
      }
      y_diff[i] = pack;
    }
#pragma unroll
    for (int k = 0; k < kWidth; ++k) { sum += pack.values[k]; }
  }
  if (sums == NULL) { return; }
  __shared__ Dtype shared[kThreads];
  shared[threadIdx.x] = sum;
  __syncthreads();
  for (int half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) { shared[threadIdx.x] += shared[threadIdx.x + half]; }
    __syncthreads();
  }
  if (threadIdx.x == 0) { sums[channel * gridDim.y + blockIdx.y] = shared[0]; }
}

template <typename Dtype>
__global__ void AddSums(const int channels, const int parts, const Dtype* sums,
    Dtype* bias_diff) {
  CUDA_KERNEL_LOOP(channel, channels) {
    Dtype sum = 0;
    for (int part = 0; part < parts; ++part) { sum += sums[channel * parts + part]; }
    bias_diff[channel] += sum;
  }
}

template <typename Dtype, int kWidth>
void AddBiasOf(int count, int channels, int spatial, bool relu, const Dtype* bias,
    Dtype* y) {
  const int packs = count * channels * spatial / kWidth;
  Pack<Dtype, kWidth>* packed = reinterpret_cast<Pack<Dtype, kWidth>*>(y);
  const int blocks = (packs + kThreads - 1) / kThreads;
  if (relu) {
    // NOLINT_NEXT_LINE(whitespace/operators)
    AddBias<Dtype, kWidth, true><<<blocks, kThreads>>>(packs, channels, spatial / kWidth,
        bias, packed);
  } else {
    // NOLINT_NEXT_LINE(whitespace/operators)
    AddBias<Dtype, kWidth, false><<<blocks, kThreads>>>(packs, channels, spatial / kWidth,
        bias, packed);
  }
}

template <typename Dtype, int kWidth>
void SumsOf(int count, int channels, int spatial, int each, const Dtype* y,
    Dtype* y_diff, Dtype* sums) {
  typedef Pack<Dtype, kWidth> Packed;
  const dim3 blocks(channels, (count + each - 1) / each);
  const Packed* packed = reinterpret_cast<const Packed*>(y);
  Packed* packed_diff = reinterpret_cast<Packed*>(y_diff);
  if (y) {
    // NOLINT_NEXT_LINE(whitespace/operators)
    ChannelSums<Dtype, kWidth, true><<<blocks, kThreads>>>(count, channels,
        spatial / kWidth, each, packed, packed_diff, sums);
  } else {
    // NOLINT_NEXT_LINE(whitespace/operators)
    ChannelSums<Dtype, kWidth, false><<<blocks, kThreads>>>(count, channels,
        spatial / kWidth, each, packed, packed_diff, sums);
  }
}

}  // namespace

template <typename Dtype>
void AddChannelBiasGpu(int count, int channels, int spatial, bool relu, const Dtype* bias,
    Dtype* y) {
  if (!relu && bias == NULL) { return; }
  if (spatial % 4 == 0) {
    AddBiasOf<Dtype, 4>(count, channels, spatial, relu, bias, y);
  } else {
    AddBiasOf<Dtype, 1>(count, channels, spatial, relu, bias, y);
  }
  CUDA_POST_KERNEL_CHECK;
}

template <typename Dtype>
void ChannelBiasGradientGpu(int count, int channels, int spatial, const Dtype* y,
    Dtype* y_diff, Dtype* bias_diff) {
  if (y == NULL && bias_diff == NULL) { return; }
  const int each = std::max((count + kMostParts - 1) / kMostParts,
      std::max(1, std::min(count, kValuesPerBlock / spatial)));
  const int parts = (count + each - 1) / each;
  Dtype* sums = bias_diff == NULL ? NULL
      : static_cast<Dtype*>(DeviceScratch(sizeof(Dtype) * channels * parts));
  if (spatial % 4 == 0) {
    SumsOf<Dtype, 4>(count, channels, spatial, each, y, y_diff, sums);
  } else {
    SumsOf<Dtype, 1>(count, channels, spatial, each, y, y_diff, sums);
  }
  if (bias_diff) {
    // NOLINT_NEXT_LINE(whitespace/operators)
    AddSums<Dtype><<<(channels + kThreads - 1) / kThreads, kThreads>>>(channels, parts,
        sums, bias_diff);
  }
  CUDA_POST_KERNEL_CHECK;
}

template void AddChannelBiasGpu<float>(int, int, int, bool, const float*, float*);
template void AddChannelBiasGpu<double>(int, int, int, bool, const double*, double*);
template void ChannelBiasGradientGpu<float>(int, int, int, const float*, float*, float*);
template void ChannelBiasGradientGpu<double>(int, int, int, const double*, double*,
    double*);

}  // namespace caffe
