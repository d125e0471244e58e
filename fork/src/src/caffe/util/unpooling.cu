#include "caffe/util/unpooling.hpp"

#include "caffe/common.hpp"
#include "caffe/util/gpu_math.hpp"
#include "caffe/util/gpu_util.cuh"

namespace caffe {

namespace {

template <typename Dtype, typename Index>
__global__ void UnpoolPlaces(const int count, const PoolingGrid grid, const bool shared,
    const Index* switches, const Dtype* values, Dtype* unpooled, Dtype* landed) {
  const int plane = grid.height * grid.width;
  const int pooled = grid.pooled_height * grid.pooled_width;
  CUDA_KERNEL_LOOP(i, count) {
    const int n = i / plane;
    const int place = i - n * plane;
    const int y = place / grid.width;
    int sums;
    unpooled[i] = UnpooledAt(grid, y, place - y * grid.width,
        switches + (shared ? 0 : n * pooled), values + n * pooled, &sums);
    if (landed) { landed[i] = sums; }
  }
}

template <typename Dtype>
struct alignas(2 * sizeof(Dtype)) Pair {
  Dtype first, second;
};

// Windows of 2 x 2 that tile their plane, as nearly all networks have them: a thread a
// window, which writes its four places.
template <typename Dtype, typename Index>
__global__ void UnpoolTiles(const int count, const int pooled_height,
    const int pooled_width, const bool shared, const Index* switches,
    const Dtype* values, Pair<Dtype>* unpooled) {
  CUDA_KERNEL_LOOP(i, count) {
    const int row = i / pooled_width;  // of all planes
    const int y = row % pooled_height;
    const int x = i - row * pooled_width;
    const Index place = shared ? switches[y * pooled_width + x] : switches[i];
    const Dtype value = values[i];
    const int above = (2 * y * pooled_width + x) * 2;  // of the plane's places
    const int below = above + 2 * pooled_width;
    Pair<Dtype>* target = unpooled + 2 * row * pooled_width + x;
    const Pair<Dtype> upper = {place == Index(above) ? value : Dtype(0),
        place == Index(above + 1) ? value : Dtype(0)};
    const Pair<Dtype> lower = {place == Index(below) ? value : Dtype(0),
        place == Index(below + 1) ? value : Dtype(0)};
    target[0] = upper;
    target[pooled_width] = lower;
  }
}

// `each` windows a thread, one after the other: all of a plane where the order of sums
// must not change.
template <typename Dtype>
__global__ void ScatterStrays(const int count, const int each, const PoolingGrid grid,
    const Dtype* switches, const Dtype* values, Dtype* unpooled, Dtype* landed,
    unsigned long long* bad) {  // NOLINT(runtime/int)
  const int plane = grid.height * grid.width;
  const int pooled = grid.pooled_height * grid.pooled_width;
  CUDA_KERNEL_LOOP(thread, count) {
    for (int i = thread * each; i < (thread + 1) * each; ++i) {
      const Dtype place = switches[i];
      if (!IsPlace(place, plane)) {
        *bad = PackSwitch(i, place);
        continue;
      }
      const int n = i / pooled;
      const int window = i - n * pooled;
      const int y = window / grid.pooled_width;
      if (InWindow(grid, y, window - y * grid.pooled_width, place)) { continue; }
      const int target = n * plane + static_cast<int>(place);
      caffe_gpu_atomic_add(values[i], unpooled + target);
      if (landed) { caffe_gpu_atomic_add(Dtype(1), landed + target); }
    }
  }
}

template <typename Dtype, typename Index>
__global__ void TakeAtSwitches(const int count, const PoolingGrid grid,
    const bool shared, const Index* switches, const Dtype* unpooled, Dtype* values) {
  const int plane = grid.height * grid.width;
  const int pooled = grid.pooled_height * grid.pooled_width;
  CUDA_KERNEL_LOOP(i, count) {
    const int n = i / pooled;
    const Index place = switches[shared ? i - n * pooled : i];
    values[i] = IsPlace(place, plane) ? unpooled[n * plane + static_cast<int>(place)]
        : Dtype(0);
  }
}

template <typename Dtype>
__global__ void UnpoolAverages(const int count, const PoolingGrid grid,
    const Dtype* values, Dtype* unpooled, Dtype* landed) {
  const int plane = grid.height * grid.width;
  const int pooled = grid.pooled_height * grid.pooled_width;
  CUDA_KERNEL_LOOP(i, count) {
    const int n = i / plane;
    const int place = i - n * plane;
    const int y = place / grid.width;
    int sums;
    unpooled[i] = SharesAt(grid, y, place - y * grid.width, values + n * pooled, &sums);
    if (landed) { landed[i] = sums; }
  }
}

template <typename Dtype>
__global__ void Averages(const int count, const PoolingGrid grid, const Dtype* unpooled,
    Dtype* values) {
  const int plane = grid.height * grid.width;
  const int pooled = grid.pooled_height * grid.pooled_width;
  CUDA_KERNEL_LOOP(i, count) {
    const int n = i / pooled;
    const int window = i - n * pooled;
    const int y = window / grid.pooled_width;
    values[i] = AverageOf(grid, y, window - y * grid.pooled_width, unpooled + n * plane);
  }
}

bool TilesByTwo(const PoolingGrid& grid) {
  return grid.kernel_h == 2 && grid.kernel_w == 2 && grid.stride_h == 2
      && grid.stride_w == 2 && grid.pad_h == 0 && grid.pad_w == 0
      && grid.height == 2 * grid.pooled_height && grid.width == 2 * grid.pooled_width;
}

int Places(const PoolingGrid& grid, int planes) {
  return planes * grid.height * grid.width;
}

int Windows(const PoolingGrid& grid, int planes) {
  return planes * grid.pooled_height * grid.pooled_width;
}

}  // namespace

// NOLINT_NEXT_LINE(whitespace/operators)
#define CAFFE_LAUNCH(kernel, count) \
    kernel<<<CAFFE_GET_BLOCKS(count), CAFFE_CUDA_NUM_THREADS>>>

template <typename Dtype, typename Index>
void UnpoolGpu(const PoolingGrid& grid, int planes, bool shared, const Index* switches,
    const Dtype* values, Dtype* unpooled, Dtype* landed) {
  if (TilesByTwo(grid) && landed == NULL) {
    const int count = Windows(grid, planes);
    CAFFE_LAUNCH(UnpoolTiles, count)(count, grid.pooled_height, grid.pooled_width,
        shared, switches, values, reinterpret_cast<Pair<Dtype>*>(unpooled));
  } else {
    const int count = Places(grid, planes);
    CAFFE_LAUNCH(UnpoolPlaces, count)(count, grid, shared, switches, values, unpooled,
        landed);
  }
  CUDA_POST_KERNEL_CHECK;
}

template <typename Dtype>
void ScatterStraysGpu(const PoolingGrid& grid, int planes, const Dtype* switches,
    const Dtype* values, Dtype* unpooled, Dtype* landed,
    unsigned long long* bad) {  // NOLINT(runtime/int)
  const int each = Deterministic() ? grid.pooled_height * grid.pooled_width : 1;
  const int count = Windows(grid, planes) / each;
  CAFFE_LAUNCH(ScatterStrays, count)(count, each, grid, switches, values, unpooled,
      landed, bad);
  CUDA_POST_KERNEL_CHECK;
}

template <typename Dtype, typename Index>
void TakeAtSwitchesGpu(const PoolingGrid& grid, int planes, bool shared,
    const Index* switches, const Dtype* unpooled, Dtype* values) {
  const int count = Windows(grid, planes);
  CAFFE_LAUNCH(TakeAtSwitches, count)(count, grid, shared, switches, unpooled, values);
  CUDA_POST_KERNEL_CHECK;
}

template <typename Dtype>
void UnpoolAveragesGpu(const PoolingGrid& grid, int planes, const Dtype* values,
    Dtype* unpooled, Dtype* landed) {
  const int count = Places(grid, planes);
  CAFFE_LAUNCH(UnpoolAverages, count)(count, grid, values, unpooled, landed);
  CUDA_POST_KERNEL_CHECK;
}

template <typename Dtype>
void AverageGpu(const PoolingGrid& grid, int planes, const Dtype* unpooled,
    Dtype* values) {
  const int count = Windows(grid, planes);
  CAFFE_LAUNCH(Averages, count)(count, grid, unpooled, values);
  CUDA_POST_KERNEL_CHECK;
}

#define INSTANTIATE_SWITCHES(Dtype, Index) \
  template void UnpoolGpu<Dtype, Index>(const PoolingGrid&, int, bool, const Index*, \
      const Dtype*, Dtype*, Dtype*); \
  template void TakeAtSwitchesGpu<Dtype, Index>(const PoolingGrid&, int, bool, \
      const Index*, const Dtype*, Dtype*)

#define INSTANTIATE_UNPOOLING(Dtype) \
  INSTANTIATE_SWITCHES(Dtype, Dtype); \
  INSTANTIATE_SWITCHES(Dtype, int); \
  template void ScatterStraysGpu<Dtype>(const PoolingGrid&, int, const Dtype*, \
      const Dtype*, Dtype*, Dtype*, unsigned long long*); \
  template void UnpoolAveragesGpu<Dtype>(const PoolingGrid&, int, const Dtype*, \
      Dtype*, Dtype*); \
  template void AverageGpu<Dtype>(const PoolingGrid&, int, const Dtype*, Dtype*)

INSTANTIATE_UNPOOLING(float);
INSTANTIATE_UNPOOLING(double);

}  // namespace caffe
