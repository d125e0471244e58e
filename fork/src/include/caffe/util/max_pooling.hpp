#ifndef CAFFE_UTIL_MAX_POOLING_HPP_
#define CAFFE_UTIL_MAX_POOLING_HPP_

#include <cstddef>

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

/**
 * @brief The maximum of each window, and its place (the switch), an index in the
 *        plane; CPU, planes in parallel.
 *
 * As stock Caffe's: of equal maxima the first in reading order wins, NaN never
 * does; a window without a value above -FLT_MAX gives -FLT_MAX and the switch -1.
 *
 * @param values    (planes x height x width)
 * @param maxima    (planes x pooled_height x pooled_width)
 * @param switches  as maxima; Index is int or Dtype
 */
template <typename Dtype, typename Index>
void MaxPool(const PoolingGrid& grid, int planes, const Dtype* values,
    Dtype* maxima, Index* switches);

/**
 * @brief Adds each window's value to the place of its switch in a plane of zeros;
 *        CPU, planes in parallel.
 *
 * Switches are expected, not required, to lie in their own windows.
 *
 * @param step      those of plane n start at switches[n * step]: at 0 where all
 *                  planes share them, else pooled_height * pooled_width
 * @param switches  (... x pooled_height x pooled_width); Index is int or Dtype
 * @param values    (planes x pooled_height x pooled_width)
 * @param unpooled  (planes x height x width)
 * @return Whether every switch is a place of the plane. The value of one that is
 *         not, such as -1, is left out.
 */
template <typename Dtype, typename Index>
bool ScatterToSwitches(const PoolingGrid& grid, int planes, ptrdiff_t step,
    const Index* switches, const Dtype* values, Dtype* unpooled);

/**
 * @brief Takes from each plane the value at every window's switch, each of which
 *        must be a place of the plane; CPU, planes in parallel.
 *
 * @param step      those of plane n start at switches[n * step]: at 0 where all
 *                  planes share them, else pooled_height * pooled_width
 * @param switches  (... x pooled_height x pooled_width); Index is int or Dtype
 * @param unpooled  (planes x height x width)
 * @param values    (planes x pooled_height x pooled_width)
 */
template <typename Dtype, typename Index>
void GatherFromSwitches(const PoolingGrid& grid, int planes, ptrdiff_t step,
    const Index* switches, const Dtype* unpooled, Dtype* values);

}  // namespace caffe

#endif  // CAFFE_UTIL_MAX_POOLING_HPP_
