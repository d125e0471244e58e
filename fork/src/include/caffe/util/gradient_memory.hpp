#ifndef CAFFE_UTIL_GRADIENT_MEMORY_HPP_
#define CAFFE_UTIL_GRADIENT_MEMORY_HPP_

#include <cstddef>

#include "caffe/net.hpp"

namespace caffe {

/**
 * @brief Lets blobs whose gradients are not needed at the same time keep them in the same
 *        memory, as they come up in a backward pass through the whole net.
 *
 * A blob's gradient is needed from the backward pass of the layer that reads the blob
 * last to that of the layer that makes it. Left alone are parameters, inputs, outputs,
 * losses, and all that is not known to be written before it is read (see the source).
 *
 * After a backward pass only the net's parameters and inputs hold their gradients.
 * A blob that grows takes memory of its own again.
 *
 * @return How many bytes less gradients take.
 */
template <typename Dtype>
size_t ShareGradientMemory(const Net<Dtype>& net);

/// CAFFE_SHARE_GRADIENTS=1: nets that train on a GPU share their gradients' memory.
bool SharesGradientMemory();

}  // namespace caffe

#endif  // CAFFE_UTIL_GRADIENT_MEMORY_HPP_
