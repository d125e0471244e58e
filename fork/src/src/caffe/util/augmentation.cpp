#include <opencv2/core/core.hpp>
#include <opencv2/imgproc/imgproc.hpp>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "caffe/util/augmentation.hpp"
#include "caffe/util/io.hpp"

namespace caffe {

Augmentation::Augmentation(const TransformationParameter& param, Phase phase)
    : param_(param), phase_(phase) {
  const unsigned int edge = param.shorter_edge(), edge_max = param.shorter_edge_max();
  const unsigned int limit = 1 << 15;
  CHECK(edge <= limit && edge_max <= limit) << "transform_param: shorter_edge and "
      << "shorter_edge_max are at most " << limit << " pixels; they are " << edge
      << " and " << edge_max << ".";
  CHECK(edge_max == 0 || edge > 0) << "transform_param: shorter_edge_max " << edge_max
      << " needs a shorter_edge, the smallest length that is drawn.";
  CHECK(edge_max == 0 || edge_max >= edge) << "transform_param: shorter_edge_max "
      << edge_max << " is below shorter_edge " << edge << ".";
  CHECK(edge == 0 || param.crop_size() <= edge) << "transform_param: crop_size "
      << param.crop_size() << " does not fit into images whose shorter edge is "
      << "shorter_edge " << edge << ".";
  CHECK(!(Resizes() && param.has_mean_file())) << "transform_param: a mean_file fits "
      << "images of one size only; with shorter_edge or center_square give mean_value.";
}

bool Augmentation::IsRandom() const {
  return param_.mirror() ||
      (phase_ == TRAIN && (param_.crop_size() || param_.shorter_edge_max()));
}

RandomNumbers Augmentation::Draw(rng_t* rng) const {
  RandomNumbers numbers = {0, 0, 0, 0};
  if (param_.mirror()) { numbers.mirror = (*rng)(); }
  if (phase_ == TRAIN) {
    if (param_.shorter_edge_max()) { numbers.shorter_edge = (*rng)(); }
    if (param_.crop_size()) {
      numbers.row = (*rng)();
      numbers.column = (*rng)();
    }
  }
  return numbers;
}

int Augmentation::NumbersPerImage() const {
  const int in_training = (param_.shorter_edge_max() ? 1 : 0) + (param_.crop_size() ? 2 : 0);
  return (param_.mirror() ? 1 : 0) + (phase_ == TRAIN ? in_training : 0);
}

int Augmentation::ShorterEdge(const RandomNumbers& numbers) const {
  const int edge = param_.shorter_edge();
  if (phase_ != TRAIN || !param_.shorter_edge_max()) { return edge; }
  return edge + numbers.shorter_edge % (param_.shorter_edge_max() - edge + 1);
}

cv::Size Augmentation::Resized(cv::Size image, int shorter_edge) {
  const double edge = shorter_edge, shorter = std::min(image.width, image.height);
  const double pixels = edge * edge * std::max(image.width, image.height) / shorter;
  CHECK_LE(pixels, 1 << 28) << "An image of " << image.height << " x "
      << image.width << " pixels (height x width) would become too large with a "
      << "shorter edge of " << shorter_edge << "; leave it out of the database, or "
      << "give a smaller shorter_edge.";
  return cv::Size(std::rint(image.width * edge / shorter),
                  std::rint(image.height * edge / shorter));
}

void Augmentation::CheckCrop(cv::Size image) const {
  const int crop_size = param_.crop_size();
  CHECK(image.height >= crop_size && image.width >= crop_size) << "An image of "
      << image.height << " x " << image.width << " pixels (height x width) is smaller "
      << "than crop_size " << crop_size << "; with shorter_edge: " << crop_size
      << " in transform_param it would be resized.";
}

cv::Size Augmentation::ViewSize(cv::Size image) const {
  if (param_.center_square()) {
    image.width = image.height = std::min(image.width, image.height);
  }
  if (param_.shorter_edge()) { image = Resized(image, param_.shorter_edge()); }
  CheckCrop(image);
  const int crop_size = param_.crop_size();
  return crop_size ? cv::Size(crop_size, crop_size) : image;
}

static void Crop(const cv::Rect& part, Planes* planes) {
  for (cv::Mat& plane : *planes) { plane = plane(part); }
}

static void Resize(int shorter_edge, Planes* planes) {
  const cv::Size before = (*planes)[0].size();
  const cv::Size size = Augmentation::Resized(before, shorter_edge);
  if (size == before) { return; }
  const bool below_half = std::min(before.width, before.height) >
      2 * std::min(size.width, size.height);
  for (cv::Mat& plane : *planes) {
    cv::Mat resized;
    cv::resize(plane, resized, size, 0, 0,
               below_half ? cv::INTER_AREA : cv::INTER_LINEAR);
    plane = resized;
  }
}

ImageView Augmentation::View(const Planes& image, const RandomNumbers& numbers) const {
  ImageView view = {image, image[0].size(), cv::Point(0, 0), numbers.mirror % 2 == 1};
  CHECK(image[0].data) << "There is no image to transform";
  CHECK(image[0].depth() == CV_8U || image[0].depth() == CV_32F) << "Pixels of an "
      << "image are unsigned bytes, or the floats of a Datum's float_data.";
  CHECK(image[0].depth() == CV_8U || !Resizes()) << "shorter_edge and center_square "
      << "are for images of bytes; this Datum holds floats (float_data).";
  if (param_.center_square()) {
    const int side = std::min(view.whole.width, view.whole.height);
    Crop(cv::Rect((view.whole.width - side) / 2, (view.whole.height - side) / 2,
                  side, side), &view.planes);
  }
  if (param_.shorter_edge()) {
    Resize(ShorterEdge(numbers), &view.planes);
  }
  view.whole = view.planes[0].size();
  CheckCrop(view.whole);
  if (const int crop_size = param_.crop_size()) {
    const int rows = view.whole.height - crop_size;
    const int columns = view.whole.width - crop_size;
    view.offset = phase_ == TRAIN
        ? cv::Point(numbers.column % (columns + 1), numbers.row % (rows + 1))
        : cv::Point(columns / 2, rows / 2);
    Crop(cv::Rect(view.offset, cv::Size(crop_size, crop_size)), &view.planes);
  }
  for (cv::Mat& plane : view.planes) {
    // A crop would keep the whole decoded image, which may be large, in memory.
    if (plane.u && plane.isSubmatrix()) { plane = plane.clone(); }
  }
  return view;
}

static Planes Decoded(const Datum& datum, const TransformationParameter& param) {
  CHECK(!(param.force_color() && param.force_gray()))
      << "cannot set both force_color and force_gray";
  Planes image(1);
  try {
    image[0] = param.force_color() || param.force_gray()
        ? DecodeDatumToCVMat(datum, param.force_color())
        : DecodeDatumToCVMatNative(datum);
  } catch (const cv::Exception&) {
    // Of some bytes, as none at all, or of sizes beyond its limits, OpenCV says it so.
  }
  CHECK(image[0].data) << "A Datum of label " << datum.label() << " says that it is "
      << "encoded, but its " << datum.data().size() << " bytes are no image that "
      << "OpenCV can decode: make the database anew without it.";
  CHECK_EQ(image[0].depth(), CV_8U) << "A Datum of label " << datum.label() << " is an "
      << "image of more than 8 bits a channel; force_color: true or force_gray: true in "
      << "transform_param decodes it to 8.";
  return image;
}

Planes ReadPlanes(const Datum& datum, const TransformationParameter& param) {
  if (datum.encoded()) { return Decoded(datum, param); }
  if (param.force_color() || param.force_gray()) {
    LOG_FIRST_N(ERROR, 1) << "force_color and force_gray only for encoded datum";
  }
  const int channels = datum.channels(), height = datum.height(), width = datum.width();
  CHECK(channels > 0 && height > 0 && width > 0) << "A Datum of label " << datum.label()
      << " has no pixels: " << channels << " x " << height << " x " << width
      << " (channels x height x width).";
  const bool bytes = datum.data().size() > 0;
  const size_t area = static_cast<size_t>(height) * width;
  const size_t values = bytes ? datum.data().size() : datum.float_data_size();
  CHECK_GE(values, channels * area) << "A Datum of label " << datum.label() << " has "
      << channels << " x " << height << " x " << width << " (channels x height x "
      << "width) pixels, but " << values << " values.";
  Planes planes(channels);
  for (int c = 0; c < channels; ++c) {
    // The Mats only read, though their constructor takes no const.
    planes[c] = bytes
        ? cv::Mat(height, width, CV_8UC1, const_cast<char*>(&datum.data()[c * area]))
        : cv::Mat(height, width, CV_32FC1,
                  const_cast<float*>(datum.float_data().data() + c * area));
  }
  return planes;
}

void ParallelFor(int count, const std::function<void(int)>& body) {
  // Once for the whole process: OpenCV's own threads would come on top of these.
  static const bool opencv_is_serial = (cv::setNumThreads(0), true);
  (void)opencv_is_serial;
#pragma omp parallel for schedule(dynamic) if (count > 1)
  for (int i = 0; i < count; ++i) { body(i); }
}

}  // namespace caffe
