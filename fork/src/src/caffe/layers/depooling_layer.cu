#include <cstring>
#include <vector>

#include "caffe/layers/depooling_layer.hpp"
#include "caffe/util/math_functions.hpp"
#include "caffe/util/unpooling.hpp"

namespace caffe {

template <typename Dtype>
void DepoolingLayer<Dtype>::CheckReportedSwitch(const Blob<Dtype>& switches) const {
  const MappedWord::Word report = bad_switch_ ? bad_switch_->value() : 0;
  if (report) {
    const uint32_t bits = report >> 32;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    RefuseSwitch(switches, static_cast<uint32_t>(report) - 1, value);
  }
}

template <typename Dtype>
void DepoolingLayer<Dtype>::Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const int planes = bottom[0]->num() * bottom[0]->channels();
  const Dtype* values = bottom[0]->gpu_data();
  Dtype* unpooled = top[0]->mutable_gpu_data();
  Dtype* landed = top.size() > 1 ? top[1]->mutable_gpu_data() : NULL;
  if (UsesSwitches()) {
    CheckReportedSwitch(*bottom[1]);
    if (!bad_switch_) { bad_switch_.reset(new MappedWord); }
    const Dtype* switches = bottom[1]->gpu_data();
    UnpoolGpu(Grid(), planes, false, switches, values, unpooled, landed);
    ScatterStraysGpu(Grid(), planes, switches, values, unpooled, landed,
        bad_switch_->gpu_word());
  } else if (method_ == PoolingParameter_PoolMethod_FIX) {
    UnpoolGpu(Grid(), planes, true, fixed_places_.gpu_data(), values, unpooled, landed);
  } else {
    UnpoolAveragesGpu(Grid(), planes, values, unpooled, landed);
  }
}

template <typename Dtype>
void DepoolingLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  // Zero; what nobody has touched is zero, and takes no memory.
  for (int i = 1; i < bottom.size(); ++i) {
    if (propagate_down[i] && bottom[i]->diff()->head() != SyncedMemory::UNINITIALIZED) {
      caffe_gpu_set(bottom[i]->count(), Dtype(0), bottom[i]->mutable_gpu_diff());
    }
  }
  if (UsesSwitches()) { CheckReportedSwitch(*bottom[1]); }
  if (!propagate_down[0]) { return; }
  const int planes = bottom[0]->num() * bottom[0]->channels();
  const Dtype* unpooled_diff = top[0]->gpu_diff();
  Dtype* value_diff = bottom[0]->mutable_gpu_diff();
  if (UsesSwitches()) {
    TakeAtSwitchesGpu(Grid(), planes, false, bottom[1]->gpu_data(), unpooled_diff,
        value_diff);
  } else if (method_ == PoolingParameter_PoolMethod_FIX) {
    TakeAtSwitchesGpu(Grid(), planes, true, fixed_places_.gpu_data(), unpooled_diff,
        value_diff);
  } else {
    AverageGpu(Grid(), planes, unpooled_diff, value_diff);
  }
}

INSTANTIATE_LAYER_GPU_FUNCS(DepoolingLayer);

}  // namespace caffe
