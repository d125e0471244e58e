#ifndef CAFFE_DNNL_BASE_CONV_LAYER_HPP_
#define CAFFE_DNNL_BASE_CONV_LAYER_HPP_

#ifdef USE_DNNL

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/layer.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/dnnl_convolution.hpp"

namespace caffe {

/**
 * @brief What DNNLConvolutionLayer and DNNLDeconvolutionLayer share: the convolution's
 *    geometry, and whether oneDNN can take it at all.
 *
 * @tparam Stock the layer that does what oneDNN does not: ConvolutionLayer<Dtype> or
 *    DeconvolutionLayer<Dtype>.
 */
template <typename Dtype, typename Stock>
class DNNLBaseConvolutionLayer : public Stock {
 public:
  explicit DNNLBaseConvolutionLayer(const LayerParameter& param)
      : Stock(param), usable_(false), winograd_(false) {}

  virtual void LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
    Stock::LayerSetUp(bottom, top);
    const ConvolutionParameter& param = this->layer_param_.convolution_param();
    const int axes = this->num_spatial_axes_;
    usable_ = std::is_same<Dtype, float>::value && axes >= 1 && axes <= 3;
    winograd_ = param.has_winograd() ? param.winograd() : DnnlWinograd();
    if (!usable_) {
      VLOG(1) << this->layer_param_.name() << ": stock " << this->type() << ", since "
          << "oneDNN takes floats and 1 to 3 spatial axes";
    }
  }

 protected:
  /// Whether oneDNN takes blobs of the present shapes.
  bool Usable(const vector<Blob<Dtype>*>& bottom,
              const vector<Blob<Dtype>*>& top) const {
    return usable_ && bottom[0]->count() > 0 && top[0]->count() > 0;
  }

  /// Of the convolution that has the layer's weights: from bottoms to tops, or, of a
  /// Deconvolution, from tops to bottoms. Without bias.
  ConvolutionGeometry Geometry() {
    const int axes = this->num_spatial_axes_;
    ConvolutionGeometry geometry;
    geometry.num = this->num_;
    geometry.group = this->group_;
    geometry.input_channels = this->channels_;
    geometry.output_channels = this->num_output_;
    for (int i = 0; i < axes; ++i) {
      geometry.input_shape.push_back(this->input_shape(i + 1));
    }
    geometry.output_shape = this->output_shape_;
    geometry.kernel.assign(this->kernel_shape_.cpu_data(),
                           this->kernel_shape_.cpu_data() + axes);
    geometry.stride.assign(this->stride_.cpu_data(), this->stride_.cpu_data() + axes);
    geometry.pad.assign(this->pad_.cpu_data(), this->pad_.cpu_data() + axes);
    geometry.dilation.assign(this->dilation_.cpu_data(),
                             this->dilation_.cpu_data() + axes);
    geometry.bias = false;
    if (this->reverse_dimensions()) {
      std::swap(geometry.input_channels, geometry.output_channels);
      std::swap(geometry.input_shape, geometry.output_shape);
    }
    return geometry;
  }

  /// Whether a gradient is wanted: of the weights, the bias, any of the bottoms.
  bool WantsWeights() const { return this->param_propagate_down_[0]; }
  bool WantsBias() const { return this->bias_term_ && this->param_propagate_down_[1]; }
  static bool WantsAny(const vector<bool>& propagate_down) {
    return std::find(propagate_down.begin(), propagate_down.end(), true)
        != propagate_down.end();
  }

  /// Usable() layers have floats only; for others this only has to compile.
  static const float* Floats(const Dtype* data) {
    return reinterpret_cast<const float*>(data);
  }
  static float* Floats(Dtype* data) { return reinterpret_cast<float*>(data); }

  DnnlConvolution* Convolution(const ConvolutionGeometry& geometry) {
    return convolutions_.Get(this->layer_param_.name(), geometry, winograd_);
  }

 private:
  bool usable_, winograd_;
  DnnlConvolutions convolutions_;
};

}  // namespace caffe

#endif  // USE_DNNL

#endif  // CAFFE_DNNL_BASE_CONV_LAYER_HPP_
