#include "caffe/util/equal_patches.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "caffe/common.hpp"

namespace caffe {

// The neighbours that come earlier in reading order.
struct Step {
  int y, x;
};
static const Step kSteps[] = {{0, -1}, {-1, 0}, {-1, -1}, {-1, 1}};
static const int kMostChannels = 16;  // in a block

// Of one image and group: which inputs, padding included, are in all channels what their
// neighbours are.
class EqualInputs {
 public:
  explicit EqualInputs(const PatchGeometry& geometry)
      : geometry_(geometry), height_(geometry.output_height + geometry.kernel_h - 1),
        width_(geometry.output_width + geometry.kernel_w - 1), alive_(height_) {
    for (vector<char>& equal : equal_) { equal.resize(height_ * width_); }
  }

  // channels: in `groups` groups of `block` that lie side by side.
  // Returns whether any neighbours are equal.
  bool Find(const float* channels, int groups, int block) {
    for (size_t step = 0; step < 4; ++step) {
      for (int y = 0; y < height_; ++y) {
        for (int x = 0; x < width_; ++x) {
          const int there_y = y + kSteps[step].y, there_x = x + kSteps[step].x;
          equal_[step][y * width_ + x] =
              there_y >= 0 && there_x >= 0 && there_x < width_;
        }
      }
    }
    const ptrdiff_t size =
        static_cast<ptrdiff_t>(geometry_.height) * geometry_.width * block;
    bool any = FindRows(channels, groups, block);
    for (int group = 0; any && group < groups; ++group) {
      rows_[0].at = rows_[1].at = -2;
      any = false;
      for (int y = 0; y < height_; ++y) {
        if (alive_[y]) {
          alive_[y] = Compare(y, channels + group * size, block);
          any = any || alive_[y];
        } else if (group == 0) {
          for (vector<char>& equal : equal_) {
            std::fill_n(equal.begin() + y * width_, width_, false);
          }
        }
      }
    }
    return any;
  }

  // Sets `first` to the first place, in reading order, of the region around each output
  // in which all see the same.
  void FindRegions(vector<int>* first) const {
    const int width = geometry_.output_width;
    vector<int>& regions = *first;
    for (int y = 0; y < geometry_.output_height; ++y) {
      for (int x = 0; x < width; ++x) {
        const int place = y * width + x;
        regions[place] = place;
        for (int step = 0; step < 4; ++step) {
          const int there_y = y + kSteps[step].y, there_x = x + kSteps[step].x;
          if (there_y >= 0 && there_x >= 0 && there_x < width
              && PatchIsEqual(equal_[step], y, x)) {
            const int one = First(&regions, place);
            const int other = First(&regions, there_y * width + there_x);
            regions[std::max(one, other)] = std::min(one, other);
          }
        }
      }
    }
    for (int place = 0; place < static_cast<int>(regions.size()); ++place) {
      regions[place] = regions[regions[place]];  // which is before it, and done
    }
  }

 private:
  struct Row {
    int at;
    vector<float> values;
  };

  static int First(vector<int>* regions, int place) {
    vector<int>& next = *regions;
    while (next[place] != place) {
      next[place] = next[next[place]];
      place = next[place];
    }
    return place;
  }

  bool PatchIsEqual(const vector<char>& equal, int y, int x) const {
    for (int i = 0; i < geometry_.kernel_h; ++i) {
      const char* row = &equal[(y + i) * width_ + x];
      for (int j = 0; j < geometry_.kernel_w; ++j) {
        if (!row[j]) { return false; }
      }
    }
    return true;
  }

  // What lies at a place of the padded input.
  const float* At(int y, int x, const float* channels, int block) const {
    y -= geometry_.pad_h;
    x -= geometry_.pad_w;
    return y < 0 || y >= geometry_.height || x < 0 || x >= geometry_.width ? zeros_
        : channels + (static_cast<ptrdiff_t>(y) * geometry_.width + x) * block;
  }

  // Every patch has one place of a lattice as wide as the kernel. Rows near those that
  // are equal to a neighbour are to be looked at, which in most images are none.
  bool FindRows(const float* channels, int groups, int block) {
    const ptrdiff_t size =
        static_cast<ptrdiff_t>(geometry_.height) * geometry_.width * block;
    const int kernel_h = geometry_.kernel_h, kernel_w = geometry_.kernel_w;
    bool any = false;
    std::fill(alive_.begin(), alive_.end(), false);
    for (int y = kernel_h - 1; y < height_; y += kernel_h) {
      bool found = false;
      for (int x = kernel_w - 1; !found && x < width_; x += kernel_w) {
        for (size_t step = 0; !found && step < 4; ++step) {
          found = equal_[step][y * width_ + x];
          for (int group = 0; found && group < groups; ++group) {
            const float* its_channels = channels + group * size;
            found = !DifferAtOnce(At(y, x, its_channels, block),
                At(y + kSteps[step].y, x + kSteps[step].x, its_channels, block), block);
          }
        }
      }
      if (found) {
        any = true;
        std::fill(alive_.begin() + std::max(y - kernel_h + 1, 0),
            alive_.begin() + std::min(y + kernel_h, height_), true);
      }
    }
    return any;
  }

  // Row y of the padded input.
  const float* PaddedRow(int y, const float* channels, int block) {
    Row* row = &rows_[y & 1];
    if (row->at != y) {
      row->at = y;
      row->values.assign(static_cast<size_t>(width_) * block, 0);
      const int from = y - geometry_.pad_h;
      // What a kernel larger than the padded plane would leave out is never asked for.
      const int columns = std::min(geometry_.width, width_ - geometry_.pad_w);
      if (from >= 0 && from < geometry_.height && columns > 0) {
        std::memcpy(&row->values[static_cast<size_t>(geometry_.pad_w) * block],
            channels + static_cast<ptrdiff_t>(from) * geometry_.width * block,
            static_cast<size_t>(columns) * block * sizeof(float));
      }
    }
    return row->values.data();
  }

  // For neighbours that mostly differ in their first channels.
  static bool DifferAtOnce(const float* a, const float* b, int block) {
    for (int c = 0; c < block; ++c) {
      if (!(a[c] == b[c])) { return true; }
    }
    return false;
  }

  // For those that mostly don't.
  static bool Differ(const float* a, const float* b, int block) {
    int differ = 0;
#pragma omp simd reduction(| : differ)
    for (int c = 0; c < block; ++c) {
      differ |= !(a[c] == b[c]);
    }
    return differ;
  }

  // Takes out what differs in row y; whether anything is left.
  bool Compare(int y, const float* channels, int block) {
    const float* before = y > 0 ? PaddedRow(y - 1, channels, block) : NULL;
    const float* row = PaddedRow(y, channels, block);
    bool any = false;
    for (int x = 0; x < width_; ++x) {
      for (int step = 0; step < 4; ++step) {
        char* equal = &equal_[step][y * width_ + x];
        if (*equal) {
          const float* there = (kSteps[step].y ? before : row)
              + static_cast<ptrdiff_t>(x + kSteps[step].x) * block;
          *equal = !Differ(row + static_cast<ptrdiff_t>(x) * block, there, block);
          any = any || *equal;
        }
      }
    }
    return any;
  }

  const PatchGeometry& geometry_;
  const int height_, width_;  // of the padded input, as far as outputs see it
  vector<char> equal_[4];
  vector<char> alive_;  // rows where any neighbours are equal
  Row rows_[2];
  const float zeros_[kMostChannels] = {};
};

void EqualizeOutputs(const PatchGeometry& geometry, const BlobArray& input,
    const BlobArray& output) {
  const PatchGeometry& g = geometry;
  const int input_block = input.block(), output_block = output.block();
  const int group = g.group;
  CHECK_EQ(g.input_channels % (group * input_block), 0);
  CHECK_EQ(g.output_channels % (group * output_block), 0);
  const float* inputs = input.Read<float>(input_block);
  output.Read<float>(output_block);
  float* outputs = output.Overwrite<float>(output_block);
  const ptrdiff_t input_size =
      static_cast<ptrdiff_t>(g.input_channels / group) * g.height * g.width;
  const int places = g.output_height * g.output_width;
  const int output_groups = g.output_channels / group / output_block;
#pragma omp parallel
  {
    EqualInputs equal(g);
    vector<int> first(places);
#pragma omp for
    for (int n = 0; n < g.num * group; ++n) {
      if (!equal.Find(inputs + n * input_size, g.input_channels / group / input_block,
          input_block)) {
        continue;
      }
      equal.FindRegions(&first);
      for (int m = 0; m < output_groups; ++m) {
        float* plane = outputs + (static_cast<ptrdiff_t>(n) * output_groups + m) * places
            * output_block;
        for (int place = 0; place < places; ++place) {
          if (first[place] != place) {
            std::memcpy(plane + static_cast<ptrdiff_t>(place) * output_block,
                plane + static_cast<ptrdiff_t>(first[place]) * output_block,
                output_block * sizeof(float));
          }
        }
      }
    }
  }
}

}  // namespace caffe
