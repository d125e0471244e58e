#include <algorithm>
#include <random>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/net.hpp"
#include "caffe/util/equal_patches.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

class EqualPatchesTest : public ::testing::Test {
 protected:
  EqualPatchesTest() : random_(1701) { Caffe::set_mode(Caffe::CPU); }

  int Draw(int first, int last) {
    return std::uniform_int_distribution<int>(first, last)(random_);
  }

  // Rectangles of one colour each, as drawings have them, and maybe some noise.
  void Paint(Blob<float>* image, bool noise) {
    const int height = image->height(), width = image->width();
    std::normal_distribution<float> normal;
    for (int n = 0; n < image->num(); ++n) {
      for (int rectangle = 0; rectangle < 6; ++rectangle) {
        const int top = Draw(0, height - 1), bottom = Draw(top, height - 1);
        const int left = Draw(0, width - 1), right = Draw(left, width - 1);
        for (int c = 0; c < image->channels(); ++c) {
          const float colour = normal(random_);
          for (int y = rectangle ? top : 0; y <= (rectangle ? bottom : height - 1); ++y) {
            for (int x = rectangle ? left : 0; x <= (rectangle ? right : width - 1);
                 ++x) {
              image->mutable_cpu_data()[image->offset(n, c, y, x)] = colour
                  + (noise && rectangle == 1 ? normal(random_) : 0);
            }
          }
        }
      }
    }
  }

  static float At(const Blob<float>& blob, int n, int c, int y, int x) {
    return y < 0 || y >= blob.height() || x < 0 || x >= blob.width() ? 0
        : blob.data_at(n, c, y, x);
  }

  static bool SamePatch(const PatchGeometry& g, const Blob<float>& input, int n,
      int group, int y, int x, int there_y, int there_x) {
    const int channels = g.input_channels / g.group;
    for (int c = group * channels; c < (group + 1) * channels; ++c) {
      for (int i = 0; i < g.kernel_h; ++i) {
        for (int j = 0; j < g.kernel_w; ++j) {
          if (At(input, n, c, y - g.pad_h + i, x - g.pad_w + j)
              != At(input, n, c, there_y - g.pad_h + i, there_x - g.pad_w + j)) {
            return false;
          }
        }
      }
    }
    return true;
  }

  static void PutInBlocks(Blob<float>* blob, int block) {
    const vector<float> numbers(blob->cpu_data(), blob->cpu_data() + blob->count());
    float* to = BlobArray::Data(*blob).Overwrite<float>(block);
    const int places = blob->count(2), channels = blob->channels();
    for (int i = 0; i < blob->count(); ++i) {
      const int place = i % places, c = i / places % channels, n = i / places / channels;
      to[((n * channels + c) / block * places + place) * block + c % block] = numbers[i];
    }
  }

  std::mt19937 random_;
};

TEST_F(EqualPatchesTest, TestEqualInputsMakeEqualOutputs) {
  const int steps[][2] =
      {{0, -1}, {-1, 0}, {-1, -1}, {-1, 1}, {0, 1}, {1, 0}, {1, 1}, {1, -1}};
  int equalized = 0, left = 0;
  for (int test = 0; test < 60; ++test) {
    const int group = test % 5 == 0 ? 2 : 1;
    PatchGeometry g = {2, group, 16 * group, 32 * group, Draw(1, 14), Draw(1, 14), 0, 0,
        test % 3 ? 3 : Draw(1, 4), test % 3 ? 3 : Draw(1, 4), Draw(0, 1), Draw(0, 1)};
    g.output_height = g.height + 2 * g.pad_h - g.kernel_h + 1;
    g.output_width = g.width + 2 * g.pad_w - g.kernel_w + 1;
    if (g.output_height < 1 || g.output_width < 1) { continue; }
    Blob<float> input(g.num, g.input_channels, g.height, g.width);
    Paint(&input, test % 2);
    Blob<float> output(g.num, g.output_channels, g.output_height, g.output_width);
    for (int i = 0; i < output.count(); ++i) { output.mutable_cpu_data()[i] = i; }
    Blob<float> input_then, output_then;
    input_then.CopyFrom(input, false, true);
    output_then.CopyFrom(output, false, true);
    const int blocks[] = {1, 8, 16};
    const int input_block = blocks[Draw(0, 2)], output_block = blocks[Draw(0, 2)];
    if (input_block > 1) { PutInBlocks(&input, input_block); }
    if (output_block > 1) { PutInBlocks(&output, output_block); }
    EqualizeOutputs(g, BlobArray::Data(input), BlobArray::Data(output));
    EXPECT_EQ(input_block, BlobArray::Data(input).block());
    EXPECT_EQ(output_block, BlobArray::Data(output).block());
    for (int n = 0; n < g.num; ++n) {
      for (int c = 0; c < g.output_channels; ++c) {
        const int its_group = c / (g.output_channels / group);
        for (int y = 0; y < g.output_height; ++y) {
          for (int x = 0; x < g.output_width; ++x) {
            bool own = true;
            for (const int* step : steps) {
              const int there_y = y + step[0], there_x = x + step[1];
              if (there_y >= 0 && there_y < g.output_height && there_x >= 0
                  && there_x < g.output_width
                  && SamePatch(g, input_then, n, its_group, y, x, there_y, there_x)) {
                own = false;
                ASSERT_EQ(output.data_at(n, c, there_y, there_x),
                    output.data_at(n, c, y, x)) << test << ": " << y << ", " << x;
                ++equalized;
              }
            }
            if (own) {
              ASSERT_EQ(output_then.data_at(n, c, y, x), output.data_at(n, c, y, x))
                  << test << ": " << y << ", " << x;
              ++left;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(equalized, 1000);
  EXPECT_GT(left, 1000);
}

#ifdef USE_DNNL
// Pooling's ties in the flat parts of images are the stock engine's.
TEST_F(EqualPatchesTest, TestSwitchesOfFlatImages) {
  const char network[] =
      "layer { name: 'data' type: 'Input' top: 'data'"
      "  input_param { shape { dim: 4 dim: 16 dim: 32 dim: 32 } } }"
      "layer { name: 'conv1' type: 'Convolution' bottom: 'data' top: 'conv1'"
      "  convolution_param { num_output: 32 kernel_size: 3 pad: 1"
      "    weight_filler { type: 'msra' } bias_filler { type: 'uniform' } } }"
      "layer { name: 'relu1' type: 'ReLU' bottom: 'conv1' top: 'conv1' }"
      "layer { name: 'conv2' type: 'Convolution' bottom: 'conv1' top: 'conv2'"
      "  convolution_param { num_output: 32 kernel_size: 3 pad: 1"
      "    weight_filler { type: 'msra' } bias_filler { type: 'uniform' } } }"
      "layer { name: 'pool' type: 'Pooling' bottom: 'conv2' top: 'pool' top: 'mask'"
      "  pooling_param { kernel_size: 2 stride: 2 } }";
  NetParameter param;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(network, &param));
  param.mutable_state()->set_phase(TEST);
  vector<shared_ptr<Net<float> > > nets;
  for (ConvolutionParameter_Engine engine : {ConvolutionParameter_Engine_CAFFE,
           ConvolutionParameter_Engine_DNNL}) {
    for (int i = 0; i < param.layer_size(); ++i) {
      if (param.layer(i).type() == "Convolution") {
        param.mutable_layer(i)->mutable_convolution_param()->set_engine(engine);
      }
    }
    nets.push_back(shared_ptr<Net<float> >(new Net<float>(param)));
  }
  nets[1]->ShareTrainedLayersWith(nets[0].get());
  Paint(nets[0]->blob_by_name("data").get(), false);
  nets[1]->blob_by_name("data")->CopyFrom(*nets[0]->blob_by_name("data"));
  for (const shared_ptr<Net<float> >& net : nets) { net->Forward(); }
  const Blob<float>& expected = *nets[0]->blob_by_name("mask");
  const Blob<float>& found = *nets[1]->blob_by_name("mask");
  int differ = 0;
  for (int i = 0; i < expected.count(); ++i) {
    differ += expected.cpu_data()[i] != found.cpu_data()[i];
  }
  // Values that are merely near may fall to either side.
  EXPECT_LE(differ, expected.count() / 2000) << "of " << expected.count();
}
#endif  // USE_DNNL

}  // namespace caffe
