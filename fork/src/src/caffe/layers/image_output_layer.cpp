#ifdef USE_OPENCV
#include <opencv2/core/core.hpp>
#include <opencv2/highgui/highgui.hpp>

#include <boost/filesystem.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>  // NOLINT(readability/streams)
#include <iomanip>
#include <sstream>
#include <string>
#include <vector>

#include "caffe/layers/image_output_layer.hpp"
#include "caffe/util/math_functions.hpp"

namespace caffe {

// Under a temporary name first, so that no reader meets half a file.
static void WriteWhole(const vector<uchar>& bytes, const string& name) {
  const string part = name + ".part";
  std::ofstream file(part.c_str(), std::ios::binary);
  file.write(reinterpret_cast<const char*>(&bytes[0]), bytes.size());
  file.close();
  CHECK(file && std::rename(part.c_str(), name.c_str()) == 0)
      << "Cannot write the image " << name << ": " << std::strerror(errno);
}

template <typename Dtype>
string ImageOutputLayer<Dtype>::FileName(int index) const {
  const ImageOutputParameter& param = this->layer_param_.image_output_param();
  std::ostringstream name;
  name << param.output_prefix() << std::setw(param.filename_padding())
      << std::setfill('0') << index << ".png";
  return name.str();
}

template <typename Dtype>
void ImageOutputLayer<Dtype>::LayerSetUp(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  next_index_ = this->layer_param_.image_output_param().base_idx();
}

template <typename Dtype>
void ImageOutputLayer<Dtype>::Reshape(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  CHECK_EQ(4, bottom[0]->num_axes()) << "ImageOutput expects a bottom of 4 axes "
      << "(num, channels, height, width); its shape is "
      << bottom[0]->shape_string() << ".";
  CHECK(bottom[0]->channels() == 1 || bottom[0]->channels() == 3)
      << "ImageOutput writes 1 channel (grey) or 3 (blue, green, red); its bottom "
      << "has " << bottom[0]->channels() << ".";
}

template <typename Dtype>
void ImageOutputLayer<Dtype>::Forward_cpu(const vector<Blob<Dtype>*>& bottom,
      const vector<Blob<Dtype>*>& top) {
  const ImageOutputParameter& param = this->layer_param_.image_output_param();
  const int channels = bottom[0]->channels();
  const int height = bottom[0]->height();
  const int width = bottom[0]->width();
  const boost::filesystem::path folder =
      boost::filesystem::path(FileName(next_index_)).parent_path();
  if (!folder.empty()) {
    boost::system::error_code error;
    boost::filesystem::create_directories(folder, error);
    CHECK(boost::filesystem::is_directory(folder)) << "Cannot make the folder "
        << folder.string() << " for images: " << error.message();
  }
  cv::Mat image(height, width, CV_8UC(channels));
  vector<uchar> bytes;
  for (int n = 0; n < bottom[0]->num(); ++n) {
    for (int c = 0; c < channels; ++c) {
      const Dtype* values = bottom[0]->cpu_data() + bottom[0]->offset(n, c);
      for (int y = 0; y < height; ++y) {
        uchar* row = image.ptr<uchar>(y) + c;
        for (int x = 0; x < width; ++x) {
          const Dtype level = 255 * (param.scale() * *values++ + param.offset());
          // In this order a NaN becomes 0.
          row[x * channels] =
              cvRound(std::min(std::max(Dtype(0), level), Dtype(255)));
        }
      }
    }
    CHECK(cv::imencode(".png", image, bytes)) << "Cannot encode a PNG image of "
        << height << " x " << width << ".";
    WriteWhole(bytes, FileName(next_index_++));
  }
}

template <typename Dtype>
void ImageOutputLayer<Dtype>::Backward_cpu(const vector<Blob<Dtype>*>& top,
      const vector<bool>& propagate_down, const vector<Blob<Dtype>*>& bottom) {
  if (propagate_down[0]) {
    caffe_set(bottom[0]->count(), Dtype(0), bottom[0]->mutable_cpu_diff());
  }
}

INSTANTIATE_CLASS(ImageOutputLayer);
REGISTER_LAYER_CLASS(ImageOutput);

}  // namespace caffe
#endif  // USE_OPENCV
