#include <vector>

#include "caffe/layers/depooling_layer.hpp"
#include "caffe/util/gpu_util.cuh"
#include "caffe/util/math_functions.hpp"

namespace caffe {

// In all kernels `i` runs over the values, and value i belongs to window
// i % pooled of plane i / pooled. `places` are switches, one for each value
// (shared false), or fixed places, one for each window (shared true).

template <typename Dtype>
__global__ void FindBadSwitch(const int count, const Dtype* switches,
    const int plane, int* bad) {
  CUDA_KERNEL_LOOP(i, count) {
    const Dtype s = switches[i];
    const bool inside = s >= 0 && s < plane;
    if (!inside || static_cast<int>(s) != s) {
      atomicMax(bad, i + 1);
    }
  }
}

// Windows that overlap may choose one place at the same time, hence atomic.
template <typename Dtype, typename Index>
__global__ void DepoolScatter(const int count, const int pooled, const int plane,
    const bool shared, const Index* places, const Dtype* values,
    Dtype* unpooled, Dtype* landed) {
  CUDA_KERNEL_LOOP(i, count) {
    const int place = static_cast<int>(places[shared ? i % pooled : i]);
    const int target = i / pooled * plane + place;
    caffe_gpu_atomic_add(values[i], unpooled + target);
    if (landed) {
      caffe_gpu_atomic_add(Dtype(1), landed + target);
    }
  }
}

template <typename Dtype, typename Index>
__global__ void DepoolGather(const int count, const int pooled, const int plane,
    const bool shared, const Index* places, const Dtype* unpooled_diff,
    Dtype* value_diff) {
  CUDA_KERNEL_LOOP(i, count) {
    const int place = static_cast<int>(places[shared ? i % pooled : i]);
    value_diff[i] = unpooled_diff[i / pooled * plane + place];
  }
}

// The part of a window that is in the plane, and the divisor of its average.
struct AverageWindow {
  int y_begin, y_end, x_begin, x_end, size;
};

__device__ AverageWindow MakeWindow(const int window, const int pooled_x,
    const int height, const int width, const int kernel_y, const int kernel_x,
    const int stride_y, const int stride_x, const int pad_y, const int pad_x) {
  const int y = window / pooled_x * stride_y - pad_y;
  const int x = window % pooled_x * stride_x - pad_x;
  AverageWindow result;
  result.y_begin = max(y, 0);
  result.x_begin = max(x, 0);
  result.y_end = min(y + kernel_y, height);
  result.x_end = min(x + kernel_x, width);
  result.size = min(kernel_y, height + pad_y - y) * min(kernel_x, width + pad_x - x);
  return result;
}

template <typename Dtype>
__global__ void DepoolAverageForward(const int count, const int pooled_y,
    const int pooled_x, const int height, const int width, const int kernel_y,
    const int kernel_x, const int stride_y, const int stride_x, const int pad_y,
    const int pad_x, const Dtype* values, Dtype* unpooled, Dtype* landed) {
  CUDA_KERNEL_LOOP(i, count) {
    const int pooled = pooled_y * pooled_x;
    const AverageWindow window = MakeWindow(i % pooled, pooled_x, height, width,
        kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x);
    const Dtype share = values[i] / window.size;
    for (int y = window.y_begin; y < window.y_end; ++y) {
      for (int x = window.x_begin; x < window.x_end; ++x) {
        const int target = (i / pooled * height + y) * width + x;
        caffe_gpu_atomic_add(share, unpooled + target);
        if (landed) {
          caffe_gpu_atomic_add(Dtype(1), landed + target);
        }
      }
    }
  }
}

template <typename Dtype>
__global__ void DepoolAverageBackward(const int count, const int pooled_y,
    const int pooled_x, const int height, const int width, const int kernel_y,
    const int kernel_x, const int stride_y, const int stride_x, const int pad_y,
    const int pad_x, const Dtype* unpooled_diff, Dtype* value_diff) {
  CUDA_KERNEL_LOOP(i, count) {
    const int pooled = pooled_y * pooled_x;
    const AverageWindow window = MakeWindow(i % pooled, pooled_x, height, width,
        kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x);
    Dtype sum = 0;
    for (int y = window.y_begin; y < window.y_end; ++y) {
      for (int x = window.x_begin; x < window.x_end; ++x) {
        sum += unpooled_diff[(i / pooled * height + y) * width + x];
      }
    }
    value_diff[i] = sum / window.size;
  }
}

template <typename Dtype>
void DepoolingLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const int count = bottom[0]->count();
  const int pooled = y_.pooled * x_.pooled;
  const int plane = y_.plane * x_.plane;
  const Dtype* values = bottom[0]->gpu_data();
  Dtype* unpooled = top[0]->mutable_gpu_data();
  Dtype* landed = top.size() > 1 ? top[1]->mutable_gpu_data() : NULL;
  caffe_gpu_set(top[0]->count(), Dtype(0), unpooled);
  if (landed) {
    caffe_gpu_set(top[1]->count(), Dtype(0), landed);
  }
  const int blocks = CAFFE_GET_BLOCKS(count);
  if (UsesSwitches()) {
    const Dtype* switches = bottom[1]->gpu_data();
    *bad_switch_.mutable_cpu_data() = 0;
    // NOLINT_NEXT_LINE(whitespace/operators)
    FindBadSwitch<Dtype><<<blocks, CAFFE_CUDA_NUM_THREADS>>>(
        count, switches, plane, bad_switch_.mutable_gpu_data());
    CUDA_POST_KERNEL_CHECK;
    const int bad = *bad_switch_.cpu_data();
    if (bad) {
      RefuseSwitch(*bottom[1], bad - 1);
    }
    // NOLINT_NEXT_LINE(whitespace/operators)
    DepoolScatter<Dtype, Dtype><<<blocks, CAFFE_CUDA_NUM_THREADS>>>(
        count, pooled, plane, false, switches, values, unpooled, landed);
  } else if (method_ == PoolingParameter_PoolMethod_FIX) {
    // NOLINT_NEXT_LINE(whitespace/operators)
    DepoolScatter<Dtype, int><<<blocks, CAFFE_CUDA_NUM_THREADS>>>(
        count, pooled, plane, true, fixed_places_.gpu_data(), values, unpooled,
        landed);
  } else {
    // NOLINT_NEXT_LINE(whitespace/operators)
    DepoolAverageForward<Dtype><<<blocks, CAFFE_CUDA_NUM_THREADS>>>(
        count, y_.pooled, x_.pooled, y_.plane, x_.plane, y_.kernel, x_.kernel,
        y_.stride, x_.stride, y_.pad, x_.pad, values, unpooled, landed);
  }
  CUDA_POST_KERNEL_CHECK;
}

template <typename Dtype>
void DepoolingLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  for (int i = 1; i < bottom.size(); ++i) {
    if (propagate_down[i]) {
      caffe_gpu_set(bottom[i]->count(), Dtype(0), bottom[i]->mutable_gpu_diff());
    }
  }
  if (!propagate_down[0]) { return; }
  const int count = bottom[0]->count();
  const int pooled = y_.pooled * x_.pooled;
  const int plane = y_.plane * x_.plane;
  const Dtype* unpooled_diff = top[0]->gpu_diff();
  Dtype* value_diff = bottom[0]->mutable_gpu_diff();
  const int blocks = CAFFE_GET_BLOCKS(count);
  if (UsesSwitches()) {
    // NOLINT_NEXT_LINE(whitespace/operators)
    DepoolGather<Dtype, Dtype><<<blocks, CAFFE_CUDA_NUM_THREADS>>>(
        count, pooled, plane, false, bottom[1]->gpu_data(), unpooled_diff,
        value_diff);
  } else if (method_ == PoolingParameter_PoolMethod_FIX) {
    // NOLINT_NEXT_LINE(whitespace/operators)
    DepoolGather<Dtype, int><<<blocks, CAFFE_CUDA_NUM_THREADS>>>(
        count, pooled, plane, true, fixed_places_.gpu_data(), unpooled_diff,
        value_diff);
  } else {
    // NOLINT_NEXT_LINE(whitespace/operators)
    DepoolAverageBackward<Dtype><<<blocks, CAFFE_CUDA_NUM_THREADS>>>(
        count, y_.pooled, x_.pooled, y_.plane, x_.plane, y_.kernel, x_.kernel,
        y_.stride, x_.stride, y_.pad, x_.pad, unpooled_diff, value_diff);
  }
  CUDA_POST_KERNEL_CHECK;
}

INSTANTIATE_LAYER_GPU_FUNCS(DepoolingLayer);

}  // namespace caffe
