// What the thread pool costs, and what is left of it on a busy machine.  Not part of ctest.
//
// Run: thread_pool_bench [threads [hogs]].  Prints the time of an empty loop; then the rate of a
// simulated token (97 loops that read the weights of a small model, as decoding does, with some
// work of the calling thread between them) idle, beside `hogs` processes that only spin, and the
// share of the two: one busy process for each core leaves a fair scheduler's half.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "common/base/thread_pool.h"

namespace lorikeet {
namespace {

double Now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

double EmptyLoop(ThreadPool& pool) {
  const std::function<void(int64_t, int64_t)> nothing = [](int64_t, int64_t) {};
  std::vector<double> times;
  for (int repeat = 0; repeat < 200; ++repeat) {
    const double start = Now();
    for (int i = 0; i < 100; ++i) pool.ParallelFor(pool.threads(), 1, nothing);
    times.push_back((Now() - start) / 100);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// Reads `units` pieces of 16 KiB in a loop of the pool, from `from` on; returns where it ended.
class Token {
 public:
  Token() : weights_(static_cast<size_t>(kUnits * kUnitWords), 1) {}

  void Run(ThreadPool& pool) {
    constexpr int kLoops = 97;
    for (int i = 0; i < kLoops; ++i) {
      const int64_t units = i == kLoops - 1 ? kUnits / 4 : 180;
      const int64_t from = next_;
      const std::function<void(int64_t, int64_t)> body = [&](int64_t begin, int64_t end) {
        for (int64_t u = begin; u < end; ++u) sums_[u] = Sum((from + u) % kUnits);
      };
      pool.ParallelFor(units, 1, body);
      next_ = (from + units) % kUnits;
      Sum(0);  // what one thread does between products
    }
  }

 private:
  static constexpr int64_t kUnitWords = 2048;
  static constexpr int64_t kUnits = 20000;

  uint64_t Sum(int64_t unit) const {
    const uint64_t* words = weights_.data() + unit * kUnitWords;
    uint64_t sums[8] = {};
    for (int64_t i = 0; i < kUnitWords; i += 8) {
      for (int j = 0; j < 8; ++j) sums[j] += words[i + j];
    }
    uint64_t total = 0;
    for (const uint64_t sum : sums) total += sum;
    return total;
  }

  std::vector<uint64_t> weights_;
  std::vector<uint64_t> sums_ = std::vector<uint64_t>(static_cast<size_t>(kUnits));
  int64_t next_ = 0;
};

double TokensPerSecond(ThreadPool& pool, Token& token, double seconds) {
  for (int i = 0; i < 3; ++i) token.Run(pool);
  const double start = Now();
  int tokens = 0;
  for (; Now() - start < seconds; ++tokens) token.Run(pool);
  return tokens / (Now() - start);
}

std::vector<pid_t> StartHogs(int count) {
  std::vector<pid_t> hogs;
  for (int i = 0; i < count; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      volatile uint64_t n = 0;
      for (;;) n = n + 1;
    }
    hogs.push_back(pid);
  }
  return hogs;
}

int Main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const int hog_count = argc > 2 ? std::atoi(argv[2]) : threads;
  Token token;
  const std::vector<pid_t> hogs = StartHogs(hog_count);  // before there are threads
  for (const pid_t pid : hogs) kill(pid, SIGSTOP);
  ThreadPool pool(threads);
  std::printf("%d threads: an empty loop takes %.2f us\n", pool.threads(), EmptyLoop(pool) * 1e6);
  for (int round = 0; round < 3; ++round) {
    const double idle = TokensPerSecond(pool, token, 1.5);
    for (const pid_t pid : hogs) kill(pid, SIGCONT);
    const double busy = TokensPerSecond(pool, token, 3.0);
    for (const pid_t pid : hogs) kill(pid, SIGSTOP);
    std::printf("tokens/s idle %.1f, beside %d busy processes %.1f: %.0f %%\n", idle, hog_count,
                busy, 100 * busy / idle);
  }
  for (const pid_t pid : hogs) {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }
  return 0;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) { return lorikeet::Main(argc, argv); }
