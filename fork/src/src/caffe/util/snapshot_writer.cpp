#include "caffe/util/snapshot_writer.hpp"

#include <fcntl.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <iomanip>
#include <sstream>

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

string PartOf(const string& filename) { return filename + ".part"; }

string FolderOf(const string& filename) {
  const size_t slash = filename.rfind('/');
  return slash == string::npos ? "." : filename.substr(0, slash + 1);
}

// A file's content and its checksum, under its name while it is not whole. What fails
// first is kept, and nothing is tried after it.
class PartFile : public google::protobuf::io::CopyingOutputStream {
 public:
  explicit PartFile(const string& filename)
      : file_(open(PartOf(filename).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644)),
        error_(0) {
    Note(file_ >= 0);
  }
  virtual ~PartFile() {
    if (file_ >= 0) { close(file_); }
  }

  virtual bool Write(const void* bytes, int size) {
    checksum_.Add(static_cast<const unsigned char*>(bytes), size);
    const char* next = static_cast<const char*>(bytes);
    while (size > 0 && !error_) {
      const ssize_t written = write(file_, next, size);
      if (written < 0 && errno == EINTR) { continue; }
      if (Note(written >= 0)) {
        next += written;
        size -= written;
      }
    }
    return !error_;
  }

  // Adds the checksum; returns when all of it is on the disk.
  void Finish() {
    const uint32_t checksum = checksum_.Value();
    unsigned char end[sizeof(kChecksumTag) + 4];
    std::memcpy(end, kChecksumTag, sizeof(kChecksumTag));
    for (int i = 0; i < 4; ++i) { end[sizeof(kChecksumTag) + i] = checksum >> (8 * i); }
    if (!Write(end, sizeof(end)) || !Note(fsync(file_) == 0)) { return; }
    const int closed = file_;
    file_ = -1;
    Note(close(closed) == 0);
  }

  // Of the system; 0 for none.
  int error() const { return error_; }

 private:
  // Of a call that has just set errno, where not.
  bool Note(bool succeeded) {
    if (!succeeded && !error_) { error_ = errno; }
    return succeeded;
  }

  int file_, error_;
  Crc32 checksum_;
};

// Returns the system's error, or 0.
int WritePart(const google::protobuf::Message& message, const string& filename) {
  PartFile file(filename);
  if (file.error()) { return file.error(); }
  {
    google::protobuf::io::CopyingOutputStreamAdaptor stream(&file, 1 << 20);
    message.SerializeToZeroCopyStream(&stream);
  }
  if (!file.error()) { file.Finish(); }
  return file.error();
}

// Gives a file its name; returns the system's error, or 0.
int Publish(const string& filename) {
  if (rename(PartOf(filename).c_str(), filename.c_str())) { return errno; }
  const int opened = open(FolderOf(filename).c_str(), O_RDONLY | O_DIRECTORY);
  // Some file systems have no such thing to be synchronised: the file itself is.
  if (opened >= 0) {
    fsync(opened);
    close(opened);
  }
  LOG(INFO) << "Wrote the whole of " << filename;
  return 0;
}

string Megabytes(double bytes) {
  std::ostringstream text;
  text << std::fixed << std::setprecision(1) << bytes / 1e6 << " MB";
  return text.str();
}

}  // namespace

string SnapshotWriter::WriteAll() {
  string failed, reason;
  double needed = 0;
  for (File& file : files_) {
    const size_t size = file.first->ByteSizeLong();
    needed += size;
    if (!failed.empty()) {
      // Only how much room it would take counts.
    } else if (size > INT_MAX) {
      failed = file.second;
      reason = "it takes more than the 2 GB that a protobuf message can have";
    } else if (const int error = WritePart(*file.first, file.second)) {
      failed = file.second;
      reason = std::strerror(error);
    }
    file.first.reset();
  }
  for (int i = 0; i < files_.size() && failed.empty(); ++i) {
    if (const int error = Publish(files_[i].second)) {
      failed = files_[i].second;
      reason = std::strerror(error);
    }
  }
  for (const File& file : files_) {
    unlink(PartOf(file.second).c_str());  // a full disk needs the room
  }
  if (failed.empty()) { return ""; }
  string room;
  struct statvfs disk;
  if (statvfs(FolderOf(failed).c_str(), &disk) == 0) {
    room = ", and " + Megabytes(double(disk.f_bavail) * disk.f_frsize) + " are free";
  }
  return "Cannot write " + failed + ": " + reason + " (the snapshot takes "
      + Megabytes(needed) + room + ")";
}

void SnapshotWriter::Start() {
  thread_ = std::thread([this] {
    fault_ = WriteAll();
    if (!fault_.empty()) {
      LOG(WARNING) << fault_ << ". Snapshots before it stay as they are.";
    }
  });
}

bool SnapshotWriter::Wait() {
  if (thread_.joinable()) {
    thread_.join();
    files_.clear();
  }
  return fault_.empty();
}

}  // namespace caffe
