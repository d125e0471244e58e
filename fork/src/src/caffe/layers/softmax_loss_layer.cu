#include <algorithm>
#include <vector>

#include "caffe/layers/softmax_loss_layer.hpp"
#include "caffe/util/device_sum.cuh"
#include "caffe/util/label_check.hpp"
#include "caffe/util/loss_functors.hpp"

namespace caffe {

template <typename Dtype>
void SoftmaxWithLossLayer<Dtype>::CheckReportedLabel() const {
  const MappedWord::Word report = foreign_label_ ? foreign_label_->value() : 0;
  if (report) {
    RefuseLabel(this->layer_param_.name(), UnpackLabel(report),
        prob_.shape(softmax_axis_));
  }
}

template <typename Dtype>
void SoftmaxWithLossLayer<Dtype>::Forward_gpu(
    const vector<Blob<Dtype>*>& bottom, const vector<Blob<Dtype>*>& top) {
  CheckReportedLabel();
  if (!foreign_label_) { foreign_label_.reset(new MappedWord); }
  softmax_layer_->Forward(softmax_bottom_vec_, softmax_top_vec_);
  const bool counts = normalization_ == LossParameter_NormalizationMode_VALID
      && has_ignore_label_;
  normalizer_.Reshape(vector<int>(1, 1));
  const LogLikelihood<Dtype> term = {prob_.gpu_data(), {bottom[1]->gpu_data(),
      prob_.shape(softmax_axis_), inner_num_, has_ignore_label_, ignore_label_},
      foreign_label_->gpu_word()};
  const SoftmaxLossOfSums<Dtype> finish = {
      counts ? Dtype(0) : get_normalizer(normalization_, -1),
      normalizer_.mutable_gpu_data(), top[0]->mutable_gpu_data()};
  DeviceSum(outer_num_ * inner_num_, term, finish);
  if (top.size() == 2) {
    top[1]->ShareData(prob_);
  }
}

template <typename Dtype>
void SoftmaxWithLossLayer<Dtype>::Backward_gpu(const vector<Blob<Dtype>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  CHECK(!propagate_down[1]) << this->type()
      << " Layer cannot backpropagate to label inputs.";
  CheckReportedLabel();
  if (!propagate_down[0]) { return; }
  const SoftmaxLossGradient<Dtype> gradient = {prob_.gpu_data(),
      {bottom[1]->gpu_data(), prob_.shape(softmax_axis_), inner_num_, has_ignore_label_,
      ignore_label_}, top[0]->gpu_diff(), normalizer_.gpu_data(),
      bottom[0]->mutable_gpu_diff()};
  DeviceForEach(prob_.count(), gradient);
}

INSTANTIATE_LAYER_GPU_FUNCS(SoftmaxWithLossLayer);

}  // namespace caffe
