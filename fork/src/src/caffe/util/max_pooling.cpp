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
#define INLINE inline __attribute__((always_inline))
#else
#define INLINE inline
#endif

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

template <typename Dtype, typename Index>
static bool ScatterAnywhere(const PoolingGrid& grid, const Index* switches,
    const Dtype* values, Dtype* unpooled) {
  const int plane = grid.height * grid.width;
  const int pooled = grid.pooled_height * grid.pooled_width;
  bool good = true;
  std::fill(unpooled, unpooled + plane, Dtype(0));
  for (int i = 0; i < pooled; ++i) {
    const bool inside = switches[i] >= 0 && switches[i] < plane;
    const int place = static_cast<int>(inside ? switches[i] : Index(0));
    if (inside && place == switches[i]) {
      unpooled[place] += values[i];
    } else {
      good = false;
    }
  }
  return good;
}

template <typename Dtype, typename Index>
static void GatherAnywhere(const PoolingGrid& grid, const Index* switches,
    const Dtype* unpooled, Dtype* values) {
  const int pooled = grid.pooled_height * grid.pooled_width;
  for (int i = 0; i < pooled; ++i) {
    values[i] = unpooled[static_cast<int>(switches[i])];
  }
}

template <typename Dtype, typename Index>
void MaxPool(const PoolingGrid& grid, int planes, const Dtype* values,
    Dtype* maxima, Index* switches) {
  const ptrdiff_t plane = grid.height * grid.width;
  const ptrdiff_t pooled = grid.pooled_height * grid.pooled_width;
#pragma omp parallel for if (planes * plane >= kParallelCount)
  for (int n = 0; n < planes; ++n) {
    MaxPoolPlane(grid, values + n * plane, maxima + n * pooled, switches + n * pooled);
  }
}

template <typename Dtype, typename Index>
bool ScatterToSwitches(const PoolingGrid& grid, int planes, ptrdiff_t step,
    const Index* switches, const Dtype* values, Dtype* unpooled) {
  const ptrdiff_t plane = grid.height * grid.width;
  const ptrdiff_t pooled = grid.pooled_height * grid.pooled_width;
  const bool pairs = InPairs(grid);
  bool good = true;
#pragma omp parallel for reduction(&&:good) if (planes * plane >= kParallelCount)
  for (int n = 0; n < planes; ++n) {
    const Index* its_switches = switches + n * step;
    const Dtype* its_values = values + n * pooled;
    Dtype* its_plane = unpooled + n * plane;
    if (!pairs || !ScatterInPairs(grid, its_switches, its_values, its_plane)) {
      good = ScatterAnywhere(grid, its_switches, its_values, its_plane) && good;
    }
  }
  return good;
}

template <typename Dtype, typename Index>
void GatherFromSwitches(const PoolingGrid& grid, int planes, ptrdiff_t step,
    const Index* switches, const Dtype* unpooled, Dtype* values) {
  const ptrdiff_t plane = grid.height * grid.width;
  const ptrdiff_t pooled = grid.pooled_height * grid.pooled_width;
  const bool pairs = InPairs(grid);
#pragma omp parallel for if (planes * plane >= kParallelCount)
  for (int n = 0; n < planes; ++n) {
    const Index* its_switches = switches + n * step;
    const Dtype* its_plane = unpooled + n * plane;
    Dtype* its_values = values + n * pooled;
    if (!pairs || !GatherInPairs(grid, its_switches, its_plane, its_values)) {
      GatherAnywhere(grid, its_switches, its_plane, its_values);
    }
  }
}

#define INSTANTIATE_MAX_POOLING(Dtype, Index) \
  template void MaxPool(const PoolingGrid& grid, int planes, const Dtype* values, \
      Dtype* maxima, Index* switches); \
  template bool ScatterToSwitches(const PoolingGrid& grid, int planes, \
      ptrdiff_t step, const Index* switches, const Dtype* values, Dtype* unpooled); \
  template void GatherFromSwitches(const PoolingGrid& grid, int planes, \
      ptrdiff_t step, const Index* switches, const Dtype* unpooled, Dtype* values)

INSTANTIATE_MAX_POOLING(float, float);
INSTANTIATE_MAX_POOLING(float, int);
INSTANTIATE_MAX_POOLING(double, double);
INSTANTIATE_MAX_POOLING(double, int);

#undef INSTANTIATE_MAX_POOLING
#undef INLINE
#undef VECTOR_CLONES

}  // namespace caffe
