#ifndef CAFFE_UTIL_WORKER_THREADS_HPP_
#define CAFFE_UTIL_WORKER_THREADS_HPP_

#include <functional>
#include <memory>

#include "caffe/common.hpp"

namespace caffe {

/**
 * @brief Threads that a loop is shared out to, besides the thread that calls.
 *
 * For threads that prepare data while others compute. OpenMP would give each of them a
 * team of its own, and with more threads in its teams than there are processors, GNU's
 * OpenMP has all of them sleep at every barrier, those that compute, too.
 *
 * One thread at a time may call For. After fork() the caller works alone in the child.
 */
class WorkerThreads {
 public:
  explicit WorkerThreads(int count);
  ~WorkerThreads();

  /// Calls `body` with 0 ... count - 1, each once, and returns when all are done. What
  /// `body` throws ends the program.
  void For(int count, const std::function<void(int)>& body);

 private:
  struct Shared;
  static void Work(std::shared_ptr<Shared> shared);

  std::shared_ptr<Shared> shared_;
  DISABLE_COPY_AND_ASSIGN(WorkerThreads);
};

}  // namespace caffe

#endif  // CAFFE_UTIL_WORKER_THREADS_HPP_
