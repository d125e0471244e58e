#ifndef CAFFE_FUZZ_REFUSAL_HPP_
#define CAFFE_FUZZ_REFUSAL_HPP_

// Comes before all else in each file of a build for fork/fuzz.sh. What would end the program
// with a sentence, a CHECK that fails or LOG(FATAL), throws Refused there: the next input
// goes on in the same program, and what was allocated is freed.

#include <glog/logging.h>

#include <exception>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

namespace caffe {

struct Refused : public std::runtime_error {
  explicit Refused(const std::string& sentence) : std::runtime_error(sentence) {}
};

/// In the place of google::LogMessageFatal.
class Refusal {
 public:
  Refusal(const char* file, int line) { text_ << file << ":" << line << ": "; }
  Refusal(const char* file, int line, const google::CheckOpString& found)
      : Refusal(file, line) {
    const std::unique_ptr<std::string> owned(found.str_);
    text_ << "Check failed: " << *owned << " ";
  }
  ~Refusal() noexcept(false) {
    if (std::uncaught_exceptions() == 0) { throw Refused(text_.str()); }
  }
  std::ostream& stream() { return text_; }

 private:
  std::ostringstream text_;
};

}  // namespace caffe

#undef COMPACT_GOOGLE_LOG_FATAL
#define COMPACT_GOOGLE_LOG_FATAL caffe::Refusal(__FILE__, __LINE__)
#undef CHECK_OP
#define CHECK_OP(name, op, val1, val2) CHECK_OP_LOG(name, op, val1, val2, caffe::Refusal)

#endif  // CAFFE_FUZZ_REFUSAL_HPP_
