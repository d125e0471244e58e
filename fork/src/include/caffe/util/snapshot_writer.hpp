#ifndef CAFFE_UTIL_SNAPSHOT_WRITER_HPP_
#define CAFFE_UTIL_SNAPSHOT_WRITER_HPP_

#include <google/protobuf/message.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "caffe/common.hpp"

namespace caffe {

/// Number and wire type (fixed32) of the field that ends a file: the CRC-32, as zlib's, of
/// all bytes before it. No message declares it, so readers take it for one of a later
/// format, and pass over it.
const unsigned char kChecksumTag[] = {0xcd, 0x3e};  // 1001 << 3 | 5, as a varint

/// Writes a snapshot's files while training goes on. They get their names when all of them
/// are on the disk: until then each is <name>.part, and where one cannot be written none is
/// left, nor anything changed.
class SnapshotWriter {
 public:
  SnapshotWriter() {}
  ~SnapshotWriter() { Wait(); }

  /// Adds a file to the snapshot; the message must not be changed any more.
  void Add(const shared_ptr<const google::protobuf::Message>& message,
      const string& filename) {
    files_.push_back(std::make_pair(message, filename));
  }
  /// Begins to write what was added. One snapshot at a time: Wait comes before the next.
  /// Where it cannot be written, the log says so at once.
  void Start();
  /// Waits until all is on the disk. Returns false where the last snapshot is not there.
  bool Wait();
  /// Which file that failed with, why, and how much room there is; "" where none did.
  const string& fault() const { return fault_; }

 private:
  typedef std::pair<shared_ptr<const google::protobuf::Message>, string> File;
  /// Returns the fault.
  string WriteAll();

  vector<File> files_;
  std::thread thread_;
  string fault_;

  DISABLE_COPY_AND_ASSIGN(SnapshotWriter);
};

}  // namespace caffe

#endif  // CAFFE_UTIL_SNAPSHOT_WRITER_HPP_
