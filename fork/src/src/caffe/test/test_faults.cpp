#include <google/protobuf/text_format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/layers/data_layer.hpp"
#include "caffe/sgd_solvers.hpp"
#include "caffe/util/db.hpp"
#include "caffe/util/finite.hpp"
#include "caffe/util/format.hpp"
#include "caffe/util/io.hpp"
#include "caffe/util/snapshot_writer.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

static const float kNan = std::numeric_limits<float>::quiet_NaN();
static const float kInfinity = std::numeric_limits<float>::infinity();

// --- numbers that are not finite

TEST(FiniteTest, EveryPlaceIsLookedAt) {
  for (const int count : {1, 7, 100000}) {
    Blob<double> blob(vector<int>(1, count));
    blob.mutable_cpu_data()[0] = std::numeric_limits<double>::max();
    EXPECT_TRUE(IsFinite(blob));
    for (const int place : {0, count / 2, count - 1}) {
      for (const double value : {double(kNan), double(kInfinity), -double(kInfinity)}) {
        blob.mutable_cpu_data()[place] = value;
        EXPECT_FALSE(IsFinite(blob)) << place << " of " << count;
        blob.mutable_cpu_data()[place] = 1;
      }
    }
  }
}

// Two inner products and a loss. A rate of 0 for the weights makes every update 0.
static SolverParameter Parameter(float value, bool stop_if_not_finite) {
  SolverParameter parameter;
  const string text =
      "net_param { "
      "layer { name: 'data' type: 'DummyData' top: 'data' top: 'target' "
      "  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 1 } "
      "    data_filler { value: " + std::to_string(value) + " } "
      "    data_filler { value: 1 } } } "
      "layer { name: 'first' type: 'InnerProduct' bottom: 'data' top: 'first' "
      "  inner_product_param { num_output: 4 weight_filler { value: 1 } } } "
      "layer { name: 'second' type: 'InnerProduct' bottom: 'first' top: 'second' "
      "  inner_product_param { num_output: 1 weight_filler { value: 1 } } } "
      "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'second' bottom: 'target' "
      "  top: 'distance' } } "
      "base_lr: 0.001 lr_policy: 'fixed' max_iter: 3 snapshot_after_train: false "
      "solver_mode: CPU random_seed: 1 snapshot_prefix: 'snapshot'";
  CHECK(google::protobuf::TextFormat::ParseFromString(text, &parameter));
  parameter.set_stop_if_not_finite(stop_if_not_finite);
  return parameter;
}

static string Fault(Solver<float>* solver) {
  try {
    solver->Step(3);
  } catch (const TrainingFault& fault) {
    return fault.what();
  }
  return "";
}

TEST(FiniteTest, TheFirstLayerIsNamed) {
  Caffe::set_mode(Caffe::CPU);
  SGDSolver<float> whole(Parameter(1, true));
  EXPECT_EQ("", Fault(&whole));
  SGDSolver<float> large(Parameter(1e20, true));  // the square of a float, at once
  EXPECT_EQ("the loss distance is inf at iteration 0. First of all, what layer loss "
      "computes is not finite.", Fault(&large));
  SGDSolver<float> weights(Parameter(1, true));
  weights.Step(1);
  weights.net()->layer_by_name("second")->blobs()[0]->mutable_cpu_data()[2] = kNan;
  EXPECT_EQ("the loss distance is nan at iteration 1. First of all, the weights of layer "
      "second are not finite, after 1 update.", Fault(&weights));
  SGDSolver<float> outputs(Parameter(1e20, true));
  Blob<float>* factors = outputs.net()->layer_by_name("first")->blobs()[0].get();
  caffe_set(factors->count(), 1e20f, factors->mutable_cpu_data());
  const string fault = Fault(&outputs);
  EXPECT_NE(string::npos, fault.find(" First of all, what layer first computes is not "
      "finite, and its weights are.")) << fault;
}

TEST(FiniteTest, GoesOnWhereAskedTo) {
  Caffe::set_mode(Caffe::CPU);
  SGDSolver<float> solver(Parameter(1e20, false));
  EXPECT_EQ("", Fault(&solver));
  EXPECT_EQ(3, solver.iter());
}

// --- snapshots that cannot be written

class SnapshotFaultTest : public ::testing::Test {
 protected:
  SnapshotFaultTest() { MakeTempDir(&folder_); }

  bool Write(const string& first, const string& second) {
    shared_ptr<SolverState> state(new SolverState());
    state->set_iter(7);
    writer_.Add(state, folder_ + "/" + first);
    writer_.Add(state, folder_ + "/" + second);
    writer_.Start();
    return writer_.Wait();
  }
  bool Exists(const string& name) {
    struct stat found;
    return lstat((folder_ + "/" + name).c_str(), &found) == 0;
  }

  string folder_;
  SnapshotWriter writer_;
};

TEST_F(SnapshotFaultTest, FullDiskLeavesWhatWasAndNothingOfIt) {
  ASSERT_TRUE(Write("1.caffemodel", "1.solverstate"));
  ASSERT_EQ(0, symlink("/dev/full", (folder_ + "/2.solverstate.part").c_str()));
  EXPECT_FALSE(Write("2.caffemodel", "2.solverstate"));
  EXPECT_NE(string::npos, writer_.fault().find("Cannot write " + folder_
      + "/2.solverstate: No space left on device (the snapshot takes 0.0 MB, and "))
      << writer_.fault();
  EXPECT_TRUE(Exists("1.caffemodel") && Exists("1.solverstate"));
  for (const string name : {"2.caffemodel", "2.solverstate"}) {
    EXPECT_FALSE(Exists(name) || Exists(name + ".part")) << name;
  }
  EXPECT_TRUE(Write("2.caffemodel", "2.solverstate"));
  EXPECT_EQ("", writer_.fault());
}

TEST_F(SnapshotFaultTest, FolderThatHasGone) {
  EXPECT_FALSE(Write("gone/1.caffemodel", "gone/1.solverstate"));
  EXPECT_NE(string::npos, writer_.fault().find("No such file or directory"));
}

TEST_F(SnapshotFaultTest, TheLastOneEndsTheTraining) {
  Caffe::set_mode(Caffe::CPU);
  SolverParameter parameter = Parameter(1, true);
  parameter.set_snapshot(2);
  parameter.set_snapshot_after_train(true);
  mkdir((folder_ + "/run").c_str(), 0755);
  parameter.set_snapshot_prefix(folder_ + "/run/snapshot");
  SGDSolver<float> solver(parameter);
  rmdir((folder_ + "/run").c_str());
  try {
    solver.Solve();
    FAIL() << "It ended as if all were well.";
  } catch (const TrainingFault& fault) {
    EXPECT_EQ(3, solver.iter());
    EXPECT_NE(string::npos, string(fault.what()).find("the snapshot of iteration 3 is not "
        "there. Cannot write ")) << fault.what();
  }
}

TEST_F(SnapshotFaultTest, WeightsThatAreNotFiniteAreNotWritten) {
  Caffe::set_mode(Caffe::CPU);
  SolverParameter parameter = Parameter(1, true);
  parameter.set_snapshot_prefix(folder_ + "/snapshot");
  SGDSolver<float> solver(parameter);
  solver.Step(2);
  solver.net()->layer_by_name("first")->blobs()[1]->mutable_cpu_data()[3] = kInfinity;
  EXPECT_THROW(solver.Snapshot(), TrainingFault);
  EXPECT_FALSE(Exists("snapshot_iter_2.caffemodel"));
}

// --- damaged records

#ifdef USE_LMDB
class DamagedRecordTest : public ::testing::Test {
 protected:
  DamagedRecordTest() { MakeTempDir(&folder_); }

  static string Record(int label) {
    Datum datum;
    datum.set_channels(1);
    datum.set_height(1);
    datum.set_width(2);
    datum.set_data(string(2, char(10 * label)));
    datum.set_label(label);
    return datum.SerializeAsString();
  }
  static string Garbage(int kind) {
    Datum datum;
    if (kind == 0) { return "\xff\xff\xff"; }  // no message
    if (kind == 1) {
      datum.set_encoded(true);
      datum.set_data("no picture");
    } else {
      datum.set_channels(4);  // times 2^62 values are 0 in a size_t
      datum.set_height(kind == 2 ? 1 << 30 : 1);
      datum.set_width(kind == 2 ? 1 << 30 : 9);
      datum.set_data("12345678");
    }
    return datum.SerializeAsString();
  }
  void Write(const vector<string>& records) {
    shared_ptr<db::DB> database(db::GetDB("lmdb"));
    database->Open(folder_ + "/db", db::NEW);
    shared_ptr<db::Transaction> transaction(database->NewTransaction());
    for (int i = 0; i < records.size(); ++i) {
      transaction->Put(format_int(i, 3), records[i]);
    }
    transaction->Commit();
  }
  // Labels and first pixels of so many batches.
  vector<vector<int> > Read(int batch_size, int batches, int limit, int passes_before = 0) {
    LayerParameter parameter;
    parameter.set_phase(TRAIN);
    DataParameter* data = parameter.mutable_data_param();
    data->set_source(folder_ + "/db");
    data->set_backend(DataParameter_DB_LMDB);
    data->set_batch_size(batch_size);
    data->set_damaged_limit(limit);
    Blob<float> images, labels;
    const vector<Blob<float>*> bottoms, tops = {&images, &labels};
    DataLayer<float> layer(parameter);
    layer.SetUp(bottoms, tops);
    if (passes_before) { layer.GoOnAfter(passes_before); }
    vector<vector<int> > found(2);
    for (int i = 0; i < batches; ++i) {
      layer.Forward(bottoms, tops);
      for (int j = 0; j < batch_size; ++j) {
        found[0].push_back(labels.cpu_data()[j]);
        found[1].push_back(images.cpu_data()[2 * j]);
      }
    }
    return found;
  }

  string folder_;
};

TEST_F(DamagedRecordTest, TheImageBesideTakesItsPlace) {
  Caffe::set_mode(Caffe::CPU);
  vector<string> records;
  for (int i = 0; i < 8; ++i) { records.push_back(Record(i)); }
  records[0] = Garbage(0);
  records[3] = Garbage(1);
  records[4] = Garbage(2);
  records[7] = Garbage(3);
  Write(records);
  const vector<int> expected = {1, 1, 2, 2, 5, 5, 6, 6, 1, 1, 2, 2};
  const vector<vector<int> > found = Read(4, 3, 4);
  EXPECT_EQ(expected, found[0]);
  for (int i = 0; i < expected.size(); ++i) { EXPECT_EQ(10 * expected[i], found[1][i]); }
  // One that goes on finds the same.
  EXPECT_EQ(vector<int>(expected.begin() + 4, expected.end()), Read(4, 2, 4, 1)[0]);
}

TEST_F(DamagedRecordTest, OneTooManyEndsIt) {
  Caffe::set_mode(Caffe::CPU);
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  Write({Record(0), Garbage(0), Record(2), Garbage(1)});
  Read(4, 3, 2);
  EXPECT_DEATH(Read(4, 3, 1), "has more damaged records than damaged_limit 1 in "
      "data_param: record 003 says that it is encoded, but its 10 bytes");
  EXPECT_DEATH(Read(1, 4, 2), "no record of a batch of 1 is whole; 001 is no Datum");
}

TEST_F(DamagedRecordTest, ADatabaseThatCannotBeReadIsNamed) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(Read(1, 1, 1), "Cannot open the LMDB .*db: No such file or directory");
  Write({});
  EXPECT_DEATH(Read(1, 1, 1), "db is empty: it holds no image");
}
#endif  // USE_LMDB

}  // namespace caffe
