#include "caffe/util/algorithm_cache.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "caffe/common.hpp"

namespace caffe {

static bool ParseLine(const std::string& line, std::string* problem,
    Algorithm* found) {
  const size_t tab = line.find('\t');
  if (tab == std::string::npos || tab == 0) { return false; }
  std::istringstream fields(line.substr(tab + 1));
  std::string end;
  if (!(fields >> found->number >> found->math >> found->workspace
        >> found->pieces >> found->milliseconds >> end) || end != ";") {
    return false;  // it was cut short
  }
  *problem = line.substr(0, tab);
  return found->number >= 0 && found->pieces > 0 && std::isfinite(found->milliseconds);
}

AlgorithmCache::AlgorithmCache(const std::string& path) : path_(path) {
  if (path_.empty()) { return; }
  std::ifstream file(path_.c_str());
  std::string line, problem;
  Algorithm found;
  while (std::getline(file, line)) {
    if (ParseLine(line, &problem, &found)) { known_[problem] = found; }
  }
}

bool AlgorithmCache::Find(const std::string& problem, Algorithm* found) {
  std::lock_guard<std::mutex> lock(mutex_);
  const std::map<std::string, Algorithm>::const_iterator at = known_.find(problem);
  if (at == known_.end()) { return false; }
  *found = at->second;
  return true;
}

void AlgorithmCache::Add(const std::string& problem, const Algorithm& found) {
  CHECK(problem.find_first_of("\t\n") == std::string::npos) << problem;
  std::lock_guard<std::mutex> lock(mutex_);
  known_[problem] = found;
  if (path_.empty()) { return; }
  std::ostringstream line;
  line << problem << '\t' << found.number << ' ' << found.math << ' '
      << found.workspace << ' ' << found.pieces << ' ' << found.milliseconds << " ;\n";
  const std::string text = line.str();
  const int file = open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
  const bool written = file >= 0
      && write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (file >= 0) { close(file); }
  if (!written) {
    LOG(WARNING) << "Algorithms that were measured cannot be kept in " << path_
        << "; the next run measures them again.";
    path_.clear();
  }
}

size_t AlgorithmCache::size() {
  std::lock_guard<std::mutex> lock(mutex_);
  return known_.size();
}

}  // namespace caffe
