#ifndef CAFFE_FUZZ_FUZZ_HPP_
#define CAFFE_FUZZ_FUZZ_HPP_

// What the targets share: each has LLVMFuzzerTestOneInput, in which every input either throws
// Refused or runs through.

#include <fuzzer/FuzzedDataProvider.h>
#include <google/protobuf/message.h>

#include <climits>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "caffe/blob.hpp"
#include "caffe/common.hpp"
#include "caffe/proto/caffe.pb.h"

namespace caffe {

typedef FuzzedDataProvider Bytes;

/// Mostly small, as in networks; now and then at a limit, or any.
inline int Number(Bytes* bytes) {
  static const int kLimits[] = {-1, INT_MAX, INT_MIN, INT_MAX - 1, 1 << 15, 1 << 16,
      (1 << 16) + 1, 1 << 24, 1 << 30};
  const int choice = bytes->ConsumeIntegralInRange(0, 15);
  if (choice < 12) { return bytes->ConsumeIntegralInRange(0, 7); }
  if (choice < 14) { return bytes->ConsumeIntegralInRange(0, 300); }
  return choice == 14 ? bytes->ConsumeIntegral<int>() : bytes->PickValueInArray(kLimits);
}

inline float Real(Bytes* bytes) {
  static const float kLimits[] = {0, 1, -1, 0.5, 1e-30f, 1e30f,
      std::numeric_limits<float>::max(), std::numeric_limits<float>::infinity(),
      -std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()};
  return bytes->ConsumeBool() ? bytes->PickValueInArray(kLimits)
      : bytes->ConsumeIntegralInRange(-1000, 1000) / 100.f;
}

/// Sets some of a message's fields. Bytes that have run out, and zeros, set none.
inline void Fill(Bytes* bytes, google::protobuf::Message* message) {
  using google::protobuf::FieldDescriptor;
  static const char* const kStrings[] = {"constant", "gaussian", "xavier", "msra", "bilinear",
      "uniform", "positive_unitball", "", "none of these"};
  const google::protobuf::Reflection* all = message->GetReflection();
  for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message->GetDescriptor()->field(i);
    if (bytes->ConsumeIntegralInRange(0, 3) < 3) { continue; }
    const bool repeated = field->is_repeated();
    const int count = repeated ? bytes->ConsumeIntegralInRange(1, 3) : 1;
    for (int n = 0; n < count; ++n) {
#define CAFFE_FUZZ_FIELD(TYPE, NAME, VALUE) \
      case FieldDescriptor::CPPTYPE_##TYPE: \
        if (repeated) { \
          all->Add##NAME(message, field, VALUE); \
        } else { \
          all->Set##NAME(message, field, VALUE); \
        } \
        break;
      switch (field->cpp_type()) {
      CAFFE_FUZZ_FIELD(INT32, Int32, Number(bytes))
      CAFFE_FUZZ_FIELD(UINT32, UInt32, Number(bytes))
      CAFFE_FUZZ_FIELD(INT64, Int64, Number(bytes))
      CAFFE_FUZZ_FIELD(UINT64, UInt64, Number(bytes))
      CAFFE_FUZZ_FIELD(FLOAT, Float, Real(bytes))
      CAFFE_FUZZ_FIELD(DOUBLE, Double, Real(bytes))
      CAFFE_FUZZ_FIELD(BOOL, Bool, bytes->ConsumeBool())
      CAFFE_FUZZ_FIELD(STRING, String, bytes->PickValueInArray(kStrings))
      CAFFE_FUZZ_FIELD(ENUM, Enum, field->enum_type()->value(
          bytes->ConsumeIntegralInRange(0, field->enum_type()->value_count() - 1)))
      case FieldDescriptor::CPPTYPE_MESSAGE:
        Fill(bytes, repeated ? all->AddMessage(message, field)
            : all->MutableMessage(message, field));
        break;
      }
#undef CAFFE_FUZZ_FIELD
    }
  }
}

/// Fills an array with small whole numbers, with numbers around 0, with indices, or with
/// such as are no usual numbers.
template <typename Dtype>
void FillArray(Bytes* bytes, int count, Dtype* values) {
  const int kind = bytes->ConsumeIntegralInRange(0, 3);
  const int limit = bytes->ConsumeIntegralInRange(1, 64);
  std::minstd_rand random(bytes->ConsumeIntegral<uint16_t>() + 1);
  for (int i = 0; i < count; ++i) {
    const int drawn = random() >> 4;
    switch (kind) {
    case 0: values[i] = drawn % limit; break;
    case 1: values[i] = drawn % 2001 / Dtype(1000) - 1; break;
    case 2: values[i] = i % limit; break;
    default:
      values[i] = drawn % 7 ? Dtype(drawn % limit) - limit / 2 : Dtype(Real(bytes));
    }
  }
}

/// Whether an input is looked at by a person: fork/fuzz.sh --input.
inline bool Shown() { return getenv("CAFFE_FUZZ_LOG") != NULL; }

/// Calls `body`; whether nothing was refused.
template <typename Body>
bool Try(const Body& body) {
  Caffe::set_random_seed(1);
  try {
    body();
  } catch (const Refused& refused) {
    if (Shown()) { std::cerr << "refused: " << refused.what() << std::endl; }
    return false;
  }
  return true;
}

}  // namespace caffe

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  FLAGS_logtostderr = true;
  if (!caffe::Shown()) {
    FLAGS_minloglevel = google::GLOG_FATAL;
    google::protobuf::SetLogHandler(NULL);
  }
  return 0;
}

#endif  // CAFFE_FUZZ_FUZZ_HPP_
