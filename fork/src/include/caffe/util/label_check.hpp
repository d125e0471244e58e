#ifndef CAFFE_UTIL_LABEL_CHECK_HPP_
#define CAFFE_UTIL_LABEL_CHECK_HPP_

#include <stdint.h>

#include <string>

#include "caffe/blob.hpp"
#include "caffe/util/host_device.hpp"

namespace caffe {

/// Ends with a sentence on a label that a layer has no output for.
void RefuseLabel(const std::string& layer, double label, int outputs);

/// Refuses the first label that is neither an output's nor the one that is ignored;
/// scores of such a label would be read beside their memory.
template <typename Dtype>
void CheckLabels(const std::string& layer, const Blob<Dtype>& labels, int outputs,
    bool has_ignore_label, int ignore_label) {
  const Dtype* label = labels.cpu_data();
  for (int i = 0; i < labels.count(); ++i) {
    const bool has_output = label[i] > -1 && label[i] < outputs;  // NaN has none
    if (!has_output && !(has_ignore_label && label[i] == ignore_label)) {
      RefuseLabel(layer, label[i], outputs);
    }
  }
}

/// A label in a word that is never 0 (util/mapped_word.hpp).
CAFFE_HOST_DEVICE unsigned long long PackLabel(int label) {  // NOLINT
  return static_cast<unsigned long long>(static_cast<uint32_t>(label)) << 1 | 1;  // NOLINT
}

inline int UnpackLabel(unsigned long long word) {  // NOLINT(runtime/int)
  return static_cast<int>(static_cast<uint32_t>(word >> 1));
}

}  // namespace caffe

#endif  // CAFFE_UTIL_LABEL_CHECK_HPP_
