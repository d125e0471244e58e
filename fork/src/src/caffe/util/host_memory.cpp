#include "caffe/util/host_memory.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

namespace caffe {

static const size_t kHugePage = size_t(2) << 20;

void* AllocateHost(size_t bytes) {
  const bool huge = bytes >= 2 * kHugePage;
  void* memory = NULL;
  if (posix_memalign(&memory, huge ? kHugePage : kCacheLine, bytes ? bytes : 1) != 0) {
    return NULL;
  }
  if (huge) { WishForHugePages(memory, bytes); }
  return memory;
}

void WishForHugePages(void* memory, size_t bytes) {
#ifdef MADV_HUGEPAGE
  // Whole pages: what is behind the last one would be memory that nobody uses.
  const uintptr_t start = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (start + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (start + bytes) / kHugePage * kHugePage;
  if (first < end) {
    madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
  }
#endif
}

}  // namespace caffe
