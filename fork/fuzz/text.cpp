// The text of a network or of a solver: is refused, or is brought up to date and trained for
// two steps. Data layers become DummyData, and what would read or write files is left out.

#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <memory>
#include <set>

#include "fuzz.hpp"
#include "caffe/net.hpp"
#include "caffe/solver.hpp"
#include "caffe/solver_factory.hpp"
#include "caffe/util/upgrade_proto.hpp"

namespace caffe {

static const int kMaxCount = 1 << 16;

class NoErrors : public google::protobuf::io::ErrorCollector {
 public:
  virtual void AddError(int, int, const std::string&) {}
};

static bool Parse(const std::string& text, google::protobuf::Message* message) {
  NoErrors errors;
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&errors);
  return parser.ParseFromString(text, message);
}

static NetParameter SmallNet() {
  NetParameter net;
  CHECK(google::protobuf::TextFormat::ParseFromString(
      "layer { name: 'data' type: 'DummyData' top: 'data' top: 'target'"
      "  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 4 } } }"
      "layer { name: 'ip' type: 'InnerProduct' bottom: 'data' top: 'ip'"
      "  inner_product_param { num_output: 4 } }"
      "layer { name: 'loss' type: 'EuclideanLoss' bottom: 'ip' bottom: 'target' top: 'loss' }",
      &net));
  return net;
}

// Whether none of its layers has to do with files, now that data are made up.
static bool WithoutFiles(NetParameter* net) {
  static const std::set<std::string> kFiles = {"HDF5Data", "HDF5Output", "ImageData",
      "ImageOutput", "InfogainLoss", "MemoryData", "Python", "WindowData"};
  for (LayerParameter& layer : *net->mutable_layer()) {
    if (layer.type() == "Data") {
      layer.set_type("DummyData");
      DummyDataParameter* data = layer.mutable_dummy_data_param();
      data->Clear();
      for (int i = 0; i < layer.top_size(); ++i) {
        BlobShape* shape = data->add_shape();
        shape->add_dim(2);
        for (int size : {3, 8, 8}) {
          if (i == 0) { shape->add_dim(size); }
        }
      }
    }
    if (kFiles.count(layer.type())) { return false; }
  }
  return true;
}

static void RunNet(NetParameter net) {
  UpgradeNetAsNeeded("the fuzzed text", &net);
  if (!WithoutFiles(&net)) { return; }
  net.mutable_state()->set_phase(TRAIN);
  Net<float> made(net);
  for (const shared_ptr<Blob<float> >& blob : made.blobs()) {
    if (blob->count() > kMaxCount) { return; }
  }
  made.Forward();
  made.Backward();
}

static void RunSolver(SolverParameter solver) {
  UpgradeSolverAsNeeded("the fuzzed text", &solver);
  solver.clear_net();
  solver.clear_train_net();
  solver.clear_test_net();
  solver.clear_train_net_param();
  solver.clear_test_net_param();
  solver.clear_weights();
  solver.clear_snapshot();
  *solver.mutable_net_param() = SmallNet();
  for (int& iterations : *solver.mutable_test_iter()) {
    iterations = std::min(iterations, 3);
  }
  solver.set_iter_size(std::min(solver.iter_size(), 3));
  const std::unique_ptr<Solver<float> > made(SolverRegistry<float>::CreateSolver(solver));
  made->Step(2);
}

}  // namespace caffe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe;  // NOLINT(build/namespaces)
  const std::string text(reinterpret_cast<const char*>(data), size);
  NetParameter net;
  SolverParameter solver;
  if (Parse(text, &net)) {
    Try([&] { RunNet(net); });
  } else if (Parse(text, &solver)) {
    Try([&] { RunSolver(solver); });
  }
  return 0;
}
