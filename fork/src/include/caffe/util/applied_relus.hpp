#ifndef CAFFE_UTIL_APPLIED_RELUS_HPP_
#define CAFFE_UTIL_APPLIED_RELUS_HPP_

#include <vector>

#include "caffe/layer.hpp"
#include "caffe/util/channel_bias.hpp"

namespace caffe {

template <typename Dtype> class Net;

/**
 * @brief Which of a net's ReLUs the layers before them apply, where both run in the same
 *        pass on a GPU.
 *
 * Those that follow an AppliesReLU in place and rectify wholly (no negative_slope). A pass
 * of a part of the net that ends between the two computes what each of them is.
 */
template <typename Dtype>
class AppliedReLUs {
 public:
  /// Finds them; in CPU mode there are none.
  void Find(const Net<Dtype>& net);

  /// Before a pass over layers `first` to `last`, in either direction.
  void Begin(int first, int last);
  /// Whether layer i is left to the one before it, in the pass that has begun.
  bool Passes(int i) const;

  /// How many there are.
  int count() const;

 private:
  /// By layers: the one that applies it; NULL for others than such ReLUs.
  std::vector<AppliesReLU*> by_;
  int first_ = 0;
};

}  // namespace caffe

#endif  // CAFFE_UTIL_APPLIED_RELUS_HPP_
