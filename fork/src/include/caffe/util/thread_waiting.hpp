#ifndef CAFFE_UTIL_THREAD_WAITING_HPP_
#define CAFFE_UTIL_THREAD_WAITING_HPP_

#include <memory>

#include "caffe/common.hpp"

namespace caffe {

/**
 * @brief Chooses how OpenMP's threads wait for each other: spinning, which is quick, or
 *        asleep, which leaves the processor to the one that they wait for.
 *
 * On a machine of one's own, spinning is faster where steps are short, by up to a fifth. When
 * others compute on the same processors, a thread that waits for one that the system has
 * put aside spins for milliseconds, at every barrier, and steps take several times as
 * long. So this looks at how long the program's threads have waited for processors.
 *
 * GNU's OpenMP has no call for it, but this rule (GOMP_SPINCOUNT in its manual): threads
 * hardly spin while there are more of them in its teams than processors. So threads are
 * kept spare, in a team that does nothing.
 */
class ThreadWaiting {
 public:
  /// Looks, once a second at most; to be called often. Does nothing on GPUs, with one
  /// thread, and where OMP_WAIT_POLICY has been set.
  static void Check();
};

/// Whether threads should sleep, from look to look.
class WaitingChoice {
 public:
  /// `waited`: how long threads were ready and had no processor, as a share of the time
  /// that they ran or waited so. Returns whether they should sleep now.
  bool Next(double waited);

 private:
  bool asleep_ = false;
  int quiet_ = 0;  // looks in a row
};

/// A team of OpenMP's threads that do nothing.
class SpareThreads {
 public:
  SpareThreads();
  ~SpareThreads();

  /// Has `count` threads, of which one is not OpenMP's, or none.
  void Keep(int count);

 private:
  struct Team;
  std::unique_ptr<Team> team_;
  DISABLE_COPY_AND_ASSIGN(SpareThreads);
};

}  // namespace caffe

#endif  // CAFFE_UTIL_THREAD_WAITING_HPP_
