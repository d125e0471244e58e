#include "caffe/util/host_memory.hpp"

#include <sys/mman.h>

#include <cstdlib>

namespace caffe {

static const size_t kHugePage = size_t(2) << 20;

void* AllocateHost(size_t bytes) {
  const bool huge = bytes >= 2 * kHugePage;
  void* memory = NULL;
  if (posix_memalign(&memory, huge ? kHugePage : kCacheLine, bytes ? bytes : 1) != 0) {
    return NULL;
  }
#ifdef MADV_HUGEPAGE
  if (huge) {
    // Whole pages: what is behind the last one would be memory that nobody uses.
    madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);  // only a wish
  }
#endif
  return memory;
}

}  // namespace caffe
