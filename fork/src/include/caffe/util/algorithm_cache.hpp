#ifndef CAFFE_UTIL_ALGORITHM_CACHE_HPP_
#define CAFFE_UTIL_ALGORITHM_CACHE_HPP_

#include <cstddef>
#include <map>
#include <mutex>
#include <string>

namespace caffe {

/// @brief What a search for the fastest algorithm has found.
struct Algorithm {
  int number;        ///< of the library's enum
  int math;          ///< the library's math type that it was measured with
  size_t workspace;  ///< bytes that it needs beside its operands
  int pieces;        ///< of how many equal parts of a batch, one after the other
  float milliseconds;  ///< of all of them
};

/**
 * @brief Algorithms by the problem that they solve, also across runs, in a text file.
 *
 * A problem is one line of text without a tab, that holds everything the choice depends
 * on: card, library's version, shapes. The file has a line a problem and is appended to
 * in one write, so that several processes may share it. A line that cannot be read, cut
 * short by a full disk for instance, is passed over; of two lines for one problem the
 * later one counts. Thread-safe.
 */
class AlgorithmCache {
 public:
  /// @param path of the file; "" for none. A file that cannot be read or written is
  /// warned of once, and the cache lasts as long as the process.
  explicit AlgorithmCache(const std::string& path);

  /// Whether the problem is known; then `found` is what was added last.
  bool Find(const std::string& problem, Algorithm* found);
  void Add(const std::string& problem, const Algorithm& found);
  size_t size();

 private:
  std::string path_;
  std::map<std::string, Algorithm> known_;
  std::mutex mutex_;
};

}  // namespace caffe

#endif  // CAFFE_UTIL_ALGORITHM_CACHE_HPP_
