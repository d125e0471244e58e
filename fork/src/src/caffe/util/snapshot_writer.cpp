#include "caffe/util/snapshot_writer.hpp"

#include <fcntl.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace caffe {

namespace {

// zlib's CRC-32, eight bytes at a time: what byte k of them adds is in table 7 - k.
class Crc32 {
 public:
  Crc32() : remainder_(0xffffffff), tables_(8, vector<uint32_t>(256)) {
    for (int i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) {
        value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
      }
      tables_[0][i] = value;
    }
    for (int table = 1; table < 8; ++table) {
      for (int i = 0; i < 256; ++i) {
        const uint32_t before = tables_[table - 1][i];
        tables_[table][i] = before >> 8 ^ tables_[0][before & 255];
      }
    }
  }

  void Add(const unsigned char* bytes, int size) {
    const uint32_t* const table[] = {tables_[0].data(), tables_[1].data(),
        tables_[2].data(), tables_[3].data(), tables_[4].data(), tables_[5].data(),
        tables_[6].data(), tables_[7].data()};
    uint32_t value = remainder_;
    for (; size >= 8; bytes += 8, size -= 8) {
      const uint32_t first = value ^ (bytes[0] | bytes[1] << 8 | bytes[2] << 16
          | uint32_t(bytes[3]) << 24);
      value = table[7][first & 255] ^ table[6][first >> 8 & 255]
          ^ table[5][first >> 16 & 255] ^ table[4][first >> 24]
          ^ table[3][bytes[4]] ^ table[2][bytes[5]]
          ^ table[1][bytes[6]] ^ table[0][bytes[7]];
    }
    for (; size > 0; ++bytes, --size) {
      value = value >> 8 ^ table[0][(value ^ *bytes) & 255];
    }
    remainder_ = value;
  }

  uint32_t Value() const { return ~remainder_; }

 private:
  uint32_t remainder_;
  vector<vector<uint32_t> > tables_;
};

class ChecksummedFile : public google::protobuf::io::CopyingOutputStream {
 public:
  explicit ChecksummedFile(const string& filename)
      : filename_(filename), part_(filename + ".part"),
        file_(open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644)) {
    Require(file_ >= 0);
  }

  virtual bool Write(const void* bytes, int size) {
    checksum_.Add(static_cast<const unsigned char*>(bytes), size);
    const char* next = static_cast<const char*>(bytes);
    while (size > 0) {
      const ssize_t written = write(file_, next, size);
      if (written < 0 && errno == EINTR) { continue; }
      Require(written >= 0);
      next += written;
      size -= written;
    }
    return true;
  }

  // Adds the checksum, and gives the file its name when all of it is on the disk.
  void Finish() {
    const uint32_t checksum = checksum_.Value();
    unsigned char end[sizeof(kChecksumTag) + 4];
    std::memcpy(end, kChecksumTag, sizeof(kChecksumTag));
    for (int i = 0; i < 4; ++i) { end[sizeof(kChecksumTag) + i] = checksum >> (8 * i); }
    Write(end, sizeof(end));
    Require(fsync(file_) == 0);
    Require(close(file_) == 0);
    Require(rename(part_.c_str(), filename_.c_str()) == 0);
    const size_t slash = filename_.rfind('/');
    const string folder =
        slash == string::npos ? "." : filename_.substr(0, slash + 1);
    const int opened = open(folder.c_str(), O_RDONLY | O_DIRECTORY);
    // Some file systems have no such thing to be synchronised: the file itself is.
    if (opened >= 0) {
      fsync(opened);
      close(opened);
    }
  }

 private:
  // Of a call that has just set errno, where not.
  void Require(bool succeeded) {
    if (succeeded) { return; }
    const string reason = std::strerror(errno);
    unlink(part_.c_str());  // a full disk needs the room
    LOG(FATAL) << "Cannot write " << filename_ << ": " << reason;
  }

  const string filename_, part_;
  const int file_;
  Crc32 checksum_;
};

}  // namespace

void WriteWholeFile(const google::protobuf::Message& message, const string& filename) {
  ChecksummedFile file(filename);
  {
    google::protobuf::io::CopyingOutputStreamAdaptor stream(&file, 1 << 20);
    CHECK(message.SerializeToZeroCopyStream(&stream)) << "Cannot write " << filename
        << ": it would take more than the 2 GB that a protobuf message can have";
    stream.Flush();
  }
  file.Finish();
  LOG(INFO) << "Wrote the whole of " << filename;
}

void SnapshotWriter::Start() {
  thread_ = std::thread([this] {
    for (File& file : files_) {
      WriteWholeFile(*file.first, file.second);
      file.first.reset();
    }
  });
}

void SnapshotWriter::Wait() {
  if (!thread_.joinable()) { return; }
  thread_.join();
  files_.clear();
}

}  // namespace caffe
