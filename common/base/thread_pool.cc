#include "common/base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lorikeet {
namespace {

// Pieces a loop is cut into, for each thread: products of decoding take 100 to 5000 us, so a piece
// takes 3 to 200.
constexpr int64_t kPiecesPerThread = 16;

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

// Spins until done() or a limit that follows what spinning has brought: it halves when the time ran
// out, and doubles when it did not.  One thread's.
class Spinner {
 public:
  template <typename Done>
  bool Until(const Done& done) {
    const auto start = Clock::now();
    do {
      for (int i = 0; i < 16; ++i) {
        if (done()) {
          limit_ = std::min(kLongest, 2 * limit_);
          return true;
        }
        Pause();
      }
    } while (Clock::now() - start < limit_);
    limit_ = std::max(kShortest, limit_ / 2);
    return false;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::nanoseconds kLongest{100'000};
  static constexpr std::chrono::nanoseconds kShortest{4'000};
  std::chrono::nanoseconds limit_ = kLongest;
};

// The pieces of one thread that nobody has taken yet: [first, last).
class alignas(64) Share {
 public:
  void Set(uint32_t first, uint32_t last) {
    left_.store(Pack(first, last), std::memory_order_relaxed);
  }
  // The first piece, or with `end` the last; false when there is none.
  bool Take(bool end, uint32_t* piece) {
    uint64_t left = left_.load(std::memory_order_relaxed);
    for (;;) {
      const auto first = static_cast<uint32_t>(left >> 32);
      const auto last = static_cast<uint32_t>(left);
      if (first >= last) return false;
      *piece = end ? last - 1 : first;
      const uint64_t rest = end ? Pack(first, last - 1) : Pack(first + 1, last);
      if (left_.compare_exchange_weak(left, rest, std::memory_order_relaxed)) return true;
    }
  }

 private:
  static uint64_t Pack(uint32_t first, uint32_t last) {
    return static_cast<uint64_t>(first) << 32 | last;
  }
  std::atomic<uint64_t> left_{0};
};

}  // namespace

// A loop is open from when it is published until its caller finds no piece left.  Workers join an
// open loop, and the caller waits for those that have joined: not for one that has not woken up.
class ThreadPool::Team {
 public:
  explicit Team(int threads) : shares_(static_cast<size_t>(threads)) {
    for (int i = 1; i < threads; ++i) {
      workers_.emplace_back([this, i] { Work(static_cast<size_t>(i)); });
    }
  }

  ~Team() {
    {
      std::lock_guard lock(mutex_);
      stopping_.store(true);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  void Run(int64_t count, int64_t piece, const std::function<void(int64_t, int64_t)>& body) {
    body_ = &body;
    count_ = count;
    piece_ = piece;
    const auto pieces = static_cast<uint64_t>((count + piece - 1) / piece);
    const uint64_t threads = shares_.size();
    for (uint64_t i = 0; i < threads; ++i) {
      shares_[i].Set(static_cast<uint32_t>(pieces * i / threads),
                     static_cast<uint32_t>(pieces * (i + 1) / threads));
    }
    // Nobody is in the old loop, and nobody enters it: `state_` changes only here.
    state_.store((state_.load(std::memory_order_relaxed) & ~kMembers) + kGeneration + kOpen);
    if (sleepers_.load() > 0) {
      {
        std::lock_guard lock(mutex_);
      }
      wake_.notify_all();
    }
    RunPieces(0);
    if ((state_.fetch_sub(kOpen) & kMembers) > 0) AwaitMembers();
  }

 private:
  // state_: members | open | generation of the loop.
  static constexpr uint64_t kMembers = 0xffff;
  static constexpr uint64_t kOpen = 0x10000;
  static constexpr uint64_t kGeneration = 0x20000;

  void RunPieces(size_t self) {
    for (size_t i = 0; i < shares_.size(); ++i) {
      Share& share = shares_[(self + i) % shares_.size()];
      uint32_t taken;
      while (share.Take(/*end=*/i > 0, &taken)) {
        const int64_t begin = taken * piece_;
        (*body_)(begin, std::min(count_, begin + piece_));
      }
    }
  }

  void AwaitMembers() {
    const auto left = [this] { return (state_.load(std::memory_order_acquire) & kMembers) == 0; };
    if (caller_.Until(left)) return;
    std::unique_lock lock(mutex_);
    caller_sleeps_.store(true);
    finished_.wait(lock, [&] { return (state_.load() & kMembers) == 0; });
    caller_sleeps_.store(false);
  }

  void Work(size_t self) {
    Spinner spinner;
    uint64_t seen = 0;  // generation of the last loop joined
    while (AwaitLoop(seen, &spinner)) {
      uint64_t state = state_.load(std::memory_order_relaxed);
      if ((state & kOpen) == 0) continue;
      if (!state_.compare_exchange_weak(state, state + 1)) continue;
      seen = state / kGeneration;
      RunPieces(self);
      const uint64_t before = state_.fetch_sub(1);
      if ((before & (kOpen | kMembers)) == 1 && caller_sleeps_.load()) {
        {
          std::lock_guard lock(mutex_);
        }
        finished_.notify_one();
      }
    }
  }

  // Waits for an open loop other than `seen`; false when the pool stops.
  bool AwaitLoop(uint64_t seen, Spinner* spinner) {
    const auto ready = [&] {
      const uint64_t state = state_.load();
      return ((state & kOpen) != 0 && state / kGeneration != seen) || stopping_.load();
    };
    if (!spinner->Until(ready)) {
      std::unique_lock lock(mutex_);
      sleepers_.fetch_add(1);
      wake_.wait(lock, ready);
      sleepers_.fetch_sub(1);
    }
    return !stopping_.load();
  }

  // The current loop; written while it has no members and is not open.
  const std::function<void(int64_t, int64_t)>* body_ = nullptr;
  int64_t count_ = 0;
  int64_t piece_ = 0;
  std::vector<Share> shares_;

  alignas(64) std::atomic<uint64_t> state_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stopping_{false};
  Spinner caller_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable finished_;
  std::vector<std::thread> workers_;
};

ThreadPool::ThreadPool(int threads)
    : threads_(threads > 0 ? threads : AvailableThreads()),
      team_(threads_ > 1 ? std::make_unique<Team>(threads_) : nullptr) {}

ThreadPool::~ThreadPool() = default;

void ThreadPool::ParallelFor(int64_t count, int64_t grain,
                             const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(1, grain);
  const int64_t grains = (count + grain - 1) / grain;
  if (threads_ == 1 || grains == 1) return body(0, count);
  const int64_t pieces = threads_ * kPiecesPerThread;
  team_->Run(count, grain * ((grains + pieces - 1) / pieces), body);
}

}  // namespace lorikeet
