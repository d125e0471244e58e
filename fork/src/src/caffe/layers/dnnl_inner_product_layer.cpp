#ifdef USE_DNNL

#include <vector>

#include "caffe/layers/dnnl_inner_product_layer.hpp"
#include "caffe/util/dnnl.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

template <typename Dtype>
void DNNLInnerProductLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  InnerProductLayer<Dtype>::LayerSetUp(bottom, top);
  VLOG(1) << this->layer_param_.name() << ": "
      << (sizeof(Dtype) == sizeof(float) ? "oneDNN's sgemm"
          : "stock InnerProduct, since oneDNN takes floats");
}

template <>
void DNNLInnerProductLayer<double>::Forward_cpu(const vector<Blob<double>*>& bottom,
    const vector<Blob<double>*>& top) {
  InnerProductLayer<double>::Forward_cpu(bottom, top);
}

template <>
void DNNLInnerProductLayer<double>::Backward_cpu(const vector<Blob<double>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<double>*>& bottom) {
  InnerProductLayer<double>::Backward_cpu(top, propagate_down, bottom);
}

// C += A B, or C = A B where `add` is false: row-major, A rows x inner and B
// inner x columns once they are transposed.
static void Product(bool transpose_a, bool transpose_b, int rows, int columns, int inner,
    const float* a, const float* b, bool add, float* c) {
  CHECK(dnnl::sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', rows, columns,
      inner, 1, a, transpose_a ? rows : inner, b, transpose_b ? inner : columns,
      add ? 1 : 0, c, columns) == dnnl::status::success)
      << "oneDNN refuses a product of " << rows << " x " << inner << " and " << inner
      << " x " << columns;
}

template <>
void DNNLInnerProductLayer<float>::Forward_cpu(const vector<Blob<float>*>& bottom,
    const vector<Blob<float>*>& top) {
  float* top_data = top[0]->mutable_cpu_data();
  if (bias_term_) {
    for (int row = 0; row < M_; ++row) {
      caffe_copy(N_, blobs_[1]->cpu_data(), top_data + static_cast<size_t>(row) * N_);
    }
  }
  Product(false, !transpose_, M_, N_, K_, bottom[0]->cpu_data(), blobs_[0]->cpu_data(),
          bias_term_, top_data);
}

template <>
void DNNLInnerProductLayer<float>::Backward_cpu(const vector<Blob<float>*>& top,
    const vector<bool>& propagate_down, const vector<Blob<float>*>& bottom) {
  const float* top_diff = top[0]->cpu_diff();
  if (this->param_propagate_down_[0]) {
    const float* bottom_data = bottom[0]->cpu_data();
    float* weights_diff = this->blobs_[0]->mutable_cpu_diff();
    if (transpose_) {
      Product(true, false, K_, N_, M_, bottom_data, top_diff, true, weights_diff);
    } else {
      Product(true, false, N_, K_, M_, top_diff, bottom_data, true, weights_diff);
    }
  }
  if (bias_term_ && this->param_propagate_down_[1]) {
    Product(false, false, 1, N_, M_, bias_multiplier_.cpu_data(), top_diff, true,
            blobs_[1]->mutable_cpu_diff());
  }
  if (propagate_down[0]) {
    Product(false, transpose_, M_, K_, N_, top_diff, blobs_[0]->cpu_data(), false,
            bottom[0]->mutable_cpu_diff());
  }
}

INSTANTIATE_CLASS(DNNLInnerProductLayer);

}  // namespace caffe

#endif  // USE_DNNL
