#ifndef CAFFE_UTIL_DEVICE_SUM_CUH_
#define CAFFE_UTIL_DEVICE_SUM_CUH_

#include <algorithm>

#include "caffe/common.hpp"
#include "caffe/util/device_scratch.hpp"

/// Sums over many elements that are the same in every run and on every card: who adds what,
/// and in which order, depends on the number of elements alone. Sums are doubles.

namespace caffe {

const int kSumThreads = 256;
const int kSumBlocks = 1024;  // one wave of today's largest cards
const int kSumItems = 8;      // a thread's share at least, where there are that many

/// Adds up what the block's threads have; the first one gets it.
template <int kSums>
__device__ void SumOfBlock(double* sums) {
  __shared__ double of_warps[kSumThreads / 32][kSums];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int k = 0; k < kSums; ++k) {
    for (int distance = 16; distance > 0; distance /= 2) {
      sums[k] += __shfl_down_sync(0xffffffff, sums[k], distance);
    }
    if (lane == 0) { of_warps[warp][k] = sums[k]; }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < kSumThreads / 32; ++w) {
      for (int k = 0; k < kSums; ++k) { sums[k] += of_warps[w][k]; }
    }
  }
}

template <typename Term, typename Finish>
__global__ void SumTerms(int count, Term term, double* partial, Finish finish) {
  double sums[Term::kSums] = {};
  // Unsigned: the last step may lead beyond the largest int.
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count;
      i += blockDim.x * gridDim.x) {
    term(static_cast<int>(i), sums);
  }
  SumOfBlock<Term::kSums>(sums);
  if (threadIdx.x != 0) { return; }
  if (gridDim.x == 1) {
    finish(sums);
  } else {
    for (int k = 0; k < Term::kSums; ++k) {
      partial[blockIdx.x * Term::kSums + k] = sums[k];
    }
  }
}

/// One block: adds up what other blocks have left.
template <int kSums, typename Finish>
__global__ void SumPartial(int count, const double* partial, Finish finish) {
  double sums[kSums] = {};
  for (int i = threadIdx.x; i < count; i += blockDim.x) {
    for (int k = 0; k < kSums; ++k) { sums[k] += partial[i * kSums + k]; }
  }
  SumOfBlock<kSums>(sums);
  if (threadIdx.x == 0) { finish(sums); }
}

/// Adds up term(i, sums) for i of 0 to count - 1, and then calls finish(sums), once, on the
/// card. The host waits for nothing.
template <typename Term, typename Finish>
void DeviceSum(int count, const Term& term, const Finish& finish) {
  const int share = kSumThreads * kSumItems;
  const int blocks = std::max(1, std::min(kSumBlocks, (count - 1) / share + 1));
  double* partial = static_cast<double*>(
      DeviceScratch(kSumBlocks * Term::kSums * sizeof(double)));
  // NOLINT_NEXT_LINE(whitespace/operators)
  SumTerms<<<blocks, kSumThreads>>>(count, term, partial, finish);
  CUDA_POST_KERNEL_CHECK;
  if (blocks > 1) {
    // NOLINT_NEXT_LINE(whitespace/operators)
    SumPartial<Term::kSums><<<1, kSumThreads>>>(blocks, partial, finish);
    CUDA_POST_KERNEL_CHECK;
  }
}

template <typename Operation>
__global__ void DoForEach(int count, Operation operation) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) { operation(static_cast<int>(i)); }
}

/// Does operation(i) for i of 0 to count - 1.
template <typename Operation>
void DeviceForEach(int count, const Operation& operation) {
  if (count == 0) { return; }
  // NOLINT_NEXT_LINE(whitespace/operators)
  DoForEach<<<CAFFE_GET_BLOCKS(count), CAFFE_CUDA_NUM_THREADS>>>(count, operation);
  CUDA_POST_KERNEL_CHECK;
}

}  // namespace caffe

#endif  // CAFFE_UTIL_DEVICE_SUM_CUH_
