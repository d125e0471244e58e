#include <string>
#include <vector>

#include "boost/scoped_ptr.hpp"
#include "gtest/gtest.h"

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/layers/data_layer.hpp"
#include "caffe/util/db.hpp"
#include "caffe/util/format.hpp"
#include "caffe/util/io.hpp"
#include "caffe/util/math_functions.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

/// Batches that a thread loads while others are computed with.
template <typename TypeParam>
class PrefetchedBatchesTest : public MultiDeviceTest<TypeParam> {
 protected:
  typedef typename TypeParam::Dtype Dtype;

  static const int kImages = 24, kSize = 64, kBatch = 4;

  // Image i is full of i.
  PrefetchedBatchesTest() {
    string folder;
    MakeTempDir(&folder);
    source_ = folder + "/db";
    boost::scoped_ptr<db::DB> database(db::GetDB(DataParameter_DB_LMDB));
    database->Open(source_, db::NEW);
    boost::scoped_ptr<db::Transaction> transaction(database->NewTransaction());
    for (int i = 0; i < kImages; ++i) {
      Datum datum;
      datum.set_label(i);
      datum.set_channels(1);
      datum.set_height(kSize);
      datum.set_width(kSize);
      datum.set_data(string(kSize * kSize, static_cast<char>(i)));
      string value;
      CHECK(datum.SerializeToString(&value));
      transaction->Put(format_int(i, 4), value);
    }
    transaction->Commit();
  }

  string source_;
};

TYPED_TEST_CASE(PrefetchedBatchesTest, TestDtypesAndDevices);

// The host runs ahead of the card: nothing waits until all batches were asked for.
TYPED_TEST(PrefetchedBatchesTest, TestAreWhatTheComputationBehindThemSees) {
  typedef typename TypeParam::Dtype Dtype;
  const bool on_card = Caffe::mode() == Caffe::GPU;
  LayerParameter parameter;
  parameter.set_phase(TEST);
  parameter.mutable_data_param()->set_batch_size(this->kBatch);
  parameter.mutable_data_param()->set_prefetch(2);
  parameter.mutable_data_param()->set_source(this->source_);
  parameter.mutable_data_param()->set_backend(DataParameter_DB_LMDB);
  DataLayer<Dtype> layer(parameter);
  Blob<Dtype> data, label;
  const vector<Blob<Dtype>*> bottom, top = {&data, &label};
  layer.SetUp(bottom, top);
  const int batches = 30, count = data.count(), n = on_card ? 1024 : 8;
  Blob<Dtype> seen(vector<int>({batches, count})), labels(vector<int>({batches,
      label.count()}));
  Blob<Dtype> a(vector<int>({n, n})), product(vector<int>({n, n}));
  for (int i = 0; i < batches; ++i) {
    layer.Forward(bottom, top);
    if (on_card) {
#ifndef CPU_ONLY
      for (int k = 0; k < 4; ++k) {  // keeps the card busy
        caffe_gpu_gemm<Dtype>(CblasNoTrans, CblasNoTrans, n, n, n, Dtype(1),
            a.gpu_data(), a.gpu_data(), Dtype(0), product.mutable_gpu_data());
      }
      caffe_gpu_axpby<Dtype>(count, Dtype(1), data.gpu_data(), Dtype(0),
          seen.mutable_gpu_data() + i * count);
      caffe_gpu_axpby<Dtype>(label.count(), Dtype(1), label.gpu_data(), Dtype(0),
          labels.mutable_gpu_data() + i * label.count());
#endif
    } else {
      caffe_copy(count, data.cpu_data(), seen.mutable_cpu_data() + i * count);
      caffe_copy(label.count(), label.cpu_data(),
          labels.mutable_cpu_data() + i * label.count());
    }
  }
  const int pixels = count / this->kBatch;
  for (int image = 0; image < batches * this->kBatch; ++image) {
    const Dtype expected = image % this->kImages;
    ASSERT_EQ(expected, labels.cpu_data()[image]) << image;
    for (int i = 0; i < pixels; ++i) {
      ASSERT_EQ(expected, seen.cpu_data()[image * pixels + i]) << image << ", " << i;
    }
  }
}

}  // namespace caffe
