#ifndef CAFFE_UTIL_APPLIED_RELUS_HPP_
#define CAFFE_UTIL_APPLIED_RELUS_HPP_

#include <vector>

#include "caffe/net.hpp"

namespace caffe {

/**
 * @brief Lets layers apply the ReLU that follows them in place (AppliesReLU); tells of
 *        each of a net's layers whether it is such a ReLU, which has nothing left to do
 *        where the layer before it runs in the same pass.
 *
 * In GPU mode alone. A ReLU of an output that is not rectified wholly (negative_slope)
 * stays as it is.
 */
template <typename Dtype>
std::vector<bool> ApplyReLUs(const Net<Dtype>& net);

}  // namespace caffe

#endif  // CAFFE_UTIL_APPLIED_RELUS_HPP_
