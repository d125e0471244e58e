#include <string>

#include "caffe/common.hpp"
#include "caffe/util/label_check.hpp"

namespace caffe {

void RefuseLabel(const std::string& layer, double label, int outputs) {
  LOG(FATAL) << "Layer '" << layer << "' is given the label " << label << " and has "
      << outputs << " outputs, for the labels 0 to " << outputs - 1 << ".";
}

}  // namespace caffe
