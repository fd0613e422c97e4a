#include "device/cli/memory_bandwidth.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "common/base/thread_pool.h"

namespace lorikeet {
namespace {

constexpr int64_t kWords = int64_t{1} << 25;  // 256 MiB
constexpr int kPasses = 6;

// The sum keeps the compiler from leaving the loads out; eight sums keep many of them in flight.
uint64_t SumOf(const uint64_t* words, int64_t count) {
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 8 <= count; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] += words[i + j];
  }
  uint64_t total = 0;
  for (const uint64_t sum : sums) total += sum;
  return total;
}

// In the child: bytes a second, 0 if there is no memory.
double Measure(int threads) {
  void* memory = mmap(nullptr, kWords * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 0;
  // As the model is mapped where that is possible (common/base/huge_pages.h): else the processor's
  // address tables would be measured.
  madvise(memory, kWords * sizeof(uint64_t), MADV_HUGEPAGE);
  auto* words = static_cast<uint64_t*>(memory);
  ThreadPool pool(threads);
  const int64_t part = kWords / pool.threads();
  std::atomic<uint64_t> sink{0};
  std::fill(words, words + kWords, 1);
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    pool.ParallelFor(pool.threads(), 1, [&](int64_t begin, int64_t end) {
      sink += SumOf(words + begin * part, (end - begin) * part);
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(part * pool.threads()) * 8 / seconds.count());
  }
  return sink.load() > 0 ? best : 0;
}

}  // namespace

absl::StatusOr<double> MeasureReadBandwidth(int threads) {
  int ends[2];
  if (pipe(ends) != 0) return absl::UnavailableError("cannot make a pipe to measure memory");
  const pid_t child = fork();
  if (child == 0) {
    const double bandwidth = Measure(threads);
    const ssize_t written = write(ends[1], &bandwidth, sizeof(bandwidth));
    _exit(written == sizeof(bandwidth) ? 0 : 1);
  }
  close(ends[1]);
  double bandwidth = 0;
  const bool received =
      child > 0 && read(ends[0], &bandwidth, sizeof(bandwidth)) == sizeof(bandwidth);
  close(ends[0]);
  if (child > 0) waitpid(child, nullptr, 0);
  if (!received || bandwidth <= 0) {
    return absl::UnavailableError("cannot measure memory: no process or memory for it");
  }
  return bandwidth;
}

}  // namespace lorikeet
