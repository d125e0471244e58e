#include <algorithm>
#include <vector>

#include "caffe/sgd_solvers.hpp"
#include "caffe/util/device_scratch.hpp"
#include "caffe/util/device_sum.cuh"
#include "caffe/util/parameter_update.hpp"

namespace caffe {

namespace {

// A block's share of a parameter.
const int kThreads = 256;
const int kShare = 8 * kThreads;

// Arguments of a kernel are at most 4 KB before CUDA 12.1.
const int kTableBytes = 3500;

// Parameters, laid end to end, in shares: parameter k has the blocks from first[k] on.
template <typename Entry>
struct Table {
  static const int kCapacity = kTableBytes / (sizeof(Entry) + sizeof(int));
  Entry entries[kCapacity];
  int first[kCapacity + 1];
  int size;
};

// Does operation(entry, i) for every element i of the block's share.
template <typename Entry, typename Operation>
__device__ void ForShare(const Table<Entry>& table, Operation operation) {
  const int block = blockIdx.x;
  int low = 0, high = table.size;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (table.first[middle] <= block) { low = middle; } else { high = middle; }
  }
  const Entry entry = table.entries[low];
  const unsigned begin = static_cast<unsigned>(block - table.first[low]) * kShare;
  const unsigned rest = entry.count - begin;
  const unsigned end = begin + (rest < kShare ? rest : kShare);
  for (unsigned i = begin + threadIdx.x; i < end; i += kThreads) {
    operation(entry, static_cast<int>(i));
  }
}

template <typename Entry, typename Operation>
__global__ void DoForShares(const __grid_constant__ Table<Entry> table,
    const Operation operation) {
  ForShare(table, operation);
}

template <typename Dtype>
struct Values {
  Dtype* values;
  int count;
};

template <typename Dtype>
__global__ void SumSquaresOfShares(const __grid_constant__ Table<Values<Dtype> > table,
    double* partial) {
  double sums[1] = {};
  ForShare(table, [&sums](const Values<Dtype>& entry, int i) {
    sums[0] += static_cast<double>(entry.values[i]) * entry.values[i];
  });
  SumOfBlock<1>(sums);
  if (threadIdx.x == 0) { partial[blockIdx.x] = sums[0]; }
}

template <typename Dtype>
struct Multiply {
  Dtype factor;
  __device__ void operator()(const Values<Dtype>& entry, int i) const {
    entry.values[i] *= factor;
  }
};

struct Store {
  double* sum;
  __device__ void operator()(const double* sums) const { *sum = sums[0]; }
};

int Blocks(int count) { return (count - 1) / kShare + 1; }

// Calls launch(table, blocks) until all entries were in a table.
template <typename Entry, typename Launch>
void InTables(const vector<Entry>& entries, const Launch& launch) {
  Table<Entry> table;
  table.size = 0;
  table.first[0] = 0;
  for (int i = 0; i < entries.size(); ++i) {
    if (entries[i].count > 0) {
      table.entries[table.size] = entries[i];
      table.first[table.size + 1] = table.first[table.size] + Blocks(entries[i].count);
      ++table.size;
    }
    if (table.size == Table<Entry>::kCapacity
        || (i + 1 == entries.size() && table.size > 0)) {
      launch(table, table.first[table.size]);
      CUDA_POST_KERNEL_CHECK;
      table.size = 0;
    }
  }
}

template <typename Dtype>
vector<Values<Dtype> > Gradients(const vector<Blob<Dtype>*>& parameters) {
  vector<Values<Dtype> > gradients;
  for (int i = 0; i < parameters.size(); ++i) {
    const Values<Dtype> entry = {parameters[i]->mutable_gpu_diff(),
        parameters[i]->count()};
    gradients.push_back(entry);
  }
  return gradients;
}

}  // namespace

template <typename Dtype>
bool UpdateOnDevice(SGDSolver<Dtype>* solver, Dtype rate) {
  typedef ParameterUpdate<Dtype> Entry;
  UpdateRule<Dtype> rule;
  vector<Entry> updates;
  if (!NextUpdate(solver, rate, &rule, &updates)) { return false; }
  const vector<Blob<Dtype>*>& params = solver->net()->learnable_params();
  const vector<shared_ptr<Blob<Dtype> > >& history = solver->history();
  for (int i = 0; i < updates.size(); ++i) {
    updates[i].data = params[i]->mutable_gpu_data();
    updates[i].diff = params[i]->mutable_gpu_diff();
    updates[i].history = history[i]->mutable_gpu_data();
    updates[i].history2 = i + params.size() < history.size()
        ? history[i + params.size()]->mutable_gpu_data() : NULL;
  }
  InTables(updates, [&rule](const Table<Entry>& table, int blocks) {
    // NOLINT_NEXT_LINE(whitespace/operators)
    DoForShares<<<blocks, kThreads>>>(table, rule);
  });
  return true;
}

template <typename Dtype>
double SumOfSquaresOnDevice(const vector<Blob<Dtype>*>& parameters) {
  typedef Values<Dtype> Entry;
  const vector<Entry> gradients = Gradients(parameters);
  int shares = 0;
  for (int i = 0; i < gradients.size(); ++i) {
    if (gradients[i].count > 0) { shares += Blocks(gradients[i].count); }
  }
  if (shares == 0) { return 0; }
  double* partial = static_cast<double*>(DeviceScratch((shares + 1) * sizeof(double)));
  double* done = partial;
  InTables(gradients, [&done](const Table<Entry>& table, int blocks) {
    // NOLINT_NEXT_LINE(whitespace/operators)
    SumSquaresOfShares<<<blocks, kThreads>>>(table, done);
    done += blocks;
  });
  const Store store = {partial + shares};
  // NOLINT_NEXT_LINE(whitespace/operators)
  SumPartial<1><<<1, kSumThreads>>>(shares, partial, store);
  CUDA_POST_KERNEL_CHECK;
  double sum;
  CUDA_CHECK(cudaMemcpy(&sum, store.sum, sizeof(sum), cudaMemcpyDeviceToHost));
  return sum;
}

template <typename Dtype>
void ScaleOnDevice(const vector<Blob<Dtype>*>& parameters, Dtype factor) {
  typedef Values<Dtype> Entry;
  const Multiply<Dtype> multiply = {factor};
  InTables(Gradients(parameters), [&multiply](const Table<Entry>& table, int blocks) {
    // NOLINT_NEXT_LINE(whitespace/operators)
    DoForShares<<<blocks, kThreads>>>(table, multiply);
  });
}

template bool UpdateOnDevice<float>(SGDSolver<float>*, float);
template bool UpdateOnDevice<double>(SGDSolver<double>*, double);
template double SumOfSquaresOnDevice<float>(const vector<Blob<float>*>&);
template double SumOfSquaresOnDevice<double>(const vector<Blob<double>*>&);
template void ScaleOnDevice<float>(const vector<Blob<float>*>&, float);
template void ScaleOnDevice<double>(const vector<Blob<double>*>&, double);

}  // namespace caffe
