#include "caffe/util/thread_waiting.hpp"

#ifndef _OPENMP

namespace caffe {

void ThreadWaiting::Check() {}

}  // namespace caffe

#else

#include <dirent.h>
#include <omp.h>

#include <algorithm>
#include <atomic>
#include <chrono>  // NOLINT(build/c++11)
#include <cstdio>
#include <cstdlib>
#include <future>
#include <mutex>  // NOLINT(build/c++11)
#include <string>
#include <thread>

namespace caffe {

namespace {

// Shares of the time that threads ran or waited. Alone on 2 processors, a training's
// threads wait for 0.01 to 0.03 of it, and for 0.2 to 0.4 beside a program that computes.
const double kMuch = 0.12;
const double kLittle = 0.06;
const int kQuietLooks = 3;
const double kEnoughSeconds = 0.1;  // that threads ran, to judge by

typedef std::chrono::steady_clock Clock;

// Seconds that this program's threads have run, and have been ready to run without a
// processor, since each began; none where the system does not tell.
struct Seconds {
  double ran, waited;
};

Seconds SecondsSoFar() {
  Seconds sum = {0, 0};
  DIR* tasks = opendir("/proc/self/task");
  while (const dirent* entry = tasks ? readdir(tasks) : NULL) {
    const std::string name = std::string("/proc/self/task/") + entry->d_name
        + "/schedstat";
    FILE* file = fopen(name.c_str(), "r");
    if (!file) { continue; }
    double ran, waited;
    if (fscanf(file, "%lf %lf", &ran, &waited) == 2) {
      sum.ran += ran * 1e-9;
      sum.waited += waited * 1e-9;
    }
    fclose(file);
  }
  if (tasks) { closedir(tasks); }
  return sum;
}

class Watch {
 public:
  Watch() : wanted_(!getenv("OMP_WAIT_POLICY")), looked_(Clock::now()),
            before_(SecondsSoFar()) {}

  void Look() {
    const int processors = omp_get_num_procs(), threads = omp_get_max_threads();
    if (!wanted_ || threads < 2 || Caffe::mode() == Caffe::GPU) { return; }
    const Clock::time_point now = Clock::now();
    if (now - looked_ < std::chrono::seconds(1)) { return; }
    looked_ = now;
    const Seconds seconds = SecondsSoFar();
    // What threads that have ended since had run and waited is missing.
    const double ran = seconds.ran - before_.ran;
    const double waited = std::max(0., seconds.waited - before_.waited);
    if (ran < kEnoughSeconds) { return; }
    before_ = seconds;
    const bool asleep = choice_.Next(waited / (ran + waited));
    // As many as make more than there are processors, with those that compute.
    spare_.Keep(asleep ? std::max(2, processors - threads + 2) : 0);
  }

 private:
  const bool wanted_;
  Clock::time_point looked_;
  Seconds before_;
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
  } else if (quiet_ >= kQuietLooks) {
    asleep_ = false;
  }
  return asleep_;
}

struct SpareThreads::Team {
  explicit Team(int count) : size(count), thread([this] {
#pragma omp parallel num_threads(size)
      ++members;  // a region without effect would be left out, and its team with it
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
  std::atomic<int> members{0};
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
