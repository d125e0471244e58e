#ifndef CAFFE_UTIL_CHANNEL_LAYOUT_HPP_
#define CAFFE_UTIL_CHANNEL_LAYOUT_HPP_

#include <cstddef>
#include <vector>

namespace caffe {

/**
 * @brief How the numbers of an N x C x ... array lie in memory: in row-major order, or
 *    with the channels in blocks, N x C/block x ... x block (oneDNN's nChw8c, nChw16c).
 *
 * Only arrays whose C is a multiple of `block` have blocks, so that both take the same
 * memory.
 */
struct ChannelLayout {
  int block;      ///< 1 in row-major order, where the rest is 0
  size_t groups;  ///< of `block` planes: N * C / block
  size_t places;  ///< of a plane

  static ChannelLayout RowMajor() { return {1, 0, 0}; }
  bool row_major() const { return block == 1; }
  /// How many numbers lie in blocks.
  size_t count() const { return groups * places * block; }
  bool operator==(const ChannelLayout& other) const {
    return block == other.block && groups == other.groups && places == other.places;
  }
};

/// Brings numbers of 4 bytes that lie in blocks into row-major order, in place.
void MakeRowMajor(const ChannelLayout& layout, void* numbers);

class SyncedMemory;
template <typename Dtype>
class Blob;

/**
 * @brief A blob's data or diff, for layers that take it as it lies in the CPU's memory.
 *
 * SyncedMemory's cpu_data() and mutable_cpu_data() bring it into row-major order first,
 * so that layers that know of no blocks never see any.
 */
class BlobArray {
 public:
  template <typename Dtype>
  static BlobArray Data(const Blob<Dtype>& blob) {
    return BlobArray(blob, blob.data().get());
  }
  template <typename Dtype>
  static BlobArray Diff(const Blob<Dtype>& blob) {
    return BlobArray(blob, blob.diff().get());
  }

  /// How many channels there are in a block; 1 in row-major order, and where the memory
  /// was last written to in another shape.
  int block() const;
  size_t channels() const { return channels_; }
  /// Of all channels and images.
  size_t planes() const { return planes_; }
  /// Whether it may be written in blocks of so many channels.
  bool TakesBlocks(int block) const;

  /// What is there, in blocks of block() or, for 1, in row-major order.
  template <typename Dtype>
  const Dtype* Read(int block) const {
    return static_cast<const Dtype*>(ReadMemory(block));
  }
  /// Memory to write all of the array to; what is there is lost unless it lies so.
  template <typename Dtype>
  Dtype* Overwrite(int block) const {
    return static_cast<Dtype*>(OverwriteMemory(block));
  }

 private:
  template <typename Dtype>
  BlobArray(const Blob<Dtype>& blob, SyncedMemory* memory)
      : memory_(memory), channels_(blob.num_axes() > 2 ? blob.shape(1) : 1),
        planes_(blob.num_axes() > 2 ? blob.count(0, 2) : 0),
        places_(blob.num_axes() > 2 ? blob.count(2) : 0),
        number_size_(sizeof(Dtype)) {}

  ChannelLayout Layout(int block) const;
  const void* ReadMemory(int block) const;
  void* OverwriteMemory(int block) const;

  SyncedMemory* memory_;
  size_t channels_, planes_, places_, number_size_;
};

/// The block() of all arrays that a layer reads, if all that it writes take such blocks,
/// and all have as many planes; else 1. (Planes of several sizes are pooling's business.)
int CommonBlock(const std::vector<BlobArray>& read,
                const std::vector<BlobArray>& written);

}  // namespace caffe

#endif  // CAFFE_UTIL_CHANNEL_LAYOUT_HPP_
