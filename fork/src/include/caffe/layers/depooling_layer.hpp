#ifndef CAFFE_DEPOOLING_LAYER_HPP_
#define CAFFE_DEPOOLING_LAYER_HPP_

#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/mapped_word.hpp"
#include "caffe/util/max_pooling.hpp"

namespace caffe {

/**
 * @brief Undoes a pooling: puts every pooled value back into its window, at the
 *        place that a switch, a fixed rule or an even spread says.
 *
 * Bottoms:
 *   -# @f$ (N \times C \times h \times w) @f$ the pooled values @f$ v @f$
 *   -# @f$ (N \times C \times h \times w) @f$ the switches @f$ s @f$, for
 *      `pool: SWITCH` and its synonym `pool: MAX` only: the second top of a MAX
 *      Pooling layer, the index @f$ y W + x @f$ of a place in the plane
 *   -# @f$ (\cdot \times \cdot \times H \times W) @f$ optional, always last: a
 *      blob whose spatial shape the result must have
 *
 * Tops:
 *   -# @f$ (N \times C \times H \times W) @f$ the unpooled values @f$ u @f$
 *   -# @f$ (N \times C \times H \times W) @f$ optional: how many values landed
 *      on each place (for AVE: how many windows cover it)
 *
 * Without a shape blob @f$ H = (h - 1) \cdot stride + kernel - 2 \cdot pad @f$
 * and @f$ W @f$ alike. With one, pooling an @f$ H \times W @f$ plane with this
 * `pooling_param` must give @f$ h \times w @f$.
 *
 * Forward is the backward pass of the pooling, so windows that overlap sum:
 *
 *   - SWITCH, MAX: @f$ u_{p} = \sum_{i: s_i = p} v_i @f$
 *   - FIX: the same with the place `fix` (or `fix_y`, `fix_x`) of each window in
 *     the place of the switch; -1 is the centre @f$ \lfloor kernel/2 \rfloor @f$.
 *     Where padding or the plane's edge cuts the window off, the nearest place
 *     that is left is taken, so that no value is lost.
 *   - AVE: @f$ u_{p} = \sum_{i: p \in window_i} v_i / size_i @f$, where
 *     @f$ size_i @f$ is the divisor of Caffe's average pooling (it counts
 *     padding, but not what lies beyond it).
 *
 * Backward is the pooling's forward pass at the same places. Switches, the shape
 * blob and the count carry no gradient; where one is asked for, it is zero.
 *
 * Fails (CHECK) on shapes that do not fit together, on a switch that is not a
 * place of the plane (on a GPU, which the host does not wait for, in a later pass,
 * forward or backward), and, with switches, on planes of more than @f$ 2^{24} @f$
 * places, whose indices a float cannot tell apart.
 */
template <typename Dtype>
class DepoolingLayer : public Layer<Dtype> {
 public:
  explicit DepoolingLayer(const LayerParameter& param)
      : Layer<Dtype>(param) {}
  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);

  virtual inline const char* type() const { return "Depooling"; }
  virtual inline int MinBottomBlobs() const { return 1; }
  virtual inline int MaxBottomBlobs() const { return 3; }
  virtual inline int MinTopBlobs() const { return 1; }
  virtual inline int MaxTopBlobs() const { return 2; }
  virtual inline bool AllowForceBackward(const int bottom_index) const {
    return bottom_index == 0;
  }

 protected:
  virtual void Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Forward_gpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top);
  virtual void Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);
  virtual void Backward_gpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom);

  /// One axis (y or x): the windows' geometry, and the sizes it leads to.
  struct Axis {
    int kernel, stride, pad;
    int place;   ///< FIX's place in the window
    int pooled;  ///< h or w
    int plane;   ///< H or W

    /// What Caffe's pooling makes of this axis of the plane; `padded` says
    /// whether the plane has padding, be it on the other axis alone.
    int PooledSize(PoolingParameter_RoundMode round_mode, bool padded) const;
    /// First place and one past the last place of window i that are in the plane.
    int Begin(int i) const;
    int End(int i) const;
    /// How many places of window i average pooling counts.
    int Extent(int i) const;
    /// Where FIX puts the value of window i.
    int Place(int i) const;
  };

  bool UsesSwitches() const { return method_ == PoolingParameter_PoolMethod_MAX; }
  bool HasShapeBlob(const vector<Blob<Dtype>*>& bottom) const {
    return bottom.size() == (UsesSwitches() ? 3 : 2);
  }
  /// Fails with a sentence about switch `index` of `switches`, which has this value.
  void RefuseSwitch(const Blob<Dtype>& switches, int index, float value) const;
  /// The same about the first switch that is no place of the plane.
  void RefuseSwitches(const Blob<Dtype>& switches) const;
  PoolingGrid Grid() const;
  /// One plane's; adds to `unpooled` and, unless NULL, to `landed`.
  void ForwardAverage(const Dtype* values, Dtype* unpooled, Dtype* landed) const;
  /// One plane's.
  void BackwardAverage(const Dtype* unpooled_diff, Dtype* value_diff) const;

  /// AVE, FIX, or MAX (for SWITCH, too).
  PoolingParameter_PoolMethod method_;
  PoolingParameter_RoundMode round_mode_;
  bool global_pooling_;
  Axis y_, x_;
  /// FIX: the place in the plane of each of the h * w windows.
  Blob<int> fixed_places_;
#ifndef CPU_ONLY
  /// RefuseSwitch for what an earlier pass on the GPU has found.
  void CheckReportedSwitch(const Blob<Dtype>& switches) const;
  /// PackSwitch of a switch that is no place of the plane, or 0.
  shared_ptr<MappedWord> bad_switch_;
#endif
};

}  // namespace caffe

#endif  // CAFFE_DEPOOLING_LAYER_HPP_
