#include "caffe/util/finite.hpp"

#include <cmath>
#include <cstring>
#include <sstream>
#include <string>

#include "caffe/net.hpp"

namespace caffe {

namespace {

// The bits of the exponent, which are all set in what is not finite. Compared as whole
// numbers, in vector instructions: weights take as long as a copy in memory.
template <typename Dtype> struct Exponent;
template <> struct Exponent<float> {
  typedef uint32_t Word;
  static const Word kBits = 0x7f800000;
};
template <> struct Exponent<double> {
  typedef uint64_t Word;
  static const Word kBits = 0x7ff0000000000000;
};

}  // namespace

template <typename Dtype>
bool IsFinite(const Blob<Dtype>& blob) {
  typedef typename Exponent<Dtype>::Word Word;
  const Word bits = Exponent<Dtype>::kBits;
  const Dtype* values = blob.count() ? blob.cpu_data() : NULL;
  const int count = blob.count();
  Word found = 0;
#pragma omp parallel for reduction(|:found) if (count > 1 << 15)
  for (int i = 0; i < count; ++i) {
    Word word;
    std::memcpy(&word, values + i, sizeof(word));
    found |= (word & bits) == bits;
  }
  return !found;
}

template <typename Dtype>
static bool HasFiniteWeights(const Net<Dtype>& net, int layer) {
  for (const shared_ptr<Blob<Dtype> >& blob : net.layers()[layer]->blobs()) {
    if (!IsFinite(*blob)) { return false; }
  }
  return true;
}

template <typename Dtype>
std::string LayerNotFinite(const Net<Dtype>& net) {
  for (int i = 0; i < net.layers().size(); ++i) {
    if (!HasFiniteWeights(net, i)) { return net.layer_names()[i]; }
  }
  return "";
}

template <typename Dtype>
std::string LossNotFinite(const Net<Dtype>& net, Dtype sum) {
  std::ostringstream found;
  for (int i = 0; i < net.layers().size(); ++i) {
    for (int j = 0; j < net.top_vecs()[i].size(); ++j) {
      if (!net.layers()[i]->loss(j)) { continue; }
      const Blob<Dtype>& top = *net.top_vecs()[i][j];
      for (int k = 0; k < top.count(); ++k) {
        const Dtype value = top.cpu_data()[k];
        if (std::isfinite(value)) { continue; }
        found << "loss " << net.blob_names()[net.top_ids(i)[j]] << " is " << value;
        return found.str();
      }
    }
  }
  found << "total loss is " << sum;
  return found.str();
}

template <typename Dtype>
std::string FirstNotFinite(const Net<Dtype>& net, int updates) {
  for (int i = 0; i < net.layers().size(); ++i) {
    const std::string& layer = net.layer_names()[i];
    if (!HasFiniteWeights(net, i)) {
      return "the weights of layer " + layer + " are not finite, after "
          + std::to_string(updates) + (updates == 1 ? " update" : " updates");
    }
    for (const Blob<Dtype>* top : net.top_vecs()[i]) {
      if (!IsFinite(*top)) {
        return "what layer " + layer + " computes is not finite"
            + (net.layers()[i]->blobs().empty() ? "" : ", and its weights are");
      }
    }
  }
  return "";
}

template bool IsFinite(const Blob<float>&);
template bool IsFinite(const Blob<double>&);
template std::string LayerNotFinite(const Net<float>&);
template std::string LayerNotFinite(const Net<double>&);
template std::string LossNotFinite(const Net<float>&, float);
template std::string LossNotFinite(const Net<double>&, double);
template std::string FirstNotFinite(const Net<float>&, int);
template std::string FirstNotFinite(const Net<double>&, int);

}  // namespace caffe
