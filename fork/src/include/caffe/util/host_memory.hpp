#ifndef CAFFE_UTIL_HOST_MEMORY_HPP_
#define CAFFE_UTIL_HOST_MEMORY_HPP_

#include <cstddef>

namespace caffe {

const size_t kCacheLine = 64;

/// Memory for free(), aligned to a cache line, with arbitrary contents; of several MiB and
/// more on huge pages where the system has them for who asks. NULL where there is none.
void* AllocateHost(size_t bytes);

}  // namespace caffe

#endif  // CAFFE_UTIL_HOST_MEMORY_HPP_
