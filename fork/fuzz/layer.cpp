// A layer's parameters and shapes: is refused, or runs forward and backward, and again after
// its bottoms have changed their shapes.

#include <cstdlib>

#include "fuzz.hpp"
#include "caffe/layer.hpp"
#include "caffe/layer_factory.hpp"

namespace caffe {

// A layer's type, and which of LayerParameter's fields are its own.
struct Kind {
  const char* type;
  std::vector<const char*> fields;
  bool in_place;
};

static const Kind kKinds[] = {
  {"Depooling", {"pooling_param"}, false},
  {"Pooling", {"pooling_param"}, false},
  {"Convolution", {"convolution_param"}, false},
  {"Deconvolution", {"convolution_param"}, false},
  {"InnerProduct", {"inner_product_param"}, false},
  {"SafeInv", {}, true},
  {"GaussianNoise", {"gaussian_noise_param"}, true},
  {"ImageOutput", {"image_output_param"}, false},
  {"EuclideanLoss", {"loss_param"}, false},
  {"SoftmaxWithLoss", {"loss_param", "softmax_param"}, false},
  {"Accuracy", {"accuracy_param"}, false},
  {"Softmax", {"softmax_param"}, false},
  {"ReLU", {"relu_param"}, true},
  {"Dropout", {"dropout_param"}, true},
  {"Power", {"power_param"}, true},
  {"Eltwise", {"eltwise_param"}, false},
  {"Split", {}, false},
};

static const int kMaxCount = 1 << 14;  // values of a bottom
static const int kMaxTopCount = 1 << 17;

static std::vector<int> Shape(Bytes* bytes) {
  static const int kSizes[] = {1, 2, 3, 4, 5, 7, 8, 16, 17, 32, 0, 64};
  const int axes = bytes->ConsumeIntegralInRange(0, 3) < 3 ? 4
      : bytes->ConsumeIntegralInRange(0, 6);
  std::vector<int> shape(axes);
  int count = 1;
  for (int& size : shape) {
    size = bytes->PickValueInArray(kSizes);
    if (count * size > kMaxCount) { size = 1; }
    count *= size;
  }
  return shape;
}

template <typename Dtype>
static void Fill(Bytes* bytes, const std::vector<Blob<Dtype>*>& blobs) {
  for (Blob<Dtype>* blob : blobs) {
    FillArray(bytes, blob->count(), blob->mutable_cpu_data());
  }
}

// Brings the first bottom into the layout in which oneDNN's convolutions leave what they
// compute.
static void Block(std::vector<Blob<float>*>* bottoms, Layer<float>* convolution) {
  Blob<float> source((*bottoms)[0]->shape());
  caffe_copy(source.count(), (*bottoms)[0]->cpu_data(), source.mutable_cpu_data());
  const std::vector<Blob<float>*> from(1, &source), to(1, (*bottoms)[0]);
  convolution->Forward(from, to);
}

static void Block(std::vector<Blob<double>*>*, Layer<double>*) {}

template <typename Dtype>
static void Run(Bytes* bytes, const LayerParameter& param, bool in_place) {
  std::vector<Blob<Dtype> > bottom_blobs(bytes->ConsumeIntegralInRange(0, 4));
  std::vector<Blob<Dtype> > top_blobs(bytes->ConsumeIntegralInRange(0, 3));
  std::vector<Blob<Dtype>*> bottoms, tops;
  const std::vector<int> first = Shape(bytes);
  for (Blob<Dtype>& blob : bottom_blobs) {
    blob.Reshape(bytes->ConsumeIntegralInRange(0, 3) ? first : Shape(bytes));
    bottoms.push_back(&blob);
  }
  for (Blob<Dtype>& blob : top_blobs) { tops.push_back(&blob); }
  if (in_place && bottoms.size() == 1 && tops.size() == 1) { tops = bottoms; }

  LayerParameter blocked;
  shared_ptr<Layer<Dtype> > convolution;
  if (bytes->ConsumeBool() && !bottoms.empty() && first.size() == 4 && first[1] > 0) {
    blocked.set_type("Convolution");
    blocked.mutable_convolution_param()->add_kernel_size(3);
    blocked.mutable_convolution_param()->add_pad(1);
    blocked.mutable_convolution_param()->set_num_output(first[1]);
    blocked.mutable_convolution_param()->mutable_weight_filler()->set_type("gaussian");
    convolution = LayerRegistry<Dtype>::CreateLayer(blocked);
  }

  const shared_ptr<Layer<Dtype> > layer = LayerRegistry<Dtype>::CreateLayer(param);
  layer->SetUp(bottoms, tops);
  const int passes = bytes->ConsumeIntegralInRange(1, 3);
  for (int pass = 0; pass < passes; ++pass) {
    Fill(bytes, bottoms);
    if (convolution) {
      Blob<Dtype> source(bottoms[0]->shape());
      const std::vector<Blob<Dtype>*> from(1, &source), to(1, bottoms[0]);
      if (pass == 0) { convolution->SetUp(from, to); }
      Block(&bottoms, convolution.get());
    }
    layer->Reshape(bottoms, tops);
    for (const Blob<Dtype>* top : tops) {
      if (top->count() > kMaxTopCount) { return; }
    }
    layer->Forward(bottoms, tops);
    for (int i = 0; i < tops.size(); ++i) {
      if (!layer->loss(i)) { FillArray(bytes, tops[i]->count(), tops[i]->mutable_cpu_diff()); }
    }
    std::vector<bool> propagate_down;
    for (int i = 0; i < bottoms.size(); ++i) {
      propagate_down.push_back(layer->AllowForceBackward(i) && bytes->ConsumeBool());
    }
    layer->Backward(tops, propagate_down, bottoms);
    std::vector<int> next = Shape(bytes);
    if (convolution && next.size() == 4) { next[1] = first[1]; }
    for (Blob<Dtype>* blob : bottoms) { blob->Reshape(next); }
  }
}

}  // namespace caffe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caffe;  // NOLINT(build/namespaces)
  static const std::string folder = getenv("CAFFE_FUZZ_FOLDER");
  Bytes bytes(data, size);
  const Kind& kind =
      kKinds[bytes.ConsumeIntegralInRange<int>(0, sizeof(kKinds) / sizeof(*kKinds) - 1)];
  LayerParameter param;
  param.set_name("fuzzed");
  param.set_type(kind.type);
  param.set_phase(bytes.ConsumeBool() ? TEST : TRAIN);
  for (const char* name : kind.fields) {
    const google::protobuf::FieldDescriptor* field =
        LayerParameter::descriptor()->FindFieldByName(name);
    Fill(&bytes, param.GetReflection()->MutableMessage(&param, field));
  }
  param.mutable_image_output_param()->set_output_prefix(folder + "/image-");
  if (bytes.ConsumeIntegralInRange(0, 7) == 7) { param.add_loss_weight(Real(&bytes)); }
  const bool in_place = kind.in_place && bytes.ConsumeBool();
  const bool doubles = bytes.ConsumeIntegralInRange(0, 3) == 3;
  Try([&] {
    if (doubles) {
      Run<double>(&bytes, param, in_place);
    } else {
      Run<float>(&bytes, param, in_place);
    }
  });
  return 0;
}
