#ifndef CAFFE_UTIL_PARAMETER_UPDATE_HPP_
#define CAFFE_UTIL_PARAMETER_UPDATE_HPP_

#include <cmath>
#include <vector>

#include "caffe/util/host_device.hpp"

/// A solver's update of all parameters at once, in a few launches of one kernel: what
/// SGDSolver's Normalize, Regularize, ComputeUpdateValue and Net::Update do one after another.

namespace caffe {

template <typename Dtype> class Blob;
template <typename Dtype> class SGDSolver;

/// @brief One parameter: where its numbers lie, and its own rate and weight decay.
template <typename Dtype>
struct ParameterUpdate {
  Dtype* data;
  Dtype* diff;       ///< the gradient; afterwards what was subtracted from data
  Dtype* history;
  Dtype* history2;   ///< of Adam and AdaDelta
  int count;
  Dtype rate, decay;
};

enum UpdateMethod {
  UPDATE_SGD, UPDATE_NESTEROV, UPDATE_ADAGRAD, UPDATE_RMSPROP, UPDATE_ADADELTA, UPDATE_ADAM
};

/// @brief What all parameters have in common. The letters are those of the solvers' fields.
template <typename Dtype>
struct UpdateRule {
  UpdateMethod method;
  Dtype gradient_scale;  ///< 1 / iter_size
  bool sign;             ///< L1: decay takes the weight's sign in place of the weight
  Dtype momentum, momentum2, rms_decay, delta;

  /// Updates element i of a parameter.
  CAFFE_HOST_DEVICE void operator()(const ParameterUpdate<Dtype>& p, int i) const {
    const Dtype weight = p.data[i];
    Dtype gradient = p.diff[i] * gradient_scale;
    if (p.decay != 0) {
      gradient += p.decay * (sign ? Dtype((weight > 0) - (weight < 0)) : weight);
    }
    const Dtype update = Value(p, i, gradient);
    p.diff[i] = update;
    p.data[i] = weight - update;
  }

 private:
  CAFFE_HOST_DEVICE Dtype Value(const ParameterUpdate<Dtype>& p, int i, Dtype g) const {
    Dtype& history = p.history[i];
    const Dtype before = history;
    switch (method) {
    case UPDATE_NESTEROV:
      history = p.rate * g + momentum * before;
      return (1 + momentum) * history - momentum * before;
    case UPDATE_ADAGRAD:
      history = before + g * g;
      return p.rate * (g / (std::sqrt(history) + delta));
    case UPDATE_RMSPROP:
      history = (1 - rms_decay) * (g * g) + rms_decay * before;
      return p.rate * (g / (std::sqrt(history) + delta));
    case UPDATE_ADADELTA: {
      Dtype& updates = p.history2[i];
      history = (1 - momentum) * (g * g) + momentum * before;
      const Dtype update = g * std::sqrt((updates + delta) / (history + delta));
      updates = (1 - momentum) * (update * update) + momentum * updates;
      return p.rate * update;
    }
    case UPDATE_ADAM: {  // the rate has the corrections for the first iterations
      Dtype& squares = p.history2[i];
      history = (1 - momentum) * g + momentum * before;
      squares = (1 - momentum2) * (g * g) + momentum2 * squares;
      return p.rate * (history / (std::sqrt(squares) + delta));
    }
    default:
      history = p.rate * g + momentum * before;
      return history;
    }
  }
};

/// What the solver's next update does. The parameters' pointers are left NULL. False for
/// solvers and regularizations that are not Caffe's own.
template <typename Dtype>
bool NextUpdate(SGDSolver<Dtype>* solver, Dtype rate, UpdateRule<Dtype>* rule,
    std::vector<ParameterUpdate<Dtype> >* parameters);

#ifndef CPU_ONLY

/// Updates all parameters of the solver on the card, if it has one of Caffe's own methods,
/// and returns whether it has.
template <typename Dtype>
bool UpdateOnDevice(SGDSolver<Dtype>* solver, Dtype rate);

/// The sum of the squares of all gradients: in double precision, the same in every run. The
/// host waits once.
template <typename Dtype>
double SumOfSquaresOnDevice(const std::vector<Blob<Dtype>*>& parameters);

/// Multiplies all gradients.
template <typename Dtype>
void ScaleOnDevice(const std::vector<Blob<Dtype>*>& parameters, Dtype factor);

#endif  // CPU_ONLY

}  // namespace caffe

#endif  // CAFFE_UTIL_PARAMETER_UPDATE_HPP_
