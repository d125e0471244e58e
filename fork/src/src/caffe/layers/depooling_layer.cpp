#include <algorithm>
#include <cmath>
#include <vector>

#include "caffe/layers/depooling_layer.hpp"
#include "caffe/util/math_functions.hpp"
#include "caffe/util/max_pooling.hpp"
#include "caffe/util/parallel.hpp"

namespace caffe {

// Switches travel as floats in released weights and networks, whatever Dtype is.
static const int64_t kMaxSwitchPlane = int64_t(1) << 24;

template <typename Dtype>
int DepoolingLayer<Dtype>::Axis::PooledSize(
    PoolingParameter_RoundMode round_mode, bool padded) const {
  const double steps = static_cast<double>(plane + 2 * pad - kernel) / stride;
  int result = 1 + static_cast<int>(
      round_mode == PoolingParameter_RoundMode_CEIL ? std::ceil(steps)
                                                    : std::floor(steps));
  // A last window that would start beyond the plane is dropped, but only from
  // planes that are padded.
  if (padded && (result - 1) * stride >= plane + pad) {
    --result;
  }
  return result;
}

template <typename Dtype>
int DepoolingLayer<Dtype>::Axis::Begin(int i) const {
  return std::max(i * stride - pad, 0);
}

template <typename Dtype>
int DepoolingLayer<Dtype>::Axis::End(int i) const {
  return std::min(i * stride - pad + kernel, plane);
}

template <typename Dtype>
int DepoolingLayer<Dtype>::Axis::Extent(int i) const {
  return std::min(kernel, plane + 2 * pad - i * stride);
}

template <typename Dtype>
int DepoolingLayer<Dtype>::Axis::Place(int i) const {
  return std::min(std::max(i * stride - pad + place, Begin(i)), End(i) - 1);
}

template <typename Dtype>
void DepoolingLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const PoolingParameter& param = this->layer_param_.pooling_param();
  method_ = param.pool();
  if (method_ == PoolingParameter_PoolMethod_SWITCH) {
    method_ = PoolingParameter_PoolMethod_MAX;
  }
  CHECK_NE(method_, PoolingParameter_PoolMethod_STOCHASTIC)
      << "Depooling knows pool: SWITCH, MAX, FIX and AVE; "
      << "STOCHASTIC pooling keeps no switches to undo it with.";
  if (UsesSwitches()) {
    CHECK_GE(bottom.size(), 2) << "Depooling with pool: "
        << PoolingParameter_PoolMethod_Name(param.pool()) << " expects bottoms "
        << "values, switches [, shape]; found " << bottom.size() << ".";
  } else {
    CHECK_LE(bottom.size(), 2) << "Depooling with pool: "
        << PoolingParameter_PoolMethod_Name(param.pool()) << " expects bottoms "
        << "values [, shape]; found " << bottom.size() << ".";
  }

  round_mode_ = param.round_mode();
  global_pooling_ = param.global_pooling();
  const bool one_kernel = param.has_kernel_size();
  const bool two_kernels = param.has_kernel_h() && param.has_kernel_w();
  if (global_pooling_) {
    CHECK(!one_kernel && !param.has_kernel_h() && !param.has_kernel_w())
        << "global_pooling takes the shape blob's size for its kernel; "
        << "leave kernel_size, kernel_h and kernel_w out.";
    CHECK(HasShapeBlob(bottom)) << "Depooling with global_pooling needs a shape "
        << "blob as its last bottom: the size of the plane is not known otherwise.";
    y_.kernel = x_.kernel = 1;  // Reshape sets them.
  } else {
    CHECK(one_kernel != two_kernels)
        << "Depooling expects kernel_size, or else both kernel_h and kernel_w.";
    y_.kernel = one_kernel ? param.kernel_size() : param.kernel_h();
    x_.kernel = one_kernel ? param.kernel_size() : param.kernel_w();
  }
  CHECK_EQ(param.has_pad_h(), param.has_pad_w())
      << "Depooling expects pad, or else both pad_h and pad_w.";
  CHECK(!param.has_pad() || !param.has_pad_h())
      << "Depooling expects pad, or else both pad_h and pad_w.";
  y_.pad = param.has_pad_h() ? param.pad_h() : param.pad();
  x_.pad = param.has_pad_w() ? param.pad_w() : param.pad();
  CHECK_EQ(param.has_stride_h(), param.has_stride_w())
      << "Depooling expects stride, or else both stride_h and stride_w.";
  CHECK(!param.has_stride() || !param.has_stride_h())
      << "Depooling expects stride, or else both stride_h and stride_w.";
  y_.stride = param.has_stride_h() ? param.stride_h() : param.stride();
  x_.stride = param.has_stride_w() ? param.stride_w() : param.stride();
  CHECK(y_.kernel > 0 && x_.kernel > 0) << "The kernel is " << y_.kernel << " x "
      << x_.kernel << "; neither may be zero.";
  CHECK(y_.stride > 0 && x_.stride > 0) << "The stride is " << y_.stride << " x "
      << x_.stride << "; neither may be zero.";
  CHECK(y_.pad < y_.kernel && x_.pad < x_.kernel) << "The padding, " << y_.pad
      << " x " << x_.pad << ", must be smaller than the kernel, " << y_.kernel
      << " x " << x_.kernel << ".";
  if (global_pooling_) {
    CHECK(y_.pad == 0 && x_.pad == 0 && y_.stride == 1 && x_.stride == 1)
        << "global_pooling goes with pad: 0 and stride: 1 only.";
  }

  const bool fix_given = param.has_fix() || param.has_fix_y() || param.has_fix_x();
  CHECK(!fix_given || method_ == PoolingParameter_PoolMethod_FIX)
      << "fix, fix_y and fix_x go with pool: FIX only; found pool: "
      << PoolingParameter_PoolMethod_Name(param.pool()) << ".";
  CHECK(!param.has_fix() || !(param.has_fix_y() || param.has_fix_x()))
      << "Depooling expects fix, or else fix_y and fix_x; not both.";
}

template <typename Dtype>
void DepoolingLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const PoolingParameter& param = this->layer_param_.pooling_param();
  for (int i = 0; i < bottom.size(); ++i) {
    CHECK_EQ(4, bottom[i]->num_axes()) << "Bottom " << i << " of Depooling must "
        << "have 4 axes (num, channels, height, width); its shape is "
        << bottom[i]->shape_string() << ".";
  }
  if (UsesSwitches()) {
    CHECK(bottom[1]->shape() == bottom[0]->shape())
        << "Values and switches must have one shape; values are "
        << bottom[0]->shape_string() << ", switches "
        << bottom[1]->shape_string() << ".";
  }
  y_.pooled = bottom[0]->height();
  x_.pooled = bottom[0]->width();

  if (HasShapeBlob(bottom)) {
    y_.plane = bottom.back()->height();
    x_.plane = bottom.back()->width();
    if (global_pooling_) {
      y_.kernel = y_.plane;
      x_.kernel = x_.plane;
    }
    const bool padded = y_.pad || x_.pad;
    const int pooled_y = y_.PooledSize(round_mode_, padded);
    const int pooled_x = x_.PooledSize(round_mode_, padded);
    CHECK(pooled_y == y_.pooled && pooled_x == x_.pooled)
        << "Pooling the shape blob's " << y_.plane << " x " << x_.plane
        << " plane (kernel " << y_.kernel << " x " << x_.kernel << ", stride "
        << y_.stride << " x " << x_.stride << ", pad " << y_.pad << " x "
        << x_.pad << ", round_mode "
        << PoolingParameter_RoundMode_Name(round_mode_) << ") gives " << pooled_y
        << " x " << pooled_x << " values, but bottom 0 has " << y_.pooled
        << " x " << x_.pooled << ".";
    // Stock pooling makes such windows when the stride exceeds the kernel.
    CHECK(y_.Begin(y_.pooled - 1) < y_.plane && x_.Begin(x_.pooled - 1) < x_.plane)
        << "The last window starts at " << y_.Begin(y_.pooled - 1) << ", "
        << x_.Begin(x_.pooled - 1) << ", outside the " << y_.plane << " x "
        << x_.plane << " plane; use round_mode: FLOOR.";
  } else {
    y_.plane = (y_.pooled - 1) * y_.stride + y_.kernel - 2 * y_.pad;
    x_.plane = (x_.pooled - 1) * x_.stride + x_.kernel - 2 * x_.pad;
    CHECK(y_.plane > 0 && x_.plane > 0) << "Bottom 0's " << y_.pooled << " x "
        << x_.pooled << " values would unpool to " << y_.plane << " x "
        << x_.plane << " places.";
  }

  if (UsesSwitches()) {
    const int64_t places = static_cast<int64_t>(y_.plane) * x_.plane;
    CHECK_LE(places, kMaxSwitchPlane) << "The plane of " << y_.plane << " x "
        << x_.plane << " has " << places << " places; switches are floats, which "
        << "count exactly only up to " << kMaxSwitchPlane << ".";
  }
  if (method_ == PoolingParameter_PoolMethod_FIX) {
    y_.place = param.has_fix_y() ? param.fix_y() : param.fix();
    x_.place = param.has_fix_x() ? param.fix_x() : param.fix();
    CHECK(y_.place >= -1 && y_.place < y_.kernel && x_.place >= -1
        && x_.place < x_.kernel) << "The fixed place " << y_.place << ", "
        << x_.place << " is not in the window of " << y_.kernel << " x "
        << x_.kernel << " (-1 is the centre).";
    if (y_.place == -1) { y_.place = y_.kernel / 2; }
    if (x_.place == -1) { x_.place = x_.kernel / 2; }
    fixed_places_.Reshape(1, 1, y_.pooled, x_.pooled);
    int* places = fixed_places_.mutable_cpu_data();
    for (int i = 0; i < y_.pooled; ++i) {
      for (int j = 0; j < x_.pooled; ++j) {
        *places++ = y_.Place(i) * x_.plane + x_.Place(j);
      }
    }
  }
  for (int i = 0; i < top.size(); ++i) {
    top[i]->Reshape(bottom[0]->num(), bottom[0]->channels(), y_.plane, x_.plane);
  }
}

template <typename Dtype>
void DepoolingLayer<Dtype>::RefuseSwitch(const Blob<Dtype>& switches, int index,
    float value) const {
  const int x = index % x_.pooled;
  const int y = index / x_.pooled % y_.pooled;
  const int plane = index / (x_.pooled * y_.pooled);
  LOG(FATAL) << "The switch at " << plane / switches.channels() << ", "
      << plane % switches.channels() << ", " << y << ", " << x << " is "
      << value << ", not one of the "
      << y_.plane * x_.plane << " places of a " << y_.plane << " x " << x_.plane
      << " plane. (Pooling gives -1 for a window that is all NaN.)";
}

template <typename Dtype>
void DepoolingLayer<Dtype>::RefuseSwitches(const Blob<Dtype>& switches) const {
  const Dtype* data = switches.cpu_data();
  const Dtype places = y_.plane * x_.plane;
  for (int i = 0; i < switches.count(); ++i) {
    if (!(data[i] >= 0 && data[i] < places && data[i] == std::floor(data[i]))) {
      RefuseSwitch(switches, i, data[i]);
    }
  }
}

template <typename Dtype>
PoolingGrid DepoolingLayer<Dtype>::Grid() const {
  return {y_.plane, x_.plane, y_.pooled, x_.pooled, y_.kernel, x_.kernel,
      y_.stride, x_.stride, y_.pad, x_.pad};
}

// How many switches point to each place. Those of plane n start at n * step.
template <typename Dtype, typename Index>
static void CountSwitches(int planes, ptrdiff_t pooled, ptrdiff_t plane, ptrdiff_t step,
    const Index* switches, Dtype* landed) {
#pragma omp parallel for if (planes * plane >= kParallelCount)
  for (int n = 0; n < planes; ++n) {
    std::fill(landed + n * plane, landed + (n + 1) * plane, Dtype(0));
    for (ptrdiff_t i = 0; i < pooled; ++i) {
      landed[n * plane + static_cast<int>(switches[n * step + i])] += 1;
    }
  }
}

template <typename Dtype>
void DepoolingLayer<Dtype>::ForwardAverage(const Dtype* values, Dtype* unpooled,
    Dtype* landed) const {
  for (int i = 0; i < y_.pooled; ++i) {
    for (int j = 0; j < x_.pooled; ++j) {
      const Dtype share = *values++ / (y_.Extent(i) * x_.Extent(j));
      for (int y = y_.Begin(i); y < y_.End(i); ++y) {
        for (int x = x_.Begin(j); x < x_.End(j); ++x) {
          unpooled[y * x_.plane + x] += share;
          if (landed) { landed[y * x_.plane + x] += 1; }
        }
      }
    }
  }
}

template <typename Dtype>
void DepoolingLayer<Dtype>::BackwardAverage(const Dtype* unpooled_diff,
    Dtype* value_diff) const {
  for (int i = 0; i < y_.pooled; ++i) {
    for (int j = 0; j < x_.pooled; ++j) {
      Dtype sum = 0;
      for (int y = y_.Begin(i); y < y_.End(i); ++y) {
        for (int x = x_.Begin(j); x < x_.End(j); ++x) {
          sum += unpooled_diff[y * x_.plane + x];
        }
      }
      *value_diff++ = sum / (y_.Extent(i) * x_.Extent(j));
    }
  }
}

template <typename Dtype>
void DepoolingLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const int planes = bottom[0]->num() * bottom[0]->channels();
  const ptrdiff_t pooled = y_.pooled * x_.pooled;
  const ptrdiff_t plane = y_.plane * x_.plane;
  const BlobArray values = BlobArray::Data(*bottom[0]);
  const BlobArray unpooled = BlobArray::Data(*top[0]);
  Dtype* landed = top.size() > 1 ? top[1]->mutable_cpu_data() : NULL;
  if (UsesSwitches()) {
    if (!ScatterToSwitches<Dtype, Dtype>(Grid(), planes, BlobArray::Data(*bottom[1]),
        values, unpooled)) {
      RefuseSwitches(*bottom[1]);
    }
    if (landed) {
      CountSwitches(planes, pooled, plane, pooled, bottom[1]->cpu_data(), landed);
    }
  } else if (method_ == PoolingParameter_PoolMethod_FIX) {
    const int* places = fixed_places_.cpu_data();
    const int block = CommonBlock({values}, {unpooled});
    ScatterToSwitches(Grid(), planes, block, true, places, values.Read<Dtype>(block),
        unpooled.Overwrite<Dtype>(block));
    if (landed) {
      CountSwitches(planes, pooled, plane, 0, places, landed);
    }
  } else {
    const Dtype* averages = bottom[0]->cpu_data();
    Dtype* spread = top[0]->mutable_cpu_data();
#pragma omp parallel for if (planes * plane >= kParallelCount)
    for (int n = 0; n < planes; ++n) {
      Dtype* counts = landed ? landed + n * plane : NULL;
      std::fill(spread + n * plane, spread + (n + 1) * plane, Dtype(0));
      if (counts) { std::fill(counts, counts + plane, Dtype(0)); }
      ForwardAverage(averages + n * pooled, spread + n * plane, counts);
    }
  }
}

template <typename Dtype>
void DepoolingLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  // Zero; what nobody has touched is zero, and takes no memory.
  for (int i = 1; i < bottom.size(); ++i) {
    if (propagate_down[i] && bottom[i]->diff()->head() != SyncedMemory::UNINITIALIZED) {
      caffe_set(bottom[i]->count(), Dtype(0), bottom[i]->mutable_cpu_diff());
    }
  }
  if (!propagate_down[0]) { return; }
  const int planes = bottom[0]->num() * bottom[0]->channels();
  const ptrdiff_t pooled = y_.pooled * x_.pooled;
  const ptrdiff_t plane = y_.plane * x_.plane;
  const BlobArray unpooled_diff = BlobArray::Diff(*top[0]);
  const BlobArray value_diff = BlobArray::Diff(*bottom[0]);
  if (UsesSwitches()) {
    GatherFromSwitches<Dtype, Dtype>(Grid(), planes, BlobArray::Data(*bottom[1]),
        unpooled_diff, value_diff);
  } else if (method_ == PoolingParameter_PoolMethod_FIX) {
    const int block = CommonBlock({unpooled_diff}, {value_diff});
    GatherFromSwitches(Grid(), planes, block, true, fixed_places_.cpu_data(),
        unpooled_diff.Read<Dtype>(block), value_diff.Overwrite<Dtype>(block));
  } else {
    const Dtype* spread = top[0]->cpu_diff();
    Dtype* averages = bottom[0]->mutable_cpu_diff();
#pragma omp parallel for if (planes * plane >= kParallelCount)
    for (int n = 0; n < planes; ++n) {
      BackwardAverage(spread + n * plane, averages + n * pooled);
    }
  }
}

#ifdef CPU_ONLY
STUB_GPU(DepoolingLayer);
#endif

INSTANTIATE_CLASS(DepoolingLayer);
REGISTER_LAYER_CLASS(Depooling);

}  // namespace caffe
