#ifndef CAFFE_UTIL_EQUAL_PATCHES_HPP_
#define CAFFE_UTIL_EQUAL_PATCHES_HPP_

#include "caffe/util/channel_layout.hpp"

namespace caffe {

/// A convolution of two spatial axes, stride 1 and no dilation.
struct PatchGeometry {
  int num, group;
  int input_channels, output_channels;
  int height, width;  ///< of the input
  int output_height, output_width;
  int kernel_h, kernel_w;
  int pad_h, pad_w;
};

/**
 * @brief Gives neighbouring outputs of a convolution the same value where they see the
 *    same inputs; CPU, images in parallel.
 *
 * They have it wherever all outputs are computed alike. Winograd's algorithm computes
 * tiles, each place of which rounds in a way of its own, so that in the flat parts of an
 * image the maximum of a pooling window would be anywhere instead of at its first place.
 *
 * @param input   (num x input_channels x height x width), floats
 * @param output  (num x output_channels x output_height x output_width), floats
 */
void EqualizeOutputs(const PatchGeometry& geometry, const BlobArray& input,
    const BlobArray& output);

}  // namespace caffe

#endif  // CAFFE_UTIL_EQUAL_PATCHES_HPP_
