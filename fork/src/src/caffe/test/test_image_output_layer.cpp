#ifdef USE_OPENCV
#include <opencv2/core/core.hpp>
#include <opencv2/highgui/highgui.hpp>

#include <boost/filesystem.hpp>

#include <fstream>  // NOLINT(readability/streams)
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/layers/image_output_layer.hpp"
#include "caffe/util/io.hpp"
#include "caffe/util/math_functions.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

template <typename TypeParam>
class ImageOutputLayerTest : public MultiDeviceTest<TypeParam> {
  typedef typename TypeParam::Dtype Dtype;

 protected:
  ImageOutputLayerTest() : images_(2, 3, 4, 5), bottom_(1, &images_) {
    MakeTempDir(&folder_);
    // Every level of the 120 values is another, 0 to 238.
    Dtype* values = images_.mutable_cpu_data();
    for (int i = 0; i < images_.count(); ++i) {
      values[i] = Dtype(2 * i) / 255;
    }
    param_ = layer_param_.mutable_image_output_param();
    param_->set_output_prefix(folder_ + "/image_");
  }
  virtual ~ImageOutputLayerTest() { boost::filesystem::remove_all(folder_); }

  void Forward(int times = 1) {
    ImageOutputLayer<Dtype> layer(layer_param_);
    layer.SetUp(bottom_, top_);
    for (int i = 0; i < times; ++i) {
      layer.Forward(bottom_, top_);
    }
  }

  cv::Mat Read(const string& name) {
    return cv::imread(folder_ + "/" + name, cv::IMREAD_UNCHANGED);
  }

  int NumFiles() {
    int count = 0;
    for (boost::filesystem::recursive_directory_iterator file(folder_), end;
         file != end; ++file) {
      count += boost::filesystem::is_regular_file(*file);
    }
    return count;
  }

  string folder_;
  LayerParameter layer_param_;
  ImageOutputParameter* param_;
  Blob<Dtype> images_;
  vector<Blob<Dtype>*> bottom_, top_;
};

TYPED_TEST_CASE(ImageOutputLayerTest, TestDtypesAndDevices);

TYPED_TEST(ImageOutputLayerTest, TestColour) {
  this->Forward();
  EXPECT_EQ(2, this->NumFiles());
  for (int n = 0; n < 2; ++n) {
    const cv::Mat image = this->Read(n ? "image_0000000001.png"
                                       : "image_0000000000.png");
    ASSERT_EQ(CV_8UC3, image.type());
    ASSERT_EQ(4, image.rows);
    ASSERT_EQ(5, image.cols);
    for (int y = 0; y < 4; ++y) {
      for (int x = 0; x < 5; ++x) {
        const cv::Vec3b pixel = image.at<cv::Vec3b>(y, x);
        for (int c = 0; c < 3; ++c) {  // blue, green, red, as OpenCV reads them
          EXPECT_EQ(2 * (((n * 3 + c) * 4 + y) * 5 + x), pixel[c]);
        }
      }
    }
  }
}

TYPED_TEST(ImageOutputLayerTest, TestGreyRoundedAndClamped) {
  typedef typename TypeParam::Dtype Dtype;
  const Dtype kNaN = std::numeric_limits<Dtype>::quiet_NaN();
  const Dtype kInf = std::numeric_limits<Dtype>::infinity();
  const Dtype values[] = {0, 1, Dtype(0.4 / 255), Dtype(0.6 / 255),
      Dtype(254.4 / 255), Dtype(-0.1), Dtype(1.1), Dtype(1e30), -kInf, kInf, kNaN};
  const int levels[] = {0, 255, 0, 1, 254, 0, 255, 255, 0, 255, 0};
  this->images_.Reshape(1, 1, 1, 11);
  caffe_copy(11, values, this->images_.mutable_cpu_data());
  this->Forward();
  const cv::Mat image = this->Read("image_0000000000.png");
  ASSERT_EQ(CV_8UC1, image.type());
  ASSERT_EQ(11, image.cols);
  for (int i = 0; i < 11; ++i) {
    EXPECT_EQ(levels[i], image.at<uchar>(0, i)) << values[i];
  }
}

TYPED_TEST(ImageOutputLayerTest, TestScaleAndOffset) {
  this->param_->set_scale(0.5);
  this->param_->set_offset(0.25);
  this->images_.Reshape(1, 1, 1, 3);
  this->images_.mutable_cpu_data()[0] = -0.5;
  this->images_.mutable_cpu_data()[1] = 0.2;
  this->images_.mutable_cpu_data()[2] = 1;
  this->Forward();
  const cv::Mat image = this->Read("image_0000000000.png");
  EXPECT_EQ(0, image.at<uchar>(0, 0));
  EXPECT_EQ(89, image.at<uchar>(0, 1));   // 89.25
  EXPECT_EQ(191, image.at<uchar>(0, 2));  // 191.25
}

TYPED_TEST(ImageOutputLayerTest, TestNumbersGoOn) {
  this->param_->set_base_idx(98);
  this->param_->set_filename_padding(2);
  this->Forward(2);
  EXPECT_EQ(4, this->NumFiles());
  EXPECT_FALSE(this->Read("image_98.png").empty());
  EXPECT_FALSE(this->Read("image_99.png").empty());
  EXPECT_FALSE(this->Read("image_100.png").empty());
  EXPECT_FALSE(this->Read("image_101.png").empty());
}

TYPED_TEST(ImageOutputLayerTest, TestMakesFolders) {
  this->param_->set_output_prefix(this->folder_ + "/a/b/");
  this->Forward();
  EXPECT_FALSE(this->Read("a/b/0000000000.png").empty());
  EXPECT_FALSE(this->Read("a/b/0000000001.png").empty());
  EXPECT_EQ(2, this->NumFiles());
}

TYPED_TEST(ImageOutputLayerTest, TestReshaped) {
  typedef typename TypeParam::Dtype Dtype;
  ImageOutputLayer<Dtype> layer(this->layer_param_);
  layer.SetUp(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  this->images_.Reshape(1, 1, 7, 2);
  layer.Reshape(this->bottom_, this->top_);
  layer.Forward(this->bottom_, this->top_);
  const cv::Mat image = this->Read("image_0000000002.png");
  EXPECT_EQ(CV_8UC1, image.type());
  EXPECT_EQ(7, image.rows);
  EXPECT_EQ(2, image.cols);
}

TYPED_TEST(ImageOutputLayerTest, TestGradientIsZero) {
  typedef typename TypeParam::Dtype Dtype;
  ImageOutputLayer<Dtype> layer(this->layer_param_);
  layer.SetUp(this->bottom_, this->top_);
  caffe_set(this->images_.count(), Dtype(77), this->images_.mutable_cpu_diff());
  layer.Backward(this->top_, vector<bool>(1, true), this->bottom_);
  EXPECT_EQ(0, this->images_.asum_diff());
}

TYPED_TEST(ImageOutputLayerTest, TestRefusesOtherChannels) {
  this->images_.Reshape(2, 2, 4, 5);
  EXPECT_DEATH(this->Forward(), "1 channel .*or 3 .*has 2");
  this->images_.Reshape(vector<int>(3, 3));
  EXPECT_DEATH(this->Forward(), "4 axes .*3 3 3 ");
}

TYPED_TEST(ImageOutputLayerTest, TestRefusesWhereItCannotWrite) {
  // A file where the folder should be, and a folder where the file should be.
  const string taken = this->folder_ + "/taken";
  std::ofstream(taken.c_str()) << "a file";
  this->param_->set_output_prefix(taken + "/");
  EXPECT_DEATH(this->Forward(), "Cannot make the folder " + taken);
  this->param_->set_output_prefix(this->folder_ + "/");
  boost::filesystem::create_directory(this->folder_ + "/0000000000.png");
  EXPECT_DEATH(this->Forward(), "Cannot write the image " + this->folder_ +
      "/0000000000.png");
}

}  // namespace caffe
#endif  // USE_OPENCV
