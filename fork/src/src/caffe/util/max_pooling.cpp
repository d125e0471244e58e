#include "caffe/util/max_pooling.hpp"

#include <algorithm>
#include <cfloat>
#include <cstddef>
#include <cstdint>

#include "caffe/util/parallel.hpp"

// Functions compiled for several instruction sets, of which the machine's is taken
// when the library is loaded, and functions that become part of such.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) \
    && defined(__GLIBC__)
#define VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTOR_CLONES
#endif
#ifdef __GNUC__
#define INLINED __attribute__((always_inline))
#else
#define INLINED
#endif
#define INLINE inline INLINED

namespace caffe {

// What follows works on one plane; places are counted from its start.

// Compares the maxima so far of `count` windows with kRows x kKernel places of each:
// those from values[place + kStride * i] on.
template <int kRows, int kKernel, int kStride, typename Dtype, typename Index>
static INLINE void MaxOfRows(const Dtype* values, int width, int place, int count,
    Dtype* maxima, Index* switches) {
#pragma omp simd
  for (int i = 0; i < count; ++i) {
    Dtype maximum = maxima[i];
    Index at = switches[i];
    for (int y = 0; y < kRows; ++y) {
      for (int x = 0; x < kKernel; ++x) {
        const int here = place + kStride * i + y * width + x;
        const bool greater = values[here] > maximum;
        maximum = greater ? values[here] : maximum;
        at = greater ? static_cast<Index>(here) : at;
      }
    }
    maxima[i] = maximum;
    switches[i] = at;
  }
}

// The same for any size of window and any stride.
template <typename Dtype, typename Index>
static INLINE void MaxOfRows(int rows, int kernel, int stride, const Dtype* values,
    int width, int place, int count, Dtype* maxima, Index* switches) {
  if (rows == 3 && kernel == 3 && stride == 2) {
    MaxOfRows<3, 3, 2>(values, width, place, count, maxima, switches);
    return;
  }
  for (int y = 0; y < rows; ++y, place += width) {
    if (kernel == 2 && stride == 2) {
      MaxOfRows<1, 2, 2>(values, width, place, count, maxima, switches);
      continue;
    }
    for (int x = 0; x < kernel; ++x) {
      if (stride == 1) {
        MaxOfRows<1, 1, 1>(values, width, place + x, count, maxima, switches);
      } else if (stride == 2) {
        MaxOfRows<1, 1, 2>(values, width, place + x, count, maxima, switches);
      } else {
        for (int i = 0; i < count; ++i) {
          MaxOfRows<1, 1, 1>(values, width, place + x + stride * i, 1, maxima + i,
              switches + i);
        }
      }
    }
  }
}

template <typename Dtype, typename Index>
VECTOR_CLONES
static void MaxPoolPlane(const PoolingGrid& grid, const Dtype* values, Dtype* maxima,
    Index* switches) {
  const int kernel = grid.kernel_w;
  const int stride = grid.stride_w;
  const int pad = grid.pad_w;
  // In a row of windows, `first` to `last` - 1 have their whole width.
  const int room = grid.width + pad - kernel;
  const int first = std::min((pad + stride - 1) / stride, grid.pooled_width);
  const int last = std::max(first,
      room < 0 ? 0 : std::min(room / stride + 1, grid.pooled_width));
  for (int i = 0; i < grid.pooled_height; ++i) {
    std::fill(maxima, maxima + grid.pooled_width, Dtype(-FLT_MAX));
    std::fill(switches, switches + grid.pooled_width, Index(-1));
    const int top = std::max(i * grid.stride_h - grid.pad_h, 0);
    const int rows = std::min(i * grid.stride_h - grid.pad_h + grid.kernel_h,
        grid.height) - top;
    const int start = top * grid.width;
    for (int j = 0; j < grid.pooled_width; ++j) {
      if (j >= first && j < last) { continue; }
      const int left = std::max(j * stride - pad, 0);
      const int columns = std::min(j * stride - pad + kernel, grid.width) - left;
      MaxOfRows(rows, columns, 1, values, grid.width, start + left, 1, maxima + j,
          switches + j);
    }
    MaxOfRows(rows, kernel, stride, values, grid.width, start + first * stride - pad,
        last - first, maxima + first, switches + first);
    maxima += grid.pooled_width;
    switches += grid.pooled_width;
  }
}

// Whether the windows are 2 wide and lie side by side, and rows are so long that
// vectors pay: on narrower planes, which stay in the cache, jumping to each switch is
// as fast.
// A float no longer tells the places of larger planes apart.
static bool InPairs(const PoolingGrid& grid) {
  return grid.kernel_w == 2 && grid.stride_w == 2 && grid.pad_w == 0
      && grid.kernel_h == grid.stride_h && grid.pad_h == 0 && grid.width >= 96
      && static_cast<int64_t>(grid.height) * grid.width <= 1 << 24;
}

// For windows in pairs: each value where its switch says. Returns whether every
// switch is in its own window; otherwise what was written means nothing.
template <typename Dtype, typename Index>
VECTOR_CLONES
static bool ScatterInPairs(const PoolingGrid& grid, const Index* switches,
    const Dtype* values, Dtype* unpooled) {
  const int whole = std::min(grid.pooled_width, grid.width / 2);
  int found = 0;
  for (int i = 0; i < grid.pooled_height; ++i) {
    const int bottom = std::min((i + 1) * grid.stride_h, grid.height);
    for (int y = i * grid.stride_h; y < bottom; ++y) {
      const int start = y * grid.width;
#pragma omp simd reduction(+:found)
      for (int j = 0; j < whole; ++j) {
        const int place = start + 2 * j;
        const bool left = switches[j] == static_cast<Index>(place);
        const bool right = switches[j] == static_cast<Index>(place + 1);
        // Added to zero, which makes a positive zero of a negative one.
        unpooled[place] = Dtype(0) + (left ? values[j] : Dtype(0));
        unpooled[place + 1] = Dtype(0) + (right ? values[j] : Dtype(0));
        found += left + right;
      }
      if (2 * whole == grid.width) { continue; }
      // An odd plane's last column: half a window, or none at all.
      const int place = start + grid.width - 1;
      const bool hit = whole < grid.pooled_width
          && switches[whole] == static_cast<Index>(place);
      unpooled[place] = Dtype(0) + (hit ? values[whole] : Dtype(0));
      found += hit;
    }
    switches += grid.pooled_width;
    values += grid.pooled_width;
  }
  const int covered = std::min(grid.pooled_height * grid.stride_h, grid.height);
  std::fill(unpooled + covered * grid.width, unpooled + grid.height * grid.width,
      Dtype(0));
  return found == grid.pooled_height * grid.pooled_width;
}

// The reverse, under the same condition.
template <typename Dtype, typename Index>
VECTOR_CLONES
static bool GatherInPairs(const PoolingGrid& grid, const Index* switches,
    const Dtype* unpooled, Dtype* values) {
  const int whole = std::min(grid.pooled_width, grid.width / 2);
  int found = 0;
  for (int i = 0; i < grid.pooled_height; ++i) {
    const int bottom = std::min((i + 1) * grid.stride_h, grid.height);
    for (int y = i * grid.stride_h; y < bottom; ++y) {
      const int start = y * grid.width;
#pragma omp simd reduction(+:found)
      for (int j = 0; j < whole; ++j) {
        const int place = start + 2 * j;
        const bool left = switches[j] == static_cast<Index>(place);
        const bool right = switches[j] == static_cast<Index>(place + 1);
        // Loaded whatever is chosen, so that the compiler may use vectors.
        const Dtype at_left = unpooled[place];
        const Dtype at_right = unpooled[place + 1];
        const Dtype before = values[j];
        values[j] = left ? at_left : right ? at_right : before;
        found += left + right;
      }
      const int place = start + grid.width - 1;
      if (whole < grid.pooled_width && switches[whole] == static_cast<Index>(place)) {
        values[whole] = unpooled[place];
        ++found;
      }
    }
    switches += grid.pooled_width;
    values += grid.pooled_width;
  }
  return found == grid.pooled_height * grid.pooled_width;
}

// --- A block: kBlock planes with their values side by side, place by place. Everywhere
// below, what it does with one plane is what the functions for planes do.

// Compares a block's maxima so far with those of a window that are at `place` and
// kColumns - 1 beside it, in kRows rows.
template <int kBlock, int kRows, int kColumns, typename Dtype, typename Index>
static INLINE void MaxOfWindow(const Dtype* values, int width, int place, Dtype* maxima,
    Index* switches) {
#pragma omp simd
  for (int c = 0; c < kBlock; ++c) {
    Dtype maximum = maxima[c];
    Index at = switches[c];
    for (int y = 0; y < kRows; ++y) {
      for (int x = 0; x < kColumns; ++x) {
        const int here = place + y * width + x;
        const Dtype value = values[static_cast<ptrdiff_t>(here) * kBlock + c];
        const bool greater = value > maximum;
        maximum = greater ? value : maximum;
        at = greater ? static_cast<Index>(here) : at;
      }
    }
    maxima[c] = maximum;
    switches[c] = at;
  }
}

template <int kBlock, typename Dtype, typename Index>
static INLINE void MaxPoolInBlock(const PoolingGrid& grid, const Dtype* values,
    Dtype* maxima, Index* switches) {
  for (int i = 0; i < grid.pooled_height; ++i) {
    const int top = std::max(i * grid.stride_h - grid.pad_h, 0);
    const int bottom = std::min(i * grid.stride_h - grid.pad_h + grid.kernel_h,
        grid.height);
    for (int j = 0; j < grid.pooled_width; ++j) {
      const int left = std::max(j * grid.stride_w - grid.pad_w, 0);
      const int right = std::min(j * grid.stride_w - grid.pad_w + grid.kernel_w,
          grid.width);
      std::fill(maxima, maxima + kBlock, Dtype(-FLT_MAX));
      std::fill(switches, switches + kBlock, Index(-1));
      if (bottom - top == 2 && right - left == 2) {
        MaxOfWindow<kBlock, 2, 2>(values, grid.width, top * grid.width + left, maxima,
            switches);
      } else {
        for (int y = top; y < bottom; ++y) {
          for (int x = left; x < right; ++x) {
            MaxOfWindow<kBlock, 1, 1>(values, grid.width, y * grid.width + x, maxima,
                switches);
          }
        }
      }
      maxima += kBlock;
      switches += kBlock;
    }
  }
}

// Whether the windows lie side by side, and floats tell the places of a plane apart.
static bool SideBySide(const PoolingGrid& grid) {
  return grid.kernel_w == grid.stride_w && grid.pad_w == 0
      && grid.kernel_h == grid.stride_h && grid.pad_h == 0
      && static_cast<int64_t>(grid.height) * grid.width <= 1 << 24;
}

// For windows side by side: calls visit(place, window) for every place of a window, from
// window to window.
template <typename Visit>
static INLINE void EachPlace(const PoolingGrid& grid, const Visit& visit) {
  for (int i = 0; i < grid.pooled_height; ++i) {
    const int bottom = std::min((i + 1) * grid.stride_h, grid.height);
    for (int j = 0; j < grid.pooled_width; ++j) {
      const int right = std::min((j + 1) * grid.stride_w, grid.width);
      for (int y = i * grid.stride_h; y < bottom; ++y) {
        for (int x = j * grid.stride_w; x < right; ++x) {
          visit(y * grid.width + x, i * grid.pooled_width + j);
        }
      }
    }
  }
}

// As ScatterInPairs; kShared where all planes have the same switches.
template <int kBlock, bool kShared, typename Dtype, typename Index>
static INLINE bool ScatterInBlock(const PoolingGrid& grid, const Index* switches,
    const Dtype* values, Dtype* unpooled) {
  const int rows = std::min(grid.pooled_height * grid.stride_h, grid.height);
  const int columns = std::min(grid.pooled_width * grid.stride_w, grid.width);
  for (int y = 0; y < grid.height; ++y) {
    Dtype* row = unpooled + static_cast<ptrdiff_t>(y) * grid.width * kBlock;
    const int covered = y < rows ? columns : 0;
    std::fill(row + covered * kBlock, row + grid.width * kBlock, Dtype(0));
  }
  int found[kBlock] = {};
  EachPlace(grid, [&](int place, int window) INLINED {
    const Index* its_switches =
        switches + static_cast<ptrdiff_t>(window) * (kShared ? 1 : kBlock);
    const Dtype* its_values = values + static_cast<ptrdiff_t>(window) * kBlock;
    Dtype* there = unpooled + static_cast<ptrdiff_t>(place) * kBlock;
#pragma omp simd
    for (int c = 0; c < kBlock; ++c) {
      const bool hit = its_switches[kShared ? 0 : c] == static_cast<Index>(place);
      there[c] = Dtype(0) + (hit ? its_values[c] : Dtype(0));
      found[c] += hit;
    }
  });
  return std::all_of(found, found + kBlock, [&](int windows) {
    return windows == grid.pooled_height * grid.pooled_width;
  });
}

// As GatherInPairs.
template <int kBlock, bool kShared, typename Dtype, typename Index>
static INLINE bool GatherInBlock(const PoolingGrid& grid, const Index* switches,
    const Dtype* unpooled, Dtype* values) {
  int found[kBlock] = {};
  EachPlace(grid, [&](int place, int window) INLINED {
    const Index* its_switches =
        switches + static_cast<ptrdiff_t>(window) * (kShared ? 1 : kBlock);
    const Dtype* there = unpooled + static_cast<ptrdiff_t>(place) * kBlock;
    Dtype* its_values = values + static_cast<ptrdiff_t>(window) * kBlock;
#pragma omp simd
    for (int c = 0; c < kBlock; ++c) {
      const bool hit = its_switches[kShared ? 0 : c] == static_cast<Index>(place);
      its_values[c] = hit ? there[c] : its_values[c];
      found[c] += hit;
    }
  });
  return std::all_of(found, found + kBlock, [&](int windows) {
    return windows == grid.pooled_height * grid.pooled_width;
  });
}

// Blocks have 8 or 16 planes.

template <typename Dtype, typename Index>
VECTOR_CLONES
static void MaxPoolBlock(int block, const PoolingGrid& grid, const Dtype* values,
    Dtype* maxima, Index* switches) {
  if (block == 16) { return MaxPoolInBlock<16>(grid, values, maxima, switches); }
  MaxPoolInBlock<8>(grid, values, maxima, switches);
}

template <typename Dtype, typename Index>
VECTOR_CLONES
static bool ScatterSideBySide(int block, bool shared, const PoolingGrid& grid,
    const Index* switches, const Dtype* values, Dtype* unpooled) {
  if (block == 16) {
    return shared ? ScatterInBlock<16, true>(grid, switches, values, unpooled)
        : ScatterInBlock<16, false>(grid, switches, values, unpooled);
  }
  return shared ? ScatterInBlock<8, true>(grid, switches, values, unpooled)
      : ScatterInBlock<8, false>(grid, switches, values, unpooled);
}

template <typename Dtype, typename Index>
VECTOR_CLONES
static bool GatherSideBySide(int block, bool shared, const PoolingGrid& grid,
    const Index* switches, const Dtype* unpooled, Dtype* values) {
  if (block == 16) {
    return shared ? GatherInBlock<16, true>(grid, switches, unpooled, values)
        : GatherInBlock<16, false>(grid, switches, unpooled, values);
  }
  return shared ? GatherInBlock<8, true>(grid, switches, unpooled, values)
      : GatherInBlock<8, false>(grid, switches, unpooled, values);
}

// --- Any windows, any block; `shared` where a block's planes share their switches.

template <typename Dtype, typename Index>
static bool ScatterAnywhere(const PoolingGrid& grid, int block, bool shared,
    const Index* switches, const Dtype* values, Dtype* unpooled) {
  const int plane = grid.height * grid.width;
  const int pooled = grid.pooled_height * grid.pooled_width;
  bool good = true;
  std::fill(unpooled, unpooled + static_cast<ptrdiff_t>(plane) * block, Dtype(0));
  for (int i = 0; i < pooled; ++i) {
    for (int c = 0; c < block; ++c) {
      const Index at = *switches;
      switches += shared ? c == block - 1 : 1;
      const bool inside = at >= 0 && at < plane;
      const int place = static_cast<int>(inside ? at : Index(0));
      if (inside && place == at) {
        unpooled[static_cast<ptrdiff_t>(place) * block + c] += values[c];
      } else {
        good = false;
      }
    }
    values += block;
  }
  return good;
}

template <typename Dtype, typename Index>
static void GatherAnywhere(const PoolingGrid& grid, int block, bool shared,
    const Index* switches, const Dtype* unpooled, Dtype* values) {
  const int pooled = grid.pooled_height * grid.pooled_width;
  for (int i = 0; i < pooled; ++i) {
    for (int c = 0; c < block; ++c) {
      values[c] = unpooled[static_cast<ptrdiff_t>(*switches) * block + c];
      switches += shared ? c == block - 1 : 1;
    }
    values += block;
  }
}

template <typename Dtype, typename Index>
void MaxPool(const PoolingGrid& grid, int planes, int block, const Dtype* values,
    Dtype* maxima, Index* switches) {
  const ptrdiff_t plane = static_cast<ptrdiff_t>(grid.height) * grid.width * block;
  const ptrdiff_t pooled =
      static_cast<ptrdiff_t>(grid.pooled_height) * grid.pooled_width * block;
  const int groups = planes / block;
#pragma omp parallel for if (groups * plane >= kParallelCount)
  for (int n = 0; n < groups; ++n) {
    const Dtype* its_values = values + n * plane;
    if (block == 1) {
      MaxPoolPlane(grid, its_values, maxima + n * pooled, switches + n * pooled);
    } else {
      MaxPoolBlock(block, grid, its_values, maxima + n * pooled, switches + n * pooled);
    }
  }
}

template <typename Dtype, typename Index>
bool ScatterToSwitches(const PoolingGrid& grid, int planes, int block, bool shared,
    const Index* switches, const Dtype* values, Dtype* unpooled) {
  const ptrdiff_t plane = static_cast<ptrdiff_t>(grid.height) * grid.width * block;
  const ptrdiff_t pooled =
      static_cast<ptrdiff_t>(grid.pooled_height) * grid.pooled_width * block;
  const int groups = planes / block;
  const bool pairs = block == 1 && InPairs(grid);
  const bool blocks = block > 1 && SideBySide(grid);
  bool good = true;
#pragma omp parallel for reduction(&&:good) if (groups * plane >= kParallelCount)
  for (int n = 0; n < groups; ++n) {
    const Index* its_switches = switches + (shared ? 0 : n * pooled);
    const Dtype* its_values = values + n * pooled;
    Dtype* its_plane = unpooled + n * plane;
    const bool done = pairs
        ? ScatterInPairs(grid, its_switches, its_values, its_plane)
        : blocks
        && ScatterSideBySide(block, shared, grid, its_switches, its_values, its_plane);
    if (!done) {
      good = ScatterAnywhere(grid, block, shared, its_switches, its_values, its_plane)
          && good;
    }
  }
  return good;
}

template <typename Dtype, typename Index>
void GatherFromSwitches(const PoolingGrid& grid, int planes, int block, bool shared,
    const Index* switches, const Dtype* unpooled, Dtype* values) {
  const ptrdiff_t plane = static_cast<ptrdiff_t>(grid.height) * grid.width * block;
  const ptrdiff_t pooled =
      static_cast<ptrdiff_t>(grid.pooled_height) * grid.pooled_width * block;
  const int groups = planes / block;
  const bool pairs = block == 1 && InPairs(grid);
  const bool blocks = block > 1 && SideBySide(grid);
#pragma omp parallel for if (groups * plane >= kParallelCount)
  for (int n = 0; n < groups; ++n) {
    const Index* its_switches = switches + (shared ? 0 : n * pooled);
    const Dtype* its_plane = unpooled + n * plane;
    Dtype* its_values = values + n * pooled;
    const bool done = pairs
        ? GatherInPairs(grid, its_switches, its_plane, its_values)
        : blocks
        && GatherSideBySide(block, shared, grid, its_switches, its_plane, its_values);
    if (!done) {
      GatherAnywhere(grid, block, shared, its_switches, its_plane, its_values);
    }
  }
}

#define INSTANTIATE_MAX_POOLING(Dtype, Index) \
  template void MaxPool(const PoolingGrid& grid, int planes, int block, \
      const Dtype* values, Dtype* maxima, Index* switches); \
  template bool ScatterToSwitches(const PoolingGrid& grid, int planes, int block, \
      bool shared, const Index* switches, const Dtype* values, Dtype* unpooled); \
  template void GatherFromSwitches(const PoolingGrid& grid, int planes, int block, \
      bool shared, const Index* switches, const Dtype* unpooled, Dtype* values)

INSTANTIATE_MAX_POOLING(float, float);
INSTANTIATE_MAX_POOLING(float, int);
INSTANTIATE_MAX_POOLING(double, double);
INSTANTIATE_MAX_POOLING(double, int);

#undef INSTANTIATE_MAX_POOLING
#undef INLINE
#undef INLINED
#undef VECTOR_CLONES

}  // namespace caffe
