// A batch of Datums and a transform_param: is refused, or becomes a blob, by the calls that a
// Data layer makes. An input is an image or a serialised Datum, with the choices at its end;
// zeros there take it for an image and transform nothing.

#include <opencv2/core/core.hpp>

#include <algorithm>

#include "fuzz.hpp"
#include "caffe/data_transformer.hpp"
#include "caffe/util/augmentation.hpp"

namespace caffe {

static const int kMaxPixels = 1 << 16;  // of a plane that is made
static const int kMaxEdge = 200;

// So that most are of one size, and some are not.
static Datum Raw(Bytes* bytes, bool floats, const std::string& payload) {
  Datum datum;
  datum.set_channels(bytes->ConsumeIntegralInRange(0, 3) < 3 ? 3 : Number(bytes));
  datum.set_height(bytes->ConsumeIntegralInRange(0, 3) < 3 ? 5 : Number(bytes));
  datum.set_width(bytes->ConsumeIntegralInRange(0, 3) < 3 ? 7 : Number(bytes));
  const double count = std::max(0., double(datum.channels()))
      * std::max(0, datum.height()) * std::max(0, datum.width());
  const int values = std::min<double>(count, kMaxPixels) - bytes->ConsumeBool();
  for (int i = 0; i < values && floats; ++i) {
    datum.add_float_data(payload.empty() ? i : payload[i % payload.size()]);
  }
  if (!floats && values > 0) {
    std::string pixels = payload;
    pixels.resize(values);
    datum.set_data(pixels);
  }
  return datum;
}

static void Run(Bytes* bytes) {
  TransformationParameter param;
  Fill(bytes, &param);
  param.clear_mean_file();
  if (param.has_shorter_edge()) {
    param.set_shorter_edge(param.shorter_edge() % kMaxEdge);
  }
  const Phase phase = bytes->ConsumeBool() ? TEST : TRAIN;
  std::vector<int> kinds(bytes->ConsumeIntegralInRange(1, 3));
  const int kind = bytes->ConsumeIntegralInRange(0, 3);
  for (int& its : kinds) {
    its = bytes->ConsumeIntegralInRange(0, 7) < 7 ? kind : bytes->ConsumeIntegralInRange(0, 3);
  }
  const std::string choices = bytes->ConsumeBytesAsString(
      kind == 0 ? 0 : std::min<size_t>(64, bytes->remaining_bytes()));
  Bytes for_raw(reinterpret_cast<const uint8_t*>(choices.data()), choices.size());
  const std::string payload = bytes->ConsumeRemainingBytesAsString();
  std::vector<Datum> datums;
  for (int its : kinds) {
    Datum datum;
    switch (its) {
    case 0:
      datum.set_encoded(true);
      datum.set_data(payload);
      break;
    case 1: datum = Raw(&for_raw, false, payload); break;
    case 2: datum = Raw(&for_raw, true, payload); break;
    default: datum.ParseFromString(payload);
    }
    datums.push_back(datum);
  }

  DataTransformer<float> transformer(param, phase);
  transformer.InitRand();
  std::vector<int> shape = transformer.InferBlobShape(datums[0]);
  shape[0] = datums.size();
  Blob<float> batch(shape);
  const std::vector<ImageView> views = transformer.Views(datums);
  batch.Reshape(datums.size(), batch.channels(), views[0].height(), views[0].width());
  transformer.Transform(views, &batch);
}

}  // namespace caffe

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  caffe::Bytes bytes(data, size);
  caffe::Try([&] { caffe::Run(&bytes); });
  return 0;
}
