#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/layer.hpp"
#include "caffe/layer_factory.hpp"
#include "caffe/net.hpp"
#include "caffe/syncedmem.hpp"
#include "caffe/util/channel_layout.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

// Row-major numbers, as the layout has them.
static vector<float> InLayout(const ChannelLayout& layout, const vector<float>& numbers) {
  vector<float> blocks(numbers);
  const size_t size = layout.block * layout.places;
  for (size_t i = 0; i < layout.count(); ++i) {
    const size_t place = i % layout.places;
    const size_t channel = i / layout.places % layout.block;
    blocks[i / size * size + place * layout.block + channel] = numbers[i];
  }
  return blocks;
}

class ChannelLayoutTest : public ::testing::Test {
 protected:
  typedef vector<Blob<float>*> Blobs;

  ChannelLayoutTest() : random_(1701) { Caffe::set_mode(Caffe::CPU); }

  vector<float> Draw(int count) {
    std::normal_distribution<float> normal;
    vector<float> numbers(count);
    for (float& number : numbers) { number = normal(random_); }
    return numbers;
  }

  static vector<float> RowMajor(Blob<float>* blob, bool diff) {
    const float* numbers = diff ? blob->cpu_diff() : blob->cpu_data();
    return vector<float>(numbers, numbers + blob->count());
  }

  // Puts what is in a blob's data, or diff, into blocks.
  static void PutInBlocks(Blob<float>* blob, bool diff, int block) {
    const vector<float> numbers = RowMajor(blob, diff);
    const BlobArray array = diff ? BlobArray::Diff(*blob) : BlobArray::Data(*blob);
    ASSERT_TRUE(array.TakesBlocks(block));
    const size_t places = blob->count(2);
    const vector<float> blocks =
        InLayout({block, numbers.size() / places / block, places}, numbers);
    std::copy(blocks.begin(), blocks.end(), array.Overwrite<float>(block));
    ASSERT_EQ(block, array.block());
  }

  void Fill(Blob<float>* blob, bool diff) {
    const vector<float> numbers = Draw(blob->count());
    std::copy(numbers.begin(), numbers.end(),
        diff ? blob->mutable_cpu_diff() : blob->mutable_cpu_data());
  }

  // A layer's results, row-major: data of tops and diffs of bottoms.
  struct Results {
    vector<vector<float> > values;
    int top_block, bottom_block;  // of the first of each, before they were asked for
  };

  // With all that it reads in blocks, or in row-major order for 1.
  Results Run(const LayerParameter& param, const vector<shared_ptr<Blob<float> > >& bottoms,
      int tops, int block) {
    Results results;
    Blobs bottom, top;
    vector<shared_ptr<Blob<float> > > kept;
    for (const shared_ptr<Blob<float> >& given : bottoms) {
      kept.push_back(shared_ptr<Blob<float> >(new Blob<float>()));
      kept.back()->CopyFrom(*given, false, true);
      bottom.push_back(kept.back().get());
      if (block > 1) { PutInBlocks(bottom.back(), false, block); }
    }
    for (int i = 0; i < tops; ++i) {
      kept.push_back(shared_ptr<Blob<float> >(new Blob<float>()));
      top.push_back(kept.back().get());
    }
    const shared_ptr<Layer<float> > layer = LayerRegistry<float>::CreateLayer(param);
    layer->SetUp(bottom, top);
    layer->Forward(bottom, top);
    results.top_block = BlobArray::Data(*top[0]).block();
    for (Blob<float>* blob : top) {
      const int its_block = BlobArray::Data(*blob).block();
      results.values.push_back(RowMajor(blob, false));
      if (its_block > 1) { PutInBlocks(blob, false, its_block); }
    }
    random_.seed(3);
    for (Blob<float>* blob : top) {
      Fill(blob, true);
      if (block > 1 && blob->num_axes() > 2) { PutInBlocks(blob, true, block); }
    }
    const string type = param.type();
    const vector<bool> propagate_down = type == "Depooling" && bottom.size() > 1
        ? vector<bool>{true, false} : vector<bool>(bottom.size(), true);
    layer->Backward(top, propagate_down, bottom);
    results.bottom_block = BlobArray::Diff(*bottom[0]).block();
    results.values.push_back(RowMajor(bottom[0], true));
    return results;
  }

  // The same in any layout; `keeps` and `keeps_back` say whether the layer's passes leave
  // it as it is.
  void TestLayer(const string& layer, const vector<shared_ptr<Blob<float> > >& bottoms,
      int tops, bool keeps, bool keeps_back) {
    LayerParameter param;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(layer, &param));
    const Results expected = Run(param, bottoms, tops, 1);
    EXPECT_EQ(1, expected.top_block);
    for (int block : {8, 16}) {
      SCOPED_TRACE(::testing::Message() << layer << ", blocks of " << block);
      const Results found = Run(param, bottoms, tops, block);
      if (param.type() != "EuclideanLoss") {
        EXPECT_EQ(keeps ? block : 1, found.top_block);
      }
      EXPECT_EQ(keeps_back ? block : 1, found.bottom_block);
      ASSERT_EQ(expected.values.size(), found.values.size());
      for (size_t i = 0; i < expected.values.size(); ++i) {
        ASSERT_EQ(expected.values[i].size(), found.values[i].size());
        for (size_t j = 0; j < expected.values[i].size(); ++j) {
          // Losses are summed up in memory's order.
          if (param.type() == "EuclideanLoss" && i == 0) {
            ASSERT_NEAR(expected.values[i][j], found.values[i][j], 1e-2);
          } else {
            ASSERT_EQ(expected.values[i][j], found.values[i][j]) << i << ", " << j;
          }
        }
      }
    }
  }

  void TestLayer(const string& layer, const vector<shared_ptr<Blob<float> > >& bottoms,
      int tops, bool keeps) {
    TestLayer(layer, bottoms, tops, keeps, keeps);
  }

  shared_ptr<Blob<float> > Drawn(const vector<int>& shape) {
    shared_ptr<Blob<float> > blob(new Blob<float>(shape));
    Fill(blob.get(), false);
    return blob;
  }

  std::mt19937 random_;
};

TEST_F(ChannelLayoutTest, TestMakesRowMajor) {
  for (int block : {8, 16}) {
    for (size_t places : {1, 49, 64, 1000, 5000}) {
      const ChannelLayout layout = {block, 3, places};
      const vector<float> numbers = Draw(layout.count());
      vector<float> found = InLayout(layout, numbers);
      MakeRowMajor(layout, found.data());
      EXPECT_EQ(numbers, found);
    }
  }
}

TEST_F(ChannelLayoutTest, TestWhoAsksForDataGetsThemRowMajor) {
  Blob<float> blob(2, 32, 3, 5);
  Fill(&blob, false);
  const vector<float> numbers = RowMajor(&blob, false);
  PutInBlocks(&blob, false, 16);
  EXPECT_EQ(numbers, RowMajor(&blob, false));
  EXPECT_EQ(1, BlobArray::Data(blob).block());
  PutInBlocks(&blob, false, 8);
  const float* changed = blob.mutable_cpu_data();
  EXPECT_EQ(numbers, vector<float>(changed, changed + blob.count()));
  PutInBlocks(&blob, false, 8);
  Blob<float> copy;
  copy.CopyFrom(blob, false, true);
  EXPECT_EQ(numbers, RowMajor(&copy, false));
  PutInBlocks(&blob, false, 8);
  BlobProto proto;
  blob.ToProto(&proto);
  EXPECT_EQ(numbers, vector<float>(proto.data().begin(), proto.data().end()));
}

TEST_F(ChannelLayoutTest, TestAnotherShapeReadsWhatWasWritten) {
  Blob<float> blob(2, 32, 3, 5);
  Fill(&blob, false);
  const vector<float> numbers = RowMajor(&blob, false);
  PutInBlocks(&blob, false, 16);
  blob.Reshape({2, 16, 5, 6});
  EXPECT_EQ(1, BlobArray::Data(blob).block());
  EXPECT_EQ(numbers, RowMajor(&blob, false));
}

// As many groups and places, but no such blocks: half of one's channels.
TEST_F(ChannelLayoutTest, TestChannelsFoldedIntoImages) {
  for (int block : {8, 16}) {
    Blob<float> blob(2, block, 3, 5), folded(4, block / 2, 3, 5);
    Fill(&blob, false);
    const vector<float> numbers = RowMajor(&blob, false);
    folded.ShareData(blob);
    PutInBlocks(&blob, false, block);
    EXPECT_EQ(1, BlobArray::Data(folded).block());
    EXPECT_EQ(numbers, RowMajor(&folded, false));
  }
}

TEST_F(ChannelLayoutTest, TestLossOfTwoShapes) {
  TestLayer("type: 'EuclideanLoss' loss_weight: 1",
      {Drawn({2, 16, 12, 12}), Drawn({2, 32, 6, 12})}, 1, true, false);
}

TEST_F(ChannelLayoutTest, TestWhatTakesNoBlocks) {
  Blob<float> blob(2, 32, 3, 5);
  EXPECT_TRUE(BlobArray::Data(blob).TakesBlocks(16));
  EXPECT_FALSE(BlobArray::Data(Blob<float>(2, 24, 3, 5)).TakesBlocks(16));
  EXPECT_TRUE(BlobArray::Data(Blob<float>(2, 24, 3, 5)).TakesBlocks(8));
  EXPECT_FALSE(BlobArray::Data(Blob<float>(vector<int>{2, 32})).TakesBlocks(16));
  EXPECT_FALSE(BlobArray::Data(Blob<double>(2, 32, 3, 5)).TakesBlocks(16));
  Fill(&blob, false);
  const vector<float> numbers = RowMajor(&blob, false);
  PutInBlocks(&blob, false, 16);
  blob.data()->keep_row_major();
  EXPECT_FALSE(BlobArray::Data(blob).TakesBlocks(16));
  EXPECT_EQ(numbers, RowMajor(&blob, false));
  vector<float> others(blob.count());
  blob.diff()->set_cpu_data(others.data());
  EXPECT_FALSE(BlobArray::Diff(blob).TakesBlocks(16));
}

TEST_F(ChannelLayoutTest, TestReLU) {
  TestLayer("type: 'ReLU'", {Drawn({2, 32, 7, 9})}, 1, true);
  TestLayer("type: 'ReLU' relu_param { negative_slope: 0.1 }",
      {Drawn({2, 32, 7, 9})}, 1, true);
}

TEST_F(ChannelLayoutTest, TestReLUInPlace) {
  Blob<float> blob(2, 32, 7, 9);
  Fill(&blob, false);
  vector<float> expected = RowMajor(&blob, false);
  for (float& number : expected) { number = std::max(number, 0.f); }
  PutInBlocks(&blob, false, 16);
  LayerParameter param;
  param.set_type("ReLU");
  const shared_ptr<Layer<float> > layer = LayerRegistry<float>::CreateLayer(param);
  layer->SetUp({&blob}, {&blob});
  layer->Forward({&blob}, {&blob});
  EXPECT_EQ(16, BlobArray::Data(blob).block());
  EXPECT_EQ(expected, RowMajor(&blob, false));
}

TEST_F(ChannelLayoutTest, TestMaxPooling) {
  for (int tops : {1, 2}) {
    TestLayer("type: 'Pooling' pooling_param { kernel_size: 2 stride: 2 }",
        {Drawn({2, 32, 8, 11})}, tops, true);
    TestLayer("type: 'Pooling' pooling_param { kernel_size: 3 stride: 2 pad: 1 }",
        {Drawn({2, 32, 8, 11})}, tops, true);
  }
}

TEST_F(ChannelLayoutTest, TestDepooling) {
  const shared_ptr<Blob<float> > values = Drawn({2, 32, 4, 5});
  const shared_ptr<Blob<float> > switches(new Blob<float>(2, 32, 4, 5));
  for (int i = 0; i < switches->count(); ++i) {
    const int y = i / 5 % 4, x = i % 5, at = i * 7 % 4;
    switches->mutable_cpu_data()[i] = (2 * y + at / 2) * 10 + 2 * x + at % 2;
  }
  TestLayer("type: 'Depooling' pooling_param { pool: SWITCH kernel_size: 2 stride: 2 }",
      {values, switches}, 1, true);
  TestLayer("type: 'Depooling' pooling_param { pool: SWITCH kernel_size: 2 stride: 2 }",
      {values, switches}, 2, true, false);  // where values land is counted row-major
  TestLayer("type: 'Depooling' pooling_param { pool: FIX kernel_size: 2 stride: 2 }",
      {values}, 1, true);
  TestLayer("type: 'Depooling' pooling_param { pool: FIX kernel_size: 3 stride: 2 }",
      {values}, 1, true);
  TestLayer("type: 'Depooling' pooling_param { pool: AVE kernel_size: 2 stride: 2 }",
      {values}, 1, false);
}

TEST_F(ChannelLayoutTest, TestSplitAndLoss) {
  for (int tops : {1, 2, 3}) {
    TestLayer("type: 'Split'", {Drawn({2, 32, 7, 9})}, tops, true);
  }
  TestLayer("type: 'EuclideanLoss' loss_weight: 1",
      {Drawn({2, 32, 7, 9}), Drawn({2, 32, 7, 9})}, 1, true);
}

// Layers that were never told of blocks.
TEST_F(ChannelLayoutTest, TestStockLayers) {
  TestLayer("type: 'Power' power_param { scale: 3 shift: 1 }", {Drawn({2, 32, 7, 9})}, 1,
      false);
  TestLayer("type: 'Pooling' pooling_param { pool: AVE kernel_size: 2 stride: 2 }",
      {Drawn({2, 32, 8, 8})}, 1, false);
  TestLayer("type: 'Eltwise'", {Drawn({2, 32, 7, 9}), Drawn({2, 32, 7, 9})}, 1, false);
  TestLayer("type: 'Concat'", {Drawn({2, 32, 7, 9}), Drawn({2, 16, 7, 9})}, 1, false);
  TestLayer("type: 'Dropout' dropout_param { dropout_ratio: 0.5 } phase: TEST",
      {Drawn({2, 32, 7, 9})}, 1, false);
}

#ifdef USE_DNNL
static const char kNetwork[] =
    "layer { name: 'data' type: 'Input' top: 'data'"
    "  input_param { shape { dim: 4 dim: 3 dim: 32 dim: 32 } } }"
    "layer { name: 'conv1' type: 'Convolution' bottom: 'data' top: 'conv1'"
    "  convolution_param { num_output: 32 kernel_size: 3 pad: 1 engine: DNNL"
    "    weight_filler { type: 'msra' } bias_filler { type: 'constant' value: 0.1 } } }"
    "layer { name: 'relu1' type: 'ReLU' bottom: 'conv1' top: 'conv1' }"
    "layer { name: 'conv2' type: 'Convolution' bottom: 'conv1' top: 'conv2'"
    "  convolution_param { num_output: 32 kernel_size: 3 pad: 1 engine: DNNL"
    "    weight_filler { type: 'msra' } } }"
    "layer { name: 'relu2' type: 'ReLU' bottom: 'conv2' top: 'conv2' }"
    "layer { name: 'pool' type: 'Pooling' bottom: 'conv2' top: 'pool' top: 'mask'"
    "  pooling_param { kernel_size: 2 stride: 2 } }"
    "layer { name: 'unpool' type: 'Depooling' bottom: 'pool' bottom: 'mask'"
    "  top: 'unpool' pooling_param { pool: SWITCH kernel_size: 2 stride: 2 } }"
    "layer { name: 'deconv2' type: 'Deconvolution' bottom: 'unpool' top: 'dec1'"
    "  convolution_param { num_output: 32 kernel_size: 3 pad: 1 engine: DNNL"
    "    weight_filler { type: 'msra' } } }"
    "layer { name: 'deconv1' type: 'Deconvolution' bottom: 'dec1' top: 'dec0'"
    "  convolution_param { num_output: 3 kernel_size: 3 pad: 1 engine: DNNL"
    "    weight_filler { type: 'msra' } } }"
    "layer { name: 'ip' type: 'InnerProduct' bottom: 'pool' top: 'ip'"
    "  inner_product_param { num_output: 10 weight_filler { type: 'xavier' } } }"
    "layer { name: 'sum' type: 'Reduction' bottom: 'ip' top: 'sum' loss_weight: 1 }"
    "layer { name: 'loss1' type: 'EuclideanLoss' bottom: 'dec1' bottom: 'conv1'"
    "  top: 'loss1' loss_weight: 1 }"
    "layer { name: 'loss0' type: 'EuclideanLoss' bottom: 'dec0' bottom: 'data'"
    "  top: 'loss0' loss_weight: 1 }";

TEST_F(ChannelLayoutTest, TestNetworkIsTheSameInRowMajorOrder) {
  NetParameter param;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(kNetwork, &param));
  param.mutable_state()->set_phase(TRAIN);
  Net<float> free(param), row_major(param);
  row_major.ShareTrainedLayersWith(&free);
  for (const shared_ptr<Blob<float> >& blob : row_major.blobs()) {
    blob->data()->keep_row_major();
    blob->diff()->keep_row_major();
  }
  for (int pass = 0; pass < 2; ++pass) {
    Fill(free.blob_by_name("data").get(), false);
    row_major.blob_by_name("data")->CopyFrom(*free.blob_by_name("data"));
    for (Net<float>* net : {&free, &row_major}) {
      net->ClearParamDiffs();
      net->Forward();
      net->Backward();
    }
    const Blob<float>& free_blob = *free.blob_by_name("conv1");
    const Blob<float>& row_major_blob = *row_major.blob_by_name("conv1");
    EXPECT_LT(1, BlobArray::Data(free_blob).block());
    EXPECT_LT(1, BlobArray::Diff(free_blob).block());
    EXPECT_EQ(1, BlobArray::Data(row_major_blob).block());
    EXPECT_EQ(1, BlobArray::Diff(row_major_blob).block());
    for (size_t i = 0; i < free.blobs().size(); ++i) {
      SCOPED_TRACE(free.blob_names()[i]);
      const bool loss = free.blobs()[i]->num_axes() == 0;
      const vector<float> expected = RowMajor(row_major.blobs()[i].get(), false);
      const vector<float> found = RowMajor(free.blobs()[i].get(), false);
      for (size_t j = 0; j < expected.size(); ++j) {
        if (loss) {
          ASSERT_NEAR(expected[j], found[j], 1e-4 * std::abs(expected[j]));
        } else {
          ASSERT_EQ(expected[j], found[j]) << "at " << j;
        }
      }
    }
    for (size_t i = 0; i < free.params().size(); ++i) {
      SCOPED_TRACE(::testing::Message() << "parameter " << i);
      const vector<float> expected = RowMajor(row_major.params()[i].get(), true);
      const vector<float> found = RowMajor(free.params()[i].get(), true);
      float largest = 0;
      for (float number : expected) { largest = std::max(largest, std::abs(number)); }
      for (size_t j = 0; j < expected.size(); ++j) {
        ASSERT_NEAR(expected[j], found[j], 1e-5 * largest) << "at " << j;
      }
    }
  }
}
#endif  // USE_DNNL

}  // namespace caffe
