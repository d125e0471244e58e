#ifndef CAFFE_UTIL_SOFTMAX_HPP_
#define CAFFE_UTIL_SOFTMAX_HPP_

namespace caffe {

/**
 * @brief exp(score) over its sum over the channels; CPU, in parallel. Sums are taken in
 *    the order of the channels, so that the result depends on no number of threads.
 *
 * @param scores         (outer x channels x inner)
 * @param probabilities  the same; may be the same memory
 */
template <typename Dtype>
void SoftmaxForward(int outer, int channels, int inner, const Dtype* scores,
    Dtype* probabilities);

/**
 * @brief The gradient of the scores, from that of the probabilities.
 *
 * @param diff        of the probabilities (outer x channels x inner)
 * @param score_diff  the same; may be the same memory
 */
template <typename Dtype>
void SoftmaxBackward(int outer, int channels, int inner, const Dtype* probabilities,
    const Dtype* diff, Dtype* score_diff);

}  // namespace caffe

#endif  // CAFFE_UTIL_SOFTMAX_HPP_
