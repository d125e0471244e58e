#include "caffe/util/softmax.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "caffe/util/parallel.hpp"

namespace caffe {

static const int kMostPlaces = 256;

// Calls work(first, places) for pieces of at most kMostPlaces places of a plane: `first`
// is the place in the first channel, that of the others follow `inner` apart.
template <typename Work>
static void EachPiece(int outer, int channels, int inner, const Work& work) {
  const int pieces = (inner + kMostPlaces - 1) / kMostPlaces;
  const bool parallel = static_cast<double>(outer) * channels * inner >= kParallelCount;
#pragma omp parallel for if (parallel)
  for (int n = 0; n < outer * pieces; ++n) {
    const int start = n % pieces * kMostPlaces;
    work(static_cast<size_t>(n / pieces) * channels * inner + start,
        std::min(kMostPlaces, inner - start));
  }
}

template <typename Dtype>
void SoftmaxForward(int outer, int channels, int inner, const Dtype* scores,
    Dtype* probabilities) {
  EachPiece(outer, channels, inner, [=](size_t first, int places) {
    Dtype largest[kMostPlaces], sum[kMostPlaces];
    std::copy(scores + first, scores + first + places, largest);
    std::fill(sum, sum + places, Dtype(0));
    for (int c = 0; c < channels; ++c) {
      const Dtype* score = scores + first + static_cast<size_t>(c) * inner;
      for (int i = 0; i < places; ++i) {
        largest[i] = std::max(largest[i], score[i]);
      }
    }
    for (int c = 0; c < channels; ++c) {
      const size_t at = first + static_cast<size_t>(c) * inner;
      for (int i = 0; i < places; ++i) {
        probabilities[at + i] = std::exp(scores[at + i] - largest[i]);
        sum[i] += probabilities[at + i];
      }
    }
    for (int c = 0; c < channels; ++c) {
      Dtype* probability = probabilities + first + static_cast<size_t>(c) * inner;
      for (int i = 0; i < places; ++i) {
        probability[i] /= sum[i];
      }
    }
  });
}

template <typename Dtype>
void SoftmaxBackward(int outer, int channels, int inner, const Dtype* probabilities,
    const Dtype* diff, Dtype* score_diff) {
  EachPiece(outer, channels, inner, [=](size_t first, int places) {
    Dtype sum[kMostPlaces];
    std::fill(sum, sum + places, Dtype(0));
    for (int c = 0; c < channels; ++c) {
      const size_t at = first + static_cast<size_t>(c) * inner;
      for (int i = 0; i < places; ++i) {
        sum[i] += diff[at + i] * probabilities[at + i];
      }
    }
    for (int c = 0; c < channels; ++c) {
      const size_t at = first + static_cast<size_t>(c) * inner;
      for (int i = 0; i < places; ++i) {
        score_diff[at + i] = (diff[at + i] - sum[i]) * probabilities[at + i];
      }
    }
  });
}

#define INSTANTIATE_SOFTMAX(Dtype) \
  template void SoftmaxForward(int outer, int channels, int inner, \
      const Dtype* scores, Dtype* probabilities); \
  template void SoftmaxBackward(int outer, int channels, int inner, \
      const Dtype* probabilities, const Dtype* diff, Dtype* score_diff)

INSTANTIATE_SOFTMAX(float);
INSTANTIATE_SOFTMAX(double);

#undef INSTANTIATE_SOFTMAX

}  // namespace caffe
