#include "caffe/util/gradient_memory.hpp"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

namespace caffe {

namespace {

// Layers that write all of a bottom's gradient before they read it, and read their tops'
// gradients in their own backward pass alone. Not those, such as Reshape and Slice, whose
// bottoms and tops may be the same memory, nor Power, which takes a bottom's gradient times
// zero.
bool IsKnown(const std::string& type) {
  static const char* kTypes[] = {"BatchNorm", "Convolution", "Deconvolution", "Depooling",
      "Dropout", "Eltwise", "EuclideanLoss", "GaussianNoise", "InnerProduct", "LRN",
      "Pooling", "ReLU", "SafeInv", "Sigmoid", "SoftmaxWithLoss", "Split",
      "TanH"};
  const char** end = kTypes + sizeof(kTypes) / sizeof(kTypes[0]);
  return std::find(kTypes, end, type) != end;
}

bool Writes(const std::string& type, int bottom) {
  const bool first_alone = type == "Depooling" || type == "SoftmaxWithLoss";
  return IsKnown(type) && (bottom == 0 || !first_alone);
}

// From the layer that makes a blob to the last one that reads it, by their places.
struct Interval {
  int first, last;
};

// Those of the blobs whose gradients can share memory; others have a `first` of -1.
template <typename Dtype>
std::vector<Interval> Intervals(const Net<Dtype>& net) {
  const Interval none = {-1, -1};
  std::vector<Interval> intervals(net.blobs().size(), none);
  std::vector<bool> fits(net.blobs().size(), true);
  for (int l = 0; l < net.layers().size(); ++l) {
    const std::string type = net.layers()[l]->type();
    const std::vector<int>& tops = net.top_ids(l);
    for (int i = 0; i < net.bottom_ids(l).size(); ++i) {
      const int blob = net.bottom_ids(l)[i];
      const bool in_place = std::find(tops.begin(), tops.end(), blob) != tops.end();
      // All who read a blob write its gradient, and those before the last in place.
      fits[blob] = fits[blob] && intervals[blob].last < 0 && Writes(type, i)
          && net.layer_need_backward()[l] && net.bottom_need_backward()[l][i];
      if (!in_place) { intervals[blob].last = l; }
    }
    for (int i = 0; i < tops.size(); ++i) {
      if (intervals[tops[i]].first < 0) { intervals[tops[i]].first = l; }
      fits[tops[i]] = fits[tops[i]] && IsKnown(type) && net.layer_need_backward()[l]
          && net.blob_loss_weights()[tops[i]] == Dtype(0);
    }
  }
  for (int blob = 0; blob < intervals.size(); ++blob) {
    if (!fits[blob] || intervals[blob].last < 0) { intervals[blob] = none; }
  }
  return intervals;
}

struct Memory {
  int count;               // of the largest blob
  std::vector<int> blobs;  // that share it
  bool taken;
};

// The free one that fits best: the smallest that is large enough, else the largest.
int BestFree(const std::vector<Memory>& memories, int count) {
  int best = -1;
  for (int i = 0; i < memories.size(); ++i) {
    if (memories[i].taken) { continue; }
    if (best < 0) { best = i; }
    const bool enough = memories[i].count >= count;
    const bool best_enough = memories[best].count >= count;
    if (enough != best_enough ? enough : enough == (memories[i].count < memories[best].count)) {
      best = i;
    }
  }
  return best;
}

}  // namespace

template <typename Dtype>
size_t ShareGradientMemory(const Net<Dtype>& net) {
  const std::vector<Interval> intervals = Intervals(net);
  std::vector<Memory> memories;
  std::vector<int> memory_of(intervals.size(), -1);
  size_t alone = 0, shared = 0;
  for (int l = net.layers().size() - 1; l >= 0; --l) {
    for (int blob = 0; blob < intervals.size(); ++blob) {
      if (intervals[blob].last != l) { continue; }
      const int count = net.blobs()[blob]->count();
      int chosen = BestFree(memories, count);
      if (chosen < 0) {
        chosen = memories.size();
        memories.push_back(Memory());
        memories.back().count = 0;
      }
      Memory& memory = memories[chosen];
      memory.count = std::max(memory.count, count);
      memory.blobs.push_back(blob);
      memory.taken = true;
      memory_of[blob] = chosen;
      alone += count;
    }
    for (int blob = 0; blob < intervals.size(); ++blob) {
      if (intervals[blob].first == l) { memories[memory_of[blob]].taken = false; }
    }
  }
  for (int i = 0; i < memories.size(); ++i) {
    Blob<Dtype> owner(std::vector<int>(1, memories[i].count));
    for (int k = 0; k < memories[i].blobs.size(); ++k) {
      Blob<Dtype>& blob = *net.blobs()[memories[i].blobs[k]];
      owner.Reshape(blob.shape());  // keeps its memory: it is large enough
      blob.ShareDiff(owner);
    }
    shared += memories[i].count;
  }
  return (alone - shared) * sizeof(Dtype);
}

template size_t ShareGradientMemory<float>(const Net<float>& net);
template size_t ShareGradientMemory<double>(const Net<double>& net);

bool SharesGradientMemory() {
  const char* value = std::getenv("CAFFE_SHARE_GRADIENTS");
  const std::string wanted = value ? value : "";
  CHECK(wanted.empty() || wanted == "0" || wanted == "1")
      << "CAFFE_SHARE_GRADIENTS in the environment is " << wanted << "; it can be 0 or 1.";
  return wanted == "1";
}

}  // namespace caffe
