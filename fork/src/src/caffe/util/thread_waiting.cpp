#include "caffe/util/thread_waiting.hpp"

#ifndef _OPENMP

namespace caffe {

void ThreadWaiting::Check() {}

}  // namespace caffe

#else

#include <dirent.h>
#include <omp.h>

#include <algorithm>
#include <chrono>  // NOLINT(build/c++11)
#include <cstdio>
#include <cstdlib>
#include <future>
#include <mutex>  // NOLINT(build/c++11)
#include <string>
#include <thread>

namespace caffe {

namespace {

// Of a second. Threads of a training alone on 2 processors wait 0.03 to 0.06 of it, and
// 0.6 to 0.9 beside one other program that computes.
const double kMuch = 0.25;
const double kLittle = 0.12;
const int kQuietSeconds = 3;

typedef std::chrono::steady_clock Clock;

// Seconds that this program's threads have been ready to run without a processor, since
// each began; negative where the system does not tell.
double SecondsWaited() {
  DIR* tasks = opendir("/proc/self/task");
  if (!tasks) { return -1; }
  double nanoseconds = 0;
  bool told = false;
  while (const dirent* entry = readdir(tasks)) {
    const std::string name = std::string("/proc/self/task/") + entry->d_name
        + "/schedstat";
    FILE* file = fopen(name.c_str(), "r");
    if (!file) { continue; }
    double waited;
    if (fscanf(file, "%*s %lf", &waited) == 1) {
      nanoseconds += waited;
      told = true;
    }
    fclose(file);
  }
  closedir(tasks);
  return told ? nanoseconds * 1e-9 : -1;
}

class Watch {
 public:
  Watch() : looked_(Clock::now()), waited_(SecondsWaited()) {
    wanted_ = waited_ >= 0 && !getenv("OMP_WAIT_POLICY") && !getenv("GOMP_SPINCOUNT");
  }

  void Look() {
    const int processors = omp_get_num_procs(), threads = omp_get_max_threads();
    if (!wanted_ || threads < 2 || Caffe::mode() == Caffe::GPU) { return; }
    const Clock::time_point now = Clock::now();
    const double elapsed = std::chrono::duration<double>(now - looked_).count();
    if (elapsed < 1) { return; }
    const double waited = SecondsWaited();
    // What threads had waited that have ended since is missing.
    const bool asleep = choice_.Next(std::max(0., waited - waited_) / elapsed);
    looked_ = now;
    waited_ = waited;
    // As many as make more than there are processors, with those that compute.
    spare_.Keep(asleep ? std::max(2, processors - threads + 2) : 0);
  }

 private:
  Clock::time_point looked_;
  double waited_;
  bool wanted_;
  WaitingChoice choice_;
  SpareThreads spare_;
};

}  // namespace

void ThreadWaiting::Check() {
  // Never destroyed: a forked child, which lacks the spare threads, would wait for them.
  static Watch* watch = new Watch;
  static std::mutex* mutex = new std::mutex;
  std::unique_lock<std::mutex> lock(*mutex, std::try_to_lock);
  if (lock) { watch->Look(); }
}

bool WaitingChoice::Next(double waited) {
  quiet_ = waited < kLittle ? quiet_ + 1 : 0;
  if (waited > kMuch) {
    asleep_ = true;
  } else if (quiet_ >= kQuietSeconds) {
    asleep_ = false;
  }
  return asleep_;
}

struct SpareThreads::Team {
  explicit Team(int count) : size(count), thread([this] {
#pragma omp parallel num_threads(size)
      {}
      // The team is there until the thread ends that began it.
      begun.set_value();
      ended.get_future().wait();
    }) {
    begun.get_future().wait();
  }
  ~Team() {
    ended.set_value();
    thread.join();
  }

  const int size;
  std::promise<void> begun, ended;
  std::thread thread;
};

SpareThreads::SpareThreads() {}

SpareThreads::~SpareThreads() {}

void SpareThreads::Keep(int count) {
  if ((team_ ? team_->size : 0) == count) { return; }
  team_.reset();
  if (count > 0) { team_.reset(new Team(count)); }
}

}  // namespace caffe

#endif  // _OPENMP
