#ifndef CAFFE_UTIL_GEOMETRY_CHECK_HPP_
#define CAFFE_UTIL_GEOMETRY_CHECK_HPP_

#include <google/protobuf/message.h>
#include <stdint.h>

#include <string>
#include <vector>

#include "caffe/common.hpp"

namespace caffe {

/**
 * @brief Ends with a sentence on a size in convolution_param or pooling_param that nothing
 *    can be computed with: kernels, strides, dilations and groups of 0, by which layers
 *    divide, and any beyond 32,768, whose products are no ints.
 */
inline void CheckGeometry(const std::string& layer, const google::protobuf::Message& param) {
  using google::protobuf::FieldDescriptor;
  const uint32_t kMost = 1 << 15;
  const google::protobuf::Reflection* all = param.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  all->ListFields(param, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string name(field->name());
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_UINT32 || name == "num_output") {
      continue;
    }
    const uint32_t least = name.compare(0, 3, "pad") == 0 ? 0 : 1;
    const int count = field->is_repeated() ? all->FieldSize(param, field) : 1;
    for (int i = 0; i < count; ++i) {
      const uint32_t value = field->is_repeated()
          ? all->GetRepeatedUInt32(param, field, i) : all->GetUInt32(param, field);
      CHECK(value >= least && value <= kMost) << "Layer '" << layer << "' has " << name
          << ": " << value << "; it can be " << least << " to " << kMost << ".";
    }
  }
}

}  // namespace caffe

#endif  // CAFFE_UTIL_GEOMETRY_CHECK_HPP_
