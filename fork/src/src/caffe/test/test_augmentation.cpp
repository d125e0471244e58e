#include <opencv2/core/core.hpp>
#include <opencv2/highgui/highgui.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/data_transformer.hpp"
#include "caffe/util/augmentation.hpp"
#include "caffe/util/io.hpp"
#include "caffe/util/math_functions.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

static cv::Mat Noise(int height, int width, int type, int seed) {
  cv::Mat image(height, width, type);
  cv::RNG(seed).fill(image, cv::RNG::UNIFORM, 0, 256);
  return image;
}

static TransformationParameter Edges(int shorter_edge, int shorter_edge_max) {
  TransformationParameter param;
  param.set_shorter_edge(shorter_edge);
  param.set_shorter_edge_max(shorter_edge_max);
  return param;
}

static cv::Mat ViewOf(const TransformationParameter& param, const cv::Mat& image) {
  const RandomNumbers none = {0, 0, 0, 0};
  return Augmentation(param, TEST).View(Planes(1, image), none).planes[0];
}

// What a pixel of the result covers of one axis: a weight for each pixel of the image.
static vector<double> Weights(int to, int i, int from, bool area) {
  const double scale = static_cast<double>(from) / to;
  vector<double> weights(from);
  for (int j = 0; j < from; ++j) {
    if (area) {
      const double overlap = std::min<double>(j + 1, (i + 1) * scale) -
          std::max<double>(j, i * scale);
      weights[j] = std::max(0., overlap) / scale;
    } else {
      const double place =
          std::min(std::max((i + 0.5) * scale - 0.5, 0.), from - 1.);
      weights[j] = std::max(0., 1 - std::abs(place - j));
    }
  }
  return weights;
}

static void ExpectResized(const cv::Mat& image, const cv::Mat& resized, bool area) {
  for (int y = 0; y < resized.rows; ++y) {
    const vector<double> rows = Weights(resized.rows, y, image.rows, area);
    for (int x = 0; x < resized.cols; ++x) {
      const vector<double> columns = Weights(resized.cols, x, image.cols, area);
      for (int c = 0; c < 3; ++c) {
        double expected = 0;
        for (int v = 0; v < image.rows; ++v) {
          for (int u = 0; rows[v] && u < image.cols; ++u) {
            expected += rows[v] * columns[u] * image.at<cv::Vec3b>(v, u)[c];
          }
        }
        ASSERT_NEAR(expected, resized.at<cv::Vec3b>(y, x)[c], 1) << y << " " << x;
      }
    }
  }
}

TEST(AugmentationTest, TestResizedSize) {
  EXPECT_EQ(cv::Size(341, 256), Augmentation::Resized(cv::Size(500, 375), 256));
  EXPECT_EQ(cv::Size(256, 341), Augmentation::Resized(cv::Size(375, 500), 256));
  EXPECT_EQ(cv::Size(768, 512), Augmentation::Resized(cv::Size(300, 200), 512));
  EXPECT_EQ(cv::Size(256, 256), Augmentation::Resized(cv::Size(3, 3), 256));
  EXPECT_EQ(cv::Size(9, 7), Augmentation::Resized(cv::Size(9, 7), 7));
  // Halves go to the even number.
  EXPECT_EQ(cv::Size(2, 1), Augmentation::Resized(cv::Size(3, 2), 1));
  EXPECT_EQ(cv::Size(2, 1), Augmentation::Resized(cv::Size(5, 2), 1));
}

TEST(AugmentationTest, TestTooLargeIsRefused) {
  const Augmentation large(Edges(1 << 15, 0), TEST);
  // 2^15 * 10^6 columns are more than an int holds.
  EXPECT_DEATH(large.ViewSize(cv::Size(1000000, 1)), "would become too large");
}

TEST(AugmentationTest, TestResampling) {
  const cv::Mat image = Noise(40, 55, CV_8UC3, 1701);
  const int edges[] = {64, 41, 39, 23, 20, 19, 13, 5, 1};
  for (int edge : edges) {
    const cv::Mat resized = ViewOf(Edges(edge, 0), image);
    ASSERT_EQ(edge, resized.rows);
    ExpectResized(image, resized, edge < 20);
  }
}

TEST(AugmentationTest, TestRightSizeIsUntouched) {
  const cv::Mat image = Noise(40, 55, CV_8UC3, 1702);
  EXPECT_EQ(0, cv::norm(ViewOf(Edges(40, 0), image), image, cv::NORM_INF));
}

TEST(AugmentationTest, TestCenterSquare) {
  TransformationParameter param;
  param.set_center_square(true);
  const cv::Mat wide = Noise(40, 55, CV_8UC3, 1703);
  EXPECT_EQ(0, cv::norm(ViewOf(param, wide), wide(cv::Rect(7, 0, 40, 40)),
                        cv::NORM_INF));
  const cv::Mat high = wide.t();
  EXPECT_EQ(0, cv::norm(ViewOf(param, high), high(cv::Rect(0, 7, 40, 40)),
                        cv::NORM_INF));
  EXPECT_EQ(cv::Size(40, 40), Augmentation(param, TEST).ViewSize(wide.size()));
}

TEST(AugmentationTest, TestEveryEdgeAndPlaceIsReached) {
  TransformationParameter param = Edges(8, 12);
  param.set_crop_size(6);
  param.set_mirror(true);
  const Augmentation augmentation(param, TRAIN);
  const Planes image(1, Noise(20, 30, CV_8UC3, 1704));
  for (unsigned int i = 0; i < 5; ++i) {
    for (unsigned int row = 0; row < 3; ++row) {
      const RandomNumbers numbers = {i, 10 + i, row + (i + 3) * 1000, i};
      const ImageView view = augmentation.View(image, numbers);
      EXPECT_EQ(8 + i, view.whole.height);
      EXPECT_EQ(Augmentation::Resized(cv::Size(30, 20), 8 + i), view.whole);
      EXPECT_EQ((row + (i + 3) * 1000) % (3 + i), view.offset.y);
      EXPECT_EQ(i, view.offset.x);
      EXPECT_EQ(i % 2 == 1, view.mirror);
      EXPECT_EQ(cv::Size(6, 6), view.planes[0].size());
    }
  }
}

TEST(AugmentationTest, TestCropLetsTheImageGo) {
  TransformationParameter param;
  param.set_crop_size(6);
  const cv::Mat crop = ViewOf(param, Noise(20, 30, CV_8UC3, 1705));
  EXPECT_TRUE(crop.isContinuous());
  EXPECT_EQ(6 * 6 * 3, crop.dataend - crop.datastart);
}

TEST(AugmentationTest, TestParallelForCallsEachOnce) {
  vector<int> calls(1000, 0);
  ParallelFor(calls.size(), [&](int i) { ++calls[i]; });
  EXPECT_EQ(vector<int>(1000, 1), calls);
  ParallelFor(0, [&](int i) { ++calls[i]; });
  EXPECT_EQ(vector<int>(1000, 1), calls);
}

template <typename Dtype>
class AugmentedTransformTest : public ::testing::Test {
 protected:
  // Images of several sizes, as raw Datums and as encoded ones.
  AugmentedTransformTest() {
    for (int i = 0; i < 7; ++i) {
      const cv::Mat image = Noise(40 + i, 60 - 3 * i, CV_8UC3, i);
      Datum raw, encoded;
      CVMatToDatum(image, &raw);
      raws_.push_back(raw);
      vector<uchar> bytes;
      cv::imencode(".png", image, bytes);
      encoded.set_data(string(bytes.begin(), bytes.end()));
      encoded.set_encoded(true);
      encodeds_.push_back(encoded);
    }
  }

  static TransformationParameter Crop(int crop_size) {
    TransformationParameter param;
    param.set_crop_size(crop_size);
    param.set_mirror(true);
    param.set_scale(0.25);
    return param;
  }

  static vector<Dtype> Values(const Blob<Dtype>& blob) {
    return vector<Dtype>(blob.cpu_data(), blob.cpu_data() + blob.count());
  }

  static vector<Dtype> Batch(const TransformationParameter& param, Phase phase,
      const vector<Datum>& datums) {
    Caffe::set_random_seed(1701);
    DataTransformer<Dtype> transformer(param, phase);
    transformer.InitRand();
    Blob<Dtype> blob(datums.size(), 3, param.crop_size(), param.crop_size());
    transformer.Transform(datums, &blob);
    return Values(blob);
  }

  static vector<Dtype> OneByOne(const TransformationParameter& param, Phase phase,
      const vector<Datum>& datums) {
    Caffe::set_random_seed(1701);
    DataTransformer<Dtype> transformer(param, phase);
    transformer.InitRand();
    Blob<Dtype> blob(1, 3, param.crop_size(), param.crop_size());
    vector<Dtype> all;
    for (const Datum& datum : datums) {
      transformer.Transform(datum, &blob);
      const vector<Dtype> one = Values(blob);
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  }

  // What stock Caffe makes of the Datums, with `mean` for a channel and its place.
  template <typename Mean>
  static vector<Dtype> Stock(const TransformationParameter& param, Phase phase,
      const vector<Datum>& datums, const Mean& mean) {
    Caffe::set_random_seed(1701);
    rng_t rng(caffe_rng_rand());
    const int crop = param.crop_size();
    vector<Dtype> all;
    for (const Datum& datum : datums) {
      const int height = datum.height(), width = datum.width();
      const bool mirror = param.mirror() && rng() % 2;
      int row = (height - crop) / 2, column = (width - crop) / 2;
      if (phase == TRAIN) {
        row = rng() % (height - crop + 1);
        column = rng() % (width - crop + 1);
      }
      for (int c = 0; c < 3; ++c) {
        for (int y = row; y < row + crop; ++y) {
          for (int i = 0; i < crop; ++i) {
            const int x = column + (mirror ? crop - 1 - i : i);
            const int place = (c * height + y) * width + x;
            const Dtype pixel = datum.data().size()
                ? static_cast<Dtype>(static_cast<uint8_t>(datum.data()[place]))
                : static_cast<Dtype>(datum.float_data(place));
            all.push_back((pixel - mean(c, y, x)) * Dtype(param.scale()));
          }
        }
      }
    }
    return all;
  }

  vector<Datum> raws_, encodeds_;
};

TYPED_TEST_CASE(AugmentedTransformTest, TestDtypes);

TYPED_TEST(AugmentedTransformTest, TestStockCropAndMirror) {
  const Phase phases[] = {TRAIN, TEST};
  for (Phase phase : phases) {
    TransformationParameter param = this->Crop(32);
    const vector<TypeParam> expected = this->Stock(param, phase, this->raws_,
        [](int, int, int) { return TypeParam(0); });
    EXPECT_EQ(expected, this->Batch(param, phase, this->raws_));
    EXPECT_EQ(expected, this->Batch(param, phase, this->encodeds_));
    EXPECT_EQ(expected, this->OneByOne(param, phase, this->raws_));
    EXPECT_EQ(expected, this->OneByOne(param, phase, this->encodeds_));
  }
}

TYPED_TEST(AugmentedTransformTest, TestStockMeanValues) {
  TransformationParameter param = this->Crop(32);
  param.add_mean_value(104.1);
  const auto mean = [&](int c, int, int) {
    return TypeParam(param.mean_value(c % param.mean_value_size()));
  };
  EXPECT_EQ(this->Batch(param, TRAIN, this->encodeds_),
            this->Stock(param, TRAIN, this->raws_, mean));
  param.add_mean_value(116.7);
  param.add_mean_value(122.7);
  EXPECT_EQ(this->Batch(param, TRAIN, this->encodeds_),
            this->Stock(param, TRAIN, this->raws_, mean));
}

TYPED_TEST(AugmentedTransformTest, TestStockMeanFile) {
  const int height = this->raws_[0].height(), width = this->raws_[0].width();
  Blob<TypeParam> mean(1, 3, height, width);
  for (int i = 0; i < mean.count(); ++i) {
    mean.mutable_cpu_data()[i] = TypeParam(i) / 8;
  }
  BlobProto proto;
  mean.ToProto(&proto);
  string file;
  MakeTempFilename(&file);
  WriteProtoToBinaryFile(proto, file);
  TransformationParameter param = this->Crop(32);
  param.set_mean_file(file);
  this->raws_.assign(5, this->raws_[0]);
  this->encodeds_.assign(5, this->encodeds_[0]);
  const vector<TypeParam> expected = this->Stock(param, TRAIN, this->raws_,
      [&](int c, int y, int x) { return mean.data_at(0, c, y, x); });
  EXPECT_EQ(expected, this->Batch(param, TRAIN, this->raws_));
  EXPECT_EQ(expected, this->Batch(param, TRAIN, this->encodeds_));
}

TYPED_TEST(AugmentedTransformTest, TestStockFloats) {
  TransformationParameter param = this->Crop(32);
  vector<Datum> floats = this->raws_;
  for (Datum& datum : floats) {
    for (char byte : datum.data()) { datum.add_float_data(byte / 7.f); }
    datum.clear_data();
  }
  const auto zero = [](int, int, int) { return TypeParam(0); };
  EXPECT_EQ(this->Batch(param, TRAIN, floats),
            this->Stock(param, TRAIN, floats, zero));
}

TYPED_TEST(AugmentedTransformTest, TestBatchIsOneByOne) {
  TransformationParameter param = this->Crop(16);
  param.set_shorter_edge(18);
  param.set_shorter_edge_max(70);
  const vector<TypeParam> expected = this->OneByOne(param, TRAIN, this->encodeds_);
  EXPECT_EQ(expected, this->Batch(param, TRAIN, this->encodeds_));
  EXPECT_EQ(expected, this->Batch(param, TRAIN, this->raws_));
  param.set_center_square(true);
  EXPECT_NE(expected, this->Batch(param, TRAIN, this->raws_));
  EXPECT_EQ(this->OneByOne(param, TRAIN, this->raws_),
            this->Batch(param, TRAIN, this->encodeds_));
}

TYPED_TEST(AugmentedTransformTest, TestWholeImageShape) {
  DataTransformer<TypeParam> transformer(Edges(20, 0), TEST);
  const int height = this->raws_[0].height(), width = this->raws_[0].width();
  const cv::Size size = Augmentation::Resized(cv::Size(width, height), 20);
  const int expected[] = {1, 3, size.height, size.width};
  const vector<int> shape(expected, expected + 4);
  EXPECT_EQ(shape, transformer.InferBlobShape(this->raws_[0]));
  EXPECT_EQ(shape, transformer.InferBlobShape(this->encodeds_[0]));
  Blob<TypeParam> raw(shape), encoded(shape);
  transformer.Transform(this->raws_[0], &raw);
  transformer.Transform(this->encodeds_[0], &encoded);
  EXPECT_EQ(this->Values(raw), this->Values(encoded));
}

}  // namespace caffe
