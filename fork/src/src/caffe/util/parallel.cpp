#include "caffe/util/parallel.hpp"

#if defined(_OPENMP) && defined(__linux__)

#include <dirent.h>
#include <omp.h>
#include <pthread.h>

namespace caffe {

// GNU's OpenMP keeps the threads of a loop for the next one. A fork leaves them behind,
// and the child would wait for them forever: there, loops stay in the one thread. A
// parent that has had none yet leaves the child free to start its own.
static bool has_threads;

static void BeforeFork() {
  DIR* tasks = opendir("/proc/self/task");
  int count = 0;
  while (tasks && readdir(tasks)) {
    ++count;
  }
  if (tasks) {
    closedir(tasks);
  }
  const int kOneThread = 3;  // itself, and the folder's `.` and `..`
  has_threads = count != kOneThread;
}

static void InChild() {
  if (has_threads) {
    omp_set_num_threads(1);
  }
}

static const int kRegistered = pthread_atfork(BeforeFork, NULL, InChild);

}  // namespace caffe

#endif
