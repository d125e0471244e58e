#ifndef CAFFE_UTIL_MAPPED_WORD_HPP_
#define CAFFE_UTIL_MAPPED_WORD_HPP_
#ifndef CPU_ONLY

#include "caffe/common.hpp"

namespace caffe {

/**
 * @brief A word of the host's memory that kernels write to, so that the host can look
 *        what they found without waiting for them. 0 at first.
 *
 * What a kernel has written is there when the kernel has ended.
 */
class MappedWord {
 public:
  typedef unsigned long long Word;  // NOLINT(runtime/int)

  MappedWord() {
    CUDA_CHECK(cudaHostAlloc(&word_, sizeof(Word),
        cudaHostAllocMapped | cudaHostAllocPortable));
    *Look() = 0;
  }
  ~MappedWord() { cudaFreeHost(word_); }

  Word value() const { return *Look(); }

  /// Where kernels write.
  Word* gpu_word() const {
    void* mapped;
    CUDA_CHECK(cudaHostGetDevicePointer(&mapped, word_, 0));
    return static_cast<Word*>(mapped);
  }

 private:
  volatile Word* Look() const { return static_cast<volatile Word*>(word_); }

  void* word_;
  DISABLE_COPY_AND_ASSIGN(MappedWord);
};

}  // namespace caffe

#endif  // CPU_ONLY
#endif  // CAFFE_UTIL_MAPPED_WORD_HPP_
