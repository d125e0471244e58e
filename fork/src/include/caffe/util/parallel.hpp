#ifndef CAFFE_UTIL_PARALLEL_HPP_
#define CAFFE_UTIL_PARALLEL_HPP_

namespace caffe {

/**
 * @brief Loops over fewer values than this stay in the thread that calls them;
 *        longer ones are shared out to OpenMP's threads (OMP_NUM_THREADS).
 *
 * Waking the threads takes some microseconds, as long as one of them takes for
 * this many values.
 */
const int kParallelCount = 1 << 15;

}  // namespace caffe

/// In front of a loop over `count` values, each of which depends on no other: lets
/// it use vectors and, where that pays, all threads.
#ifdef _OPENMP
#define CAFFE_PRAGMA(...) _Pragma(#__VA_ARGS__)
#define CAFFE_PARALLEL_SIMD(count) \
  CAFFE_PRAGMA(omp parallel for simd if ((count) >= caffe::kParallelCount))
#else
#define CAFFE_PARALLEL_SIMD(count)
#endif

/// Does `operation` for each i of 0 to count - 1, as above. Short loops don't even ask
/// OpenMP, which takes longer than they do: Softmax makes hundreds a batch.
#define CAFFE_ELEMENTWISE(count, operation) \
  if ((count) < caffe::kParallelCount) { \
    for (int i = 0; i < (count); ++i) { operation; } \
  } else { \
    CAFFE_PARALLEL_SIMD(count) \
    for (int i = 0; i < (count); ++i) { operation; } \
  }

#endif  // CAFFE_UTIL_PARALLEL_HPP_
