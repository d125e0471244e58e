#include "caffe/util/channel_layout.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "caffe/common.hpp"
#include "caffe/syncedmem.hpp"
#include "caffe/util/parallel.hpp"

namespace caffe {

#ifdef __GNUC__
typedef uint32_t Number __attribute__((may_alias));  // a float or an int
#else
typedef uint32_t Number;
#endif

void MakeRowMajor(const ChannelLayout& layout, void* numbers) {
  const size_t kTile = 64;  // places at a time, which stay in the first cache
  const size_t block = layout.block, places = layout.places;
  const size_t size = block * places;
  // Signed, as OpenMP wants it.
  const ptrdiff_t groups = layout.groups;
#pragma omp parallel if (layout.count() >= kParallelCount)
  {
    const std::unique_ptr<uint32_t[]> planes(new uint32_t[size]);
#pragma omp for
    for (ptrdiff_t group = 0; group < groups; ++group) {
      Number* blocks = static_cast<Number*>(numbers) + group * size;
      for (size_t start = 0; start < places; start += kTile) {
        const size_t end = std::min(start + kTile, places);
        for (size_t channel = 0; channel < block; ++channel) {
          uint32_t* plane = &planes[channel * places];
          for (size_t place = start; place < end; ++place) {
            plane[place] = blocks[place * block + channel];
          }
        }
      }
      std::memcpy(blocks, planes.get(), size * sizeof(Number));
    }
  }
}

// --- SyncedMemory's part

void SyncedMemory::make_row_major() {
  if (!layout_.row_major()) {
    MakeRowMajor(layout_, cpu_ptr_);
    layout_ = ChannelLayout::RowMajor();
  }
}

const void* SyncedMemory::cpu_data_as_it_lies() {
  return layout_.row_major() ? cpu_data() : cpu_ptr_;
}

void* SyncedMemory::overwrite_cpu_data(const ChannelLayout& layout) {
  if (!(layout_ == layout)) {
    CHECK(layout.row_major() || takes_blocks());
    CHECK_LE(layout.count() * sizeof(Number), size_);
    layout_ = ChannelLayout::RowMajor();  // nothing there is wanted
    mutable_cpu_data();
    layout_ = layout;
  }
  return layout_.row_major() ? mutable_cpu_data() : cpu_ptr_;
}

void SyncedMemory::keep_row_major() {
  make_row_major();
  keeps_row_major_ = true;
}

bool SyncedMemory::takes_blocks() const {
  return !keeps_row_major_ && (own_cpu_data_ || !cpu_ptr_);
}

// --- BlobArray

ChannelLayout BlobArray::Layout(int block) const {
  return block == 1 ? ChannelLayout::RowMajor()
      : ChannelLayout{block, planes_ / block, places_};
}

int BlobArray::block() const {
  // Channels that were folded into images, or back, may number as many groups.
  const ChannelLayout& layout = memory_->layout();
  return channels_ % layout.block == 0 && layout == Layout(layout.block)
      ? layout.block : 1;
}

bool BlobArray::TakesBlocks(int block) const {
  return block == 1 || (planes_ > 0 && places_ > 0 && channels_ % block == 0
      && number_size_ == sizeof(Number) && memory_->takes_blocks());
}

const void* BlobArray::ReadMemory(int block) const {
  if (block == 1) {
    return memory_->cpu_data();
  }
  CHECK_EQ(block, this->block());
  return memory_->cpu_data_as_it_lies();
}

void* BlobArray::OverwriteMemory(int block) const {
  return memory_->overwrite_cpu_data(Layout(block));
}

int CommonBlock(const std::vector<BlobArray>& read,
                const std::vector<BlobArray>& written) {
  const int block = read[0].block();
  const size_t planes = read[0].planes();
  const bool common = std::all_of(read.begin(), read.end(),
      [&](const BlobArray& array) {
        return array.block() == block && array.planes() == planes;
      });
  return common && std::all_of(written.begin(), written.end(),
      [&](const BlobArray& array) {
        return array.TakesBlocks(block) && array.planes() == planes;
      }) ? block : 1;
}

}  // namespace caffe
