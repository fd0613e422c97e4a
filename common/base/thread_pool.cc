#include "common/base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lorikeet {
namespace {

constexpr int kSpins = 2000;

void Pause() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

int AvailableThreads() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

struct ThreadPool::Shared {
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable finished;
  std::atomic<uint64_t> generation{0};
  std::atomic<int> pending{0};
  bool stopping = false;
  // The current loop; written before `generation` grows.
  const std::function<void(int64_t, int64_t)>* body = nullptr;
  int64_t count = 0;
  int64_t chunk = 0;
  std::vector<std::thread> workers;

  void RunRange(int worker) {
    const int64_t begin = std::min(count, chunk * worker);
    const int64_t end = std::min(count, begin + chunk);
    if (begin < end) (*body)(begin, end);
  }

  // Waits until `generation` differs from `seen`; false when the pool stops.
  bool AwaitWork(uint64_t seen) {
    for (int i = 0; i < kSpins; ++i) {
      if (generation.load(std::memory_order_acquire) != seen) break;
      Pause();
    }
    std::unique_lock lock(mutex);
    wake.wait(lock, [&] { return stopping || generation.load(std::memory_order_relaxed) != seen; });
    return !stopping;
  }

  void Work(int worker) {
    uint64_t seen = 0;
    while (AwaitWork(seen)) {
      seen = generation.load(std::memory_order_acquire);
      RunRange(worker);
      if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        std::lock_guard lock(mutex);
        finished.notify_one();
      }
    }
  }
};

ThreadPool::ThreadPool(int threads)
    : threads_(threads > 0 ? threads : AvailableThreads()), shared_(std::make_unique<Shared>()) {
  for (int worker = 1; worker < threads_; ++worker) {
    shared_->workers.emplace_back([shared = shared_.get(), worker] { shared->Work(worker); });
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(shared_->mutex);
    shared_->stopping = true;
  }
  shared_->wake.notify_all();
  for (auto& worker : shared_->workers) worker.join();
}

void ThreadPool::ParallelFor(int64_t count, int64_t grain,
                             const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  const int64_t chunk = std::max(std::max<int64_t>(1, grain), (count + threads_ - 1) / threads_);
  if (threads_ == 1 || chunk >= count) {
    body(0, count);
    return;
  }
  Shared& s = *shared_;
  {
    std::lock_guard lock(s.mutex);
    s.body = &body;
    s.count = count;
    s.chunk = chunk;
    s.pending.store(threads_ - 1, std::memory_order_relaxed);
    s.generation.fetch_add(1, std::memory_order_release);
  }
  s.wake.notify_all();
  s.RunRange(0);
  for (int i = 0; i < kSpins; ++i) {
    if (s.pending.load(std::memory_order_acquire) == 0) return;
    Pause();
  }
  std::unique_lock lock(s.mutex);
  s.finished.wait(lock, [&] { return s.pending.load(std::memory_order_acquire) == 0; });
}

}  // namespace lorikeet
