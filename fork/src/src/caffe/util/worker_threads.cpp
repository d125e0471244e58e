#include "caffe/util/worker_threads.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

namespace caffe {

// Workers are detached and own a share of this, so that nobody has to wait for them:
// not a program that ends, nor a forked child, in which there are none.
struct WorkerThreads::Shared {
  std::mutex mutex;
  std::condition_variable begun;    // a loop, or the end
  std::condition_variable all_out;  // no worker is in a loop
  const std::function<void(int)>* body = nullptr;
  int count = 0;
  std::atomic<int> next{0};
  int inside = 0;     // workers that are in the loop
  long loop = 0;      // its number  // NOLINT(runtime/int)
  bool ended = false;
};

namespace {

// Takes what nobody else has taken.
void Take(std::atomic<int>* next, int count, const std::function<void(int)>& body)
    noexcept {
  for (int i; (i = next->fetch_add(1)) < count;) { body(i); }
}

}  // namespace

void WorkerThreads::Work(std::shared_ptr<Shared> shared) {
  long seen = 0;  // NOLINT(runtime/int)
  std::unique_lock<std::mutex> lock(shared->mutex);
  for (;;) {
    shared->begun.wait(lock, [&] { return shared->ended || shared->loop != seen; });
    if (shared->ended) { return; }
    seen = shared->loop;
    const std::function<void(int)>* body = shared->body;
    const int count = shared->count;
    ++shared->inside;
    lock.unlock();
    // A worker that comes late finds nothing left, and does not touch `body`, which may
    // be gone then; the next loop begins when it is out.
    Take(&shared->next, count, *body);
    lock.lock();
    if (--shared->inside == 0) { shared->all_out.notify_all(); }
  }
}

WorkerThreads::WorkerThreads(int count) : shared_(std::make_shared<Shared>()) {
  for (int i = 0; i < count; ++i) { std::thread(Work, shared_).detach(); }
}

WorkerThreads::~WorkerThreads() {
  std::lock_guard<std::mutex> lock(shared_->mutex);
  shared_->ended = true;
  shared_->begun.notify_all();
}

void WorkerThreads::For(int count, const std::function<void(int)>& body) {
  const auto none_inside = [&] { return shared_->inside == 0; };
  {
    std::unique_lock<std::mutex> lock(shared_->mutex);
    shared_->all_out.wait(lock, none_inside);
    shared_->body = &body;
    shared_->count = count;
    shared_->next = 0;
    ++shared_->loop;
  }
  shared_->begun.notify_all();
  Take(&shared_->next, count, body);
  std::unique_lock<std::mutex> lock(shared_->mutex);
  shared_->all_out.wait(lock, none_inside);
}

}  // namespace caffe
