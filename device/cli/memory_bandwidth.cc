#include "device/cli/memory_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <iterator>

namespace lorikeet {
namespace {

constexpr int64_t kBytesAtLeast = int64_t{1} << 28;  // of a pass
constexpr int kPasses = 5;
constexpr int64_t kPiece = 4096;

// Reads one word of each of eight cache lines at a time: the lines are what memory must deliver,
// and fewer instructions leave more of them under way.
uint64_t Touch(const uint8_t* bytes, int64_t count) {
  constexpr int64_t kLine = 64;
  uint64_t sums[8] = {};
  for (int64_t i = 0; i + 8 * kLine <= count; i += 8 * kLine) {
    for (int j = 0; j < 8; ++j) {
      uint64_t word;
      std::memcpy(&word, bytes + i + j * kLine, sizeof(word));
      sums[j] += word;
    }
  }
  uint64_t total = 1;
  for (const uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace

double MeasureReadBandwidth(std::span<const uint8_t> bytes, ThreadPool* pool) {
  const auto size = static_cast<int64_t>(bytes.size());
  const int64_t rounds = (kBytesAtLeast + size - 1) / size;
  const int64_t pieces = (size + kPiece - 1) / kPiece;
  std::atomic<uint64_t> sink{0};  // keeps the compiler from leaving the reads out
  double rates[kPasses] = {};
  for (int pass = 0; pass <= kPasses; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t round = 0; round < rounds; ++round) {
      pool->ParallelFor(pieces, 1, [&](int64_t begin, int64_t end) {
        sink += Touch(bytes.data() + begin * kPiece, std::min(size, end * kPiece) - begin * kPiece);
      });
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (pass > 0) rates[pass - 1] = static_cast<double>(size * rounds) / seconds.count();
  }
  std::sort(std::begin(rates), std::end(rates));
  return rates[kPasses / 2];
}

}  // namespace lorikeet
