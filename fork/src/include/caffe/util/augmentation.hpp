#ifndef CAFFE_UTIL_AUGMENTATION_HPP_
#define CAFFE_UTIL_AUGMENTATION_HPP_

#ifndef USE_OPENCV
#error "Images are resized with OpenCV: build Caffe with USE_OPENCV=ON."
#endif

#include <opencv2/core/core.hpp>

#include <functional>
#include <vector>

#include "caffe/common.hpp"
#include "caffe/proto/caffe.pb.h"
#include "caffe/util/rng.hpp"

namespace caffe {

/// An image: one Mat of interleaved channels, or one Mat of one channel for each.
typedef vector<cv::Mat> Planes;

/// What is drawn for an image before its size is known; 0 where nothing is random.
struct RandomNumbers {
  unsigned int mirror, shorter_edge, row, column;
};

/// The part of an image that a network sees, and how it sees it.
struct ImageView {
  Planes planes;
  cv::Size whole;    ///< the image's size before the crop
  cv::Point offset;  ///< of the crop
  bool mirror;

  int channels() const {
    return planes.size() == 1 ? planes[0].channels() : planes.size();
  }
  int height() const { return planes[0].rows; }
  int width() const { return planes[0].cols; }
};

/**
 * @brief The geometry of `transform_param`: centre square, size, crop and mirror.
 *
 * In this order: the centre square is taken (`center_square`); the shorter edge resized
 * to `shorter_edge`, in training to one drawn uniformly from `shorter_edge` to
 * `shorter_edge_max`; a square of `crop_size` taken, at random in training, else from
 * the centre; that mirrored with probability 1/2 (`mirror`, in both phases). A field
 * that is 0 or false leaves its step out.
 *
 * Resizing is bilinear (pixel centres at halves) where the image grows and down to half
 * its size; below, each pixel is the mean over the area that it covers.
 *
 * All methods but the constructor may be called from several threads at once.
 */
class Augmentation {
 public:
  /// Fails (CHECK) on fields that contradict each other.
  Augmentation(const TransformationParameter& param, Phase phase);

  bool IsRandom() const;
  bool Resizes() const { return param_.shorter_edge() || param_.center_square(); }

  /// One number of `rng` for each random step: mirror, shorter edge, row, column.
  RandomNumbers Draw(rng_t* rng) const;
  /// How many those are.
  int NumbersPerImage() const;

  /// Fails (CHECK) on an image smaller than the crop, or of floats to be resized.
  /// Of an image whose memory is not OpenCV's the view shares that memory.
  ImageView View(const Planes& image, const RandomNumbers& numbers) const;

  /// The size that View gives an image, with `shorter_edge` for the random one.
  cv::Size ViewSize(cv::Size image) const;

  /// Its shorter edge becomes `shorter_edge`, its longer one in proportion, rounded.
  /// Fails (CHECK) on more than 2^28 pixels.
  static cv::Size Resized(cv::Size image, int shorter_edge);

 private:
  int ShorterEdge(const RandomNumbers& numbers) const;
  void CheckCrop(cv::Size image) const;

  const TransformationParameter param_;
  const Phase phase_;
};

/// The image in a Datum: decoded as `force_color` and `force_gray` say, or its memory.
/// Returns why there is none, a sentence less its beginning and end: it cannot be decoded,
/// or has fewer values than pixels. "" where there is one.
string ReadPlanes(const Datum& datum, const TransformationParameter& param,
    Planes* planes);

/// The same, which fails (LOG(FATAL)) where there is none.
Planes ReadPlanes(const Datum& datum, const TransformationParameter& param);

/// Calls `body` with 0 ... count - 1 from OpenMP's threads (OMP_NUM_THREADS).
void ParallelFor(int count, const std::function<void(int)>& body);

}  // namespace caffe

#endif  // CAFFE_UTIL_AUGMENTATION_HPP_
