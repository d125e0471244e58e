#include "caffe/util/parameter_update.hpp"

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "caffe/sgd_solvers.hpp"

namespace caffe {

template <typename Dtype>
bool NextUpdate(SGDSolver<Dtype>* solver, Dtype rate, UpdateRule<Dtype>* rule,
    vector<ParameterUpdate<Dtype> >* parameters) {
  static const std::map<string, UpdateMethod> methods = {{"SGD", UPDATE_SGD},
      {"Nesterov", UPDATE_NESTEROV}, {"AdaGrad", UPDATE_ADAGRAD},
      {"RMSProp", UPDATE_RMSPROP}, {"AdaDelta", UPDATE_ADADELTA}, {"Adam", UPDATE_ADAM}};
  const auto method = methods.find(solver->type());
  const SolverParameter& param = solver->param();
  const bool sign = param.regularization_type() == "L1";
  if (method == methods.end() || (!sign && param.regularization_type() != "L2")) {
    return false;
  }
  rule->method = method->second;
  rule->gradient_scale = Dtype(1) / param.iter_size();
  rule->sign = sign;
  rule->momentum = param.momentum();
  rule->momentum2 = param.momentum2();
  rule->rms_decay = param.rms_decay();
  rule->delta = param.delta();
  Dtype correction = 1;
  if (rule->method == UPDATE_ADAM) {
    const int t = solver->iter() + 1;
    correction = std::sqrt(Dtype(1) - std::pow(rule->momentum2, t)) /
        (Dtype(1) - std::pow(rule->momentum, t));
  }
  const shared_ptr<Net<Dtype> > net = solver->net();
  const vector<Blob<Dtype>*>& params = net->learnable_params();
  parameters->assign(params.size(), ParameterUpdate<Dtype>());
  for (int i = 0; i < params.size(); ++i) {
    ParameterUpdate<Dtype>& update = (*parameters)[i];
    update.count = params[i]->count();
    update.rate = rate * net->params_lr()[i] * correction;
    update.decay = Dtype(param.weight_decay()) * net->params_weight_decay()[i];
  }
  return true;
}

template bool NextUpdate<float>(SGDSolver<float>*, float, UpdateRule<float>*,
    vector<ParameterUpdate<float> >*);
template bool NextUpdate<double>(SGDSolver<double>*, double, UpdateRule<double>*,
    vector<ParameterUpdate<double> >*);

}  // namespace caffe
