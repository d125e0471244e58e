#ifndef CAFFE_UTIL_UNPOOLING_HPP_
#define CAFFE_UTIL_UNPOOLING_HPP_

#include "caffe/util/host_device.hpp"
#include "caffe/util/pooling_grid.hpp"

namespace caffe {

// What becomes of one place of an unpooled plane, or of one window: what a thread of the
// GPU computes. Nothing here adds to what another thread writes.

/// The windows [begin, end) of one axis that hold a place.
struct WindowRange {
  int begin, end;
};

CAFFE_HOST_DEVICE WindowRange WindowsAt(int place, int pooled, int kernel,
    int stride, int pad) {
  const int from_first = place + pad;
  WindowRange windows;
  windows.begin = from_first < kernel ? 0 : (from_first - kernel) / stride + 1;
  windows.end = from_first / stride + 1;
  if (windows.end > pooled) { windows.end = pooled; }
  return windows;
}

/// Tells whether a switch is one of `plane` places.
template <typename Index>
CAFFE_HOST_DEVICE bool IsPlace(Index place, int plane) {
  return place >= 0 && place < plane && static_cast<Index>(static_cast<int>(place)) == place;
}

/// A window and its switch in one word, which no thread can write half of.
CAFFE_HOST_DEVICE unsigned long long PackSwitch(  // NOLINT(runtime/int)
    int window, float place) {
  union { float value; unsigned int bits; } as = {place};
  return static_cast<unsigned long long>(as.bits) << 32  // NOLINT(runtime/int)
      | static_cast<unsigned int>(window + 1);
}

/// Tells whether a place lies in window (i, j).
CAFFE_HOST_DEVICE bool InWindow(const PoolingGrid& grid, int i, int j, int place) {
  const int y = place / grid.width - (i * grid.stride_h - grid.pad_h);
  const int x = place % grid.width - (j * grid.stride_w - grid.pad_w);
  return y >= 0 && y < grid.kernel_h && x >= 0 && x < grid.kernel_w;
}

/**
 * @brief The sum of the values that windows put on place (y, x), and how many do: those
 *        that hold it and whose switch it is.
 *
 * @param switches, values  (pooled_height x pooled_width)
 */
template <typename Dtype, typename Index>
CAFFE_HOST_DEVICE Dtype UnpooledAt(const PoolingGrid& grid, int y, int x,
    const Index* switches, const Dtype* values, int* landed) {
  const WindowRange rows = WindowsAt(y, grid.pooled_height, grid.kernel_h,
      grid.stride_h, grid.pad_h);
  const WindowRange columns = WindowsAt(x, grid.pooled_width, grid.kernel_w,
      grid.stride_w, grid.pad_w);
  const Index place = y * grid.width + x;
  Dtype sum = 0;
  *landed = 0;
  for (int i = rows.begin; i < rows.end; ++i) {
    for (int j = columns.begin; j < columns.end; ++j) {
      const int window = i * grid.pooled_width + j;
      if (switches[window] == place) {
        sum += values[window];
        ++*landed;
      }
    }
  }
  return sum;
}

/// The divisor of window (i, j)'s average: it counts padding, not what lies beyond it.
CAFFE_HOST_DEVICE int AverageSize(const PoolingGrid& grid, int i, int j) {
  const int height = grid.height + 2 * grid.pad_h - i * grid.stride_h;
  const int width = grid.width + 2 * grid.pad_w - j * grid.stride_w;
  return (height < grid.kernel_h ? height : grid.kernel_h)
      * (width < grid.kernel_w ? width : grid.kernel_w);
}

/// The sum of the shares that windows give place (y, x), and how many windows hold it.
template <typename Dtype>
CAFFE_HOST_DEVICE Dtype SharesAt(const PoolingGrid& grid, int y, int x,
    const Dtype* values, int* landed) {
  const WindowRange rows = WindowsAt(y, grid.pooled_height, grid.kernel_h,
      grid.stride_h, grid.pad_h);
  const WindowRange columns = WindowsAt(x, grid.pooled_width, grid.kernel_w,
      grid.stride_w, grid.pad_w);
  Dtype sum = 0;
  for (int i = rows.begin; i < rows.end; ++i) {
    for (int j = columns.begin; j < columns.end; ++j) {
      sum += values[i * grid.pooled_width + j] / AverageSize(grid, i, j);
    }
  }
  *landed = (rows.end - rows.begin) * (columns.end - columns.begin);
  return sum;
}

/// The average of what window (i, j) holds of a plane.
template <typename Dtype>
CAFFE_HOST_DEVICE Dtype AverageOf(const PoolingGrid& grid, int i, int j,
    const Dtype* plane) {
  const int top = i * grid.stride_h - grid.pad_h;
  const int left = j * grid.stride_w - grid.pad_w;
  Dtype sum = 0;
  for (int y = top < 0 ? 0 : top; y < top + grid.kernel_h && y < grid.height; ++y) {
    for (int x = left < 0 ? 0 : left; x < left + grid.kernel_w && x < grid.width; ++x) {
      sum += plane[y * grid.width + x];
    }
  }
  return sum / AverageSize(grid, i, j);
}

#ifndef CPU_ONLY

/**
 * @brief Adds each window's value to the place of its switch in a plane of zeros, on the
 *        GPU; switches outside their own windows, and such as are no place, count for
 *        nothing (ScatterStrays).
 *
 * @param shared    whether there is one plane of switches for all
 * @param switches  (planes x pooled_height x pooled_width), or (pooled_height x
 *                  pooled_width); Index is int or Dtype
 * @param values    (planes x pooled_height x pooled_width)
 * @param unpooled  (planes x height x width)
 * @param landed    as unpooled: how many values were added; or NULL
 */
template <typename Dtype, typename Index>
void UnpoolGpu(const PoolingGrid& grid, int planes, bool shared, const Index* switches,
    const Dtype* values, Dtype* unpooled, Dtype* landed);

/**
 * @brief Adds, to what UnpoolGpu made, the values whose switches lie outside their own
 *        windows; tells of a switch that is no place at all.
 *
 * @param bad  is set to PackSwitch of such a one, if there is any
 */
template <typename Dtype>
void ScatterStraysGpu(const PoolingGrid& grid, int planes, const Dtype* switches,
    const Dtype* values, Dtype* unpooled, Dtype* landed,
    unsigned long long* bad);  // NOLINT(runtime/int)

/// Takes from each plane the value at every window's switch; 0 where that is no place.
template <typename Dtype, typename Index>
void TakeAtSwitchesGpu(const PoolingGrid& grid, int planes, bool shared,
    const Index* switches, const Dtype* unpooled, Dtype* values);

/// Spreads averages over their windows; see UnpoolGpu.
template <typename Dtype>
void UnpoolAveragesGpu(const PoolingGrid& grid, int planes, const Dtype* values,
    Dtype* unpooled, Dtype* landed);

/// The average of every window of each plane.
template <typename Dtype>
void AverageGpu(const PoolingGrid& grid, int planes, const Dtype* unpooled,
    Dtype* values);

#endif  // CPU_ONLY

}  // namespace caffe

#endif  // CAFFE_UTIL_UNPOOLING_HPP_
