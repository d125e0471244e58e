#ifndef CAFFE_UTIL_POOLING_GRID_HPP_
#define CAFFE_UTIL_POOLING_GRID_HPP_

namespace caffe {

/// How pooling's windows lie on a plane. Window (i, j) starts at
/// (i * stride_h - pad_h, j * stride_w - pad_w); what of it is outside is cut off.
struct PoolingGrid {
  int height, width;
  int pooled_height, pooled_width;
  int kernel_h, kernel_w;
  int stride_h, stride_w;
  int pad_h, pad_w;
};

}  // namespace caffe

#endif  // CAFFE_UTIL_POOLING_GRID_HPP_
