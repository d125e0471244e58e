// The files of a snapshot: weights are refused, or copied to a network; a solver's state is
// refused, or restored and trained on from. The first byte of an input says which it is.

#include <google/protobuf/text_format.h>

#include <cstdlib>
#include <fstream>  // NOLINT(readability/streams)
#include <memory>

#include "fuzz.hpp"
#include "caffe/sgd_solvers.hpp"
#include "caffe/util/snapshot_writer.hpp"

namespace caffe {

static SolverParameter SmallSolver(const std::string& folder) {
  SolverParameter solver;
  CHECK(google::protobuf::TextFormat::ParseFromString(
      "base_lr: 0.01 lr_policy: 'multistep' stepvalue: 2 momentum: 0.9 net_param {"
      "layer { name: 'data' type: 'DummyData' top: 'data' top: 'label'"
      "  dummy_data_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } shape { dim: 1 } } }"
      "layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv'"
      "  convolution_param { num_output: 2 kernel_size: 3 } }"
      "layer { name: 'ip' type: 'InnerProduct' bottom: 'conv' top: 'ip'"
      "  inner_product_param { num_output: 2 } }"
      "layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'ip' bottom: 'label' top: 'loss' }"
      "}", &solver));
  solver.set_snapshot_prefix(folder + "/whole");
  return solver;
}

static void Write(const std::string& name, const uint8_t* data, size_t size) {
  std::ofstream file(name, std::ios::binary);
  file.write(reinterpret_cast<const char*>(data), size);
}

}  // namespace caffe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe;  // NOLINT(build/namespaces)
  static const std::string folder = getenv("CAFFE_FUZZ_FOLDER");
  if (size == 0) { return 0; }
  SGDSolver<float> solver(SmallSolver(folder));
  if (data[0] % 2) {
    const std::string name = folder + "/fuzzed.caffemodel";
    Write(name, data + 1, size - 1);
    Try([&] {
      solver.net()->CopyTrainedLayersFrom(name);
      solver.Step(1);
    });
    return 0;
  }
  // Of the weights that belong to it, only whether they are there.
  SolverState state;
  if (!state.ParseFromArray(data + 1, size - 1)) { return 0; }
  if (state.has_learned_net()) {
    NetParameter weights;
    solver.net()->ToProto(&weights, false);
    state.set_learned_net(folder + "/whole.caffemodel");
    static const bool written = (WriteWholeFile(weights, state.learned_net()), true);
    static_cast<void>(written);
  }
  const std::string bytes = state.SerializeAsString(), name = folder + "/fuzzed.solverstate";
  Write(name, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  Try([&] {
    solver.Restore(name.c_str());
    solver.Step(1);
  });
  return 0;
}
