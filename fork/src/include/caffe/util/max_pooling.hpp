#ifndef CAFFE_UTIL_MAX_POOLING_HPP_
#define CAFFE_UTIL_MAX_POOLING_HPP_

#include "caffe/util/channel_layout.hpp"
#include "caffe/util/pooling_grid.hpp"

namespace caffe {

/**
 * @brief The maximum of each window, and its place (the switch), an index in the
 *        plane; CPU, planes in parallel.
 *
 * As stock Caffe's: of equal maxima the first in reading order wins, NaN never
 * does; a window without a value above -FLT_MAX gives -FLT_MAX and the switch -1.
 *
 * Here and below, `block` is 1, 8 or 16: in memory so many neighbouring planes lie as
 * one plane whose places hold `block` values (ChannelLayout).
 *
 * @param planes    a multiple of block
 * @param values    (planes x height x width)
 * @param maxima    (planes x pooled_height x pooled_width)
 * @param switches  as maxima; Index is int or Dtype
 */
template <typename Dtype, typename Index>
void MaxPool(const PoolingGrid& grid, int planes, int block, const Dtype* values,
    Dtype* maxima, Index* switches);

/**
 * @brief Adds each window's value to the place of its switch in a plane of zeros;
 *        CPU, planes in parallel.
 *
 * Switches are expected, not required, to lie in their own windows.
 *
 * @param shared    whether there is one plane of switches for all
 * @param switches  (planes x pooled_height x pooled_width), or (pooled_height x
 *                  pooled_width); Index is int or Dtype
 * @param values    (planes x pooled_height x pooled_width)
 * @param unpooled  (planes x height x width)
 * @return Whether every switch is a place of the plane. The value of one that is
 *         not, such as -1, is left out.
 */
template <typename Dtype, typename Index>
bool ScatterToSwitches(const PoolingGrid& grid, int planes, int block, bool shared,
    const Index* switches, const Dtype* values, Dtype* unpooled);

/**
 * @brief Takes from each plane the value at every window's switch, each of which
 *        must be a place of the plane; CPU, planes in parallel.
 *
 * @param shared    whether there is one plane of switches for all
 * @param switches  (planes x pooled_height x pooled_width), or (pooled_height x
 *                  pooled_width); Index is int or Dtype
 * @param unpooled  (planes x height x width)
 * @param values    (planes x pooled_height x pooled_width)
 */
template <typename Dtype, typename Index>
void GatherFromSwitches(const PoolingGrid& grid, int planes, int block, bool shared,
    const Index* switches, const Dtype* unpooled, Dtype* values);

/// As MaxPool, in blocks if the values lie so and the other two take them.
template <typename Dtype, typename Index>
inline void MaxPool(const PoolingGrid& grid, int planes, const BlobArray& values,
    const BlobArray& maxima, const BlobArray& switches) {
  const int block = CommonBlock({values}, {maxima, switches});
  MaxPool(grid, planes, block, values.Read<Dtype>(block),
      maxima.Overwrite<Dtype>(block), switches.Overwrite<Index>(block));
}

/// As ScatterToSwitches, in blocks if both inputs lie so and the output takes them.
template <typename Dtype, typename Index>
inline bool ScatterToSwitches(const PoolingGrid& grid, int planes,
    const BlobArray& switches, const BlobArray& values, const BlobArray& unpooled) {
  const int block = CommonBlock({switches, values}, {unpooled});
  return ScatterToSwitches(grid, planes, block, false, switches.Read<Index>(block),
      values.Read<Dtype>(block), unpooled.Overwrite<Dtype>(block));
}

/// As GatherFromSwitches.
template <typename Dtype, typename Index>
inline void GatherFromSwitches(const PoolingGrid& grid, int planes,
    const BlobArray& switches, const BlobArray& unpooled, const BlobArray& values) {
  const int block = CommonBlock({switches, unpooled}, {values});
  GatherFromSwitches(grid, planes, block, false, switches.Read<Index>(block),
      unpooled.Read<Dtype>(block), values.Overwrite<Dtype>(block));
}

}  // namespace caffe

#endif  // CAFFE_UTIL_MAX_POOLING_HPP_
