#include <dirent.h>
#include <unistd.h>

#include <functional>

#include "gtest/gtest.h"

#include "caffe/util/thread_waiting.hpp"

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
  EXPECT_FALSE(choice.Next(0.02));
  EXPECT_FALSE(choice.Next(0.1));
  EXPECT_TRUE(choice.Next(0.3));
  EXPECT_TRUE(choice.Next(0.1));   // neither much nor little: as it was
  EXPECT_TRUE(choice.Next(0.02));
  EXPECT_TRUE(choice.Next(0.02));
  EXPECT_TRUE(choice.Next(0.1));   // not three quiet looks in a row
  EXPECT_TRUE(choice.Next(0.02));
  EXPECT_TRUE(choice.Next(0.02));
  EXPECT_FALSE(choice.Next(0.02));
  EXPECT_FALSE(choice.Next(0.1));
  EXPECT_TRUE(choice.Next(0.5));
}

}  // namespace caffe
