#include <fstream>
#include <iterator>
#include <string>

#include "gtest/gtest.h"

#include "caffe/common.hpp"
#include "caffe/util/algorithm_cache.hpp"
#include "caffe/util/io.hpp"

#include "caffe/test/test_caffe_main.hpp"

namespace caffe {

class AlgorithmCacheTest : public ::testing::Test {
 protected:
  AlgorithmCacheTest() { MakeTempFilename(&path_); }

  static Algorithm Of(int number) {
    const Algorithm algorithm = {number, 2, size_t(5) << 30, 4, 0.25f};
    return algorithm;
  }

  std::string path_;
};

TEST_F(AlgorithmCacheTest, TestWhatIsAddedIsFound) {
  AlgorithmCache cache("");
  Algorithm found;
  EXPECT_FALSE(cache.Find("forward 1x2", &found));
  cache.Add("forward 1x2", Of(3));
  cache.Add("forward 1x2", Of(4));
  ASSERT_TRUE(cache.Find("forward 1x2", &found));
  EXPECT_EQ(4, found.number);
  EXPECT_EQ(1, cache.size());
}

TEST_F(AlgorithmCacheTest, TestAnotherRunFindsIt) {
  AlgorithmCache(path_).Add("card, forward 1x2", Of(3));
  AlgorithmCache(path_).Add("card, forward 2x2", Of(1));
  AlgorithmCache(path_).Add("card, forward 1x2", Of(7));
  AlgorithmCache cache(path_);
  Algorithm found;
  ASSERT_TRUE(cache.Find("card, forward 1x2", &found));
  EXPECT_EQ(7, found.number);
  EXPECT_EQ(2, found.math);
  EXPECT_EQ(size_t(5) << 30, found.workspace);
  EXPECT_EQ(4, found.pieces);
  EXPECT_EQ(0.25f, found.milliseconds);
  EXPECT_EQ(2, cache.size());
}

TEST_F(AlgorithmCacheTest, TestDamagedLinesArePassedOver) {
  AlgorithmCache(path_).Add("good", Of(3));
  {
    std::ofstream file(path_.c_str(), std::ios::app);
    file << "no tab\n\t1 2 3 4 5 ;\ncut\t1 2 33\nnegative\t-1 0 0 1 1 ;\n"
        << "nan\t1 0 0 1 nan ;\nnone\t1 0 0 0 1 ;\nolder\t1 0 0 1 ;\nwords\tone two ;\n";
  }
  AlgorithmCache(path_).Add("good, too", Of(4));
  AlgorithmCache cache(path_);
  Algorithm found;
  EXPECT_EQ(2, cache.size());
  EXPECT_TRUE(cache.Find("good, too", &found));
  EXPECT_FALSE(cache.Find("cut", &found));
}

TEST_F(AlgorithmCacheTest, TestAFileThatCannotBeWrittenIsNoFault) {
  AlgorithmCache cache("/proc/nowhere/algorithms");
  Algorithm found;
  cache.Add("a", Of(3));
  cache.Add("b", Of(4));
  EXPECT_TRUE(cache.Find("a", &found));
  EXPECT_TRUE(cache.Find("b", &found));
}

}  // namespace caffe
