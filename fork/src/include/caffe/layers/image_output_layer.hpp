#ifndef CAFFE_IMAGE_OUTPUT_LAYER_HPP_
#define CAFFE_IMAGE_OUTPUT_LAYER_HPP_

#include <string>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

/**
 * @brief Writes each image of a batch to a PNG file of 8 bits a channel.
 *
 * Bottom: @f$ (N \times C \times H \times W) @f$, @f$ C = 1 @f$ (grey) or
 * @f$ C = 3 @f$ (blue, green, red). No top. A value @f$ v @f$ becomes
 * @f$ 255 (scale \cdot v + offset) @f$, rounded to the nearest integer and
 * clamped to 0 and 255 (NaN is written as 0): by default values in [0, 1] fill
 * the range.
 *
 * Files are named `output_prefix`, then a running number of at least
 * `filename_padding` digits, then `.png`. The number starts at `base_idx` and
 * goes on from batch to batch for as long as the layer lives. Folders that the
 * prefix names are made. A file appears under its name only when it is whole.
 *
 * Backward: the gradient is zero.
 *
 * Fails (CHECK) on other numbers of channels and where a file cannot be written.
 */
template <typename Dtype>
class ImageOutputLayer : public Layer<Dtype> {
 public:
  explicit ImageOutputLayer(const LayerParameter& param)
      : Layer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "ImageOutput"; }
  virtual inline int ExactNumBottomBlobs() const { return 1; }
  virtual inline int ExactNumTopBlobs() const { return 0; }

 protected:
  // Files are written from the CPU in either mode: Layer's Forward_gpu and
  // Backward_gpu come here.
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);

  /// The name of the image with the running number `index`.
  string FileName(int index) const;

  int next_index_;
};

}  // namespace caffe

#endif  // CAFFE_IMAGE_OUTPUT_LAYER_HPP_
