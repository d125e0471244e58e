#include <dirent.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

#include "caffe/util/thread_waiting.hpp"
#include "caffe/util/worker_threads.hpp"

namespace caffe {

static int ThreadsOfThisProgram() {
  int count = 0;
  DIR* tasks = opendir("/proc/self/task");
  while (const dirent* entry = readdir(tasks)) { count += entry->d_name[0] != '.'; }
  closedir(tasks);
  return count;
}

// Threads begin and end a while after they were told to, those of earlier tests, too.
static bool Eventually(const std::function<bool(int)>& holds) {
  for (int i = 0; i < 2000 && !holds(ThreadsOfThisProgram()); ++i) { usleep(5000); }
  return holds(ThreadsOfThisProgram());
}

TEST(WorkerThreadsTest, TestEachIsCalledOnce) {
  for (int threads : {0, 1, 3}) {
    WorkerThreads workers(threads);
    for (int count : {0, 1, 2, 7, 100}) {
      for (int repeat = 0; repeat < 200; ++repeat) {
        std::vector<std::atomic<int>> calls(count);
        workers.For(count, [&](int i) { ++calls[i]; });
        for (int i = 0; i < count; ++i) { ASSERT_EQ(calls[i], 1) << threads << count; }
      }
    }
  }
}

TEST(WorkerThreadsTest, TestTheyWorkAtTheSameTime) {
  WorkerThreads workers(2);
  std::atomic<int> inside(0);
  workers.For(3, [&](int) {  // nobody gets out before all three are in
    ++inside;
    while (inside < 3) { std::this_thread::yield(); }
  });
  EXPECT_EQ(inside, 3);
}

TEST(WorkerThreadsTest, TestTheyEndWithIt) {
  const int before = ThreadsOfThisProgram();
  for (int i = 0; i < 20; ++i) {
    WorkerThreads workers(4);
    workers.For(10, [](int) {});
  }
  EXPECT_TRUE(Eventually([&](int threads) { return threads <= before; }));
}

TEST(WorkerThreadsTest, TestAForkedChildWorksAlone) {
  WorkerThreads workers(2);
  workers.For(10, [](int) {});
  const pid_t child = fork();
  if (child == 0) {
    int sum = 0;
    workers.For(5, [&](int i) { sum += i; });
    _exit(sum == 10 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

#ifdef _OPENMP

TEST(ThreadWaitingTest, TestSpareThreadsComeAndGo) {
  const int before = ThreadsOfThisProgram();
  SpareThreads spare;
  spare.Keep(40);
  EXPECT_TRUE(Eventually([&](int threads) { return threads >= before + 30; }));
  spare.Keep(20);
  EXPECT_TRUE(Eventually([&](int threads) { return threads <= before + 20; }));
  spare.Keep(0);
  EXPECT_TRUE(Eventually([&](int threads) { return threads <= before; }));
}

TEST(ThreadWaitingTest, TestThreadsSleepWhileTheyLackProcessors) {
  WaitingChoice choice;
  EXPECT_FALSE(choice.Next(0.05));
  EXPECT_FALSE(choice.Next(0.2));
  EXPECT_TRUE(choice.Next(0.6));
  EXPECT_TRUE(choice.Next(0.2));   // neither much nor little: as it was
  EXPECT_TRUE(choice.Next(0.05));
  EXPECT_TRUE(choice.Next(0.05));
  EXPECT_TRUE(choice.Next(0.2));   // not three quiet seconds in a row
  EXPECT_TRUE(choice.Next(0.05));
  EXPECT_TRUE(choice.Next(0.05));
  EXPECT_FALSE(choice.Next(0.05));
  EXPECT_FALSE(choice.Next(0.2));
  EXPECT_TRUE(choice.Next(1.5));
}

#endif  // _OPENMP

}  // namespace caffe
