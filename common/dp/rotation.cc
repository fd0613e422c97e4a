#include "common/dp/rotation.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "common/base/random.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// Unnormalized, in place: O(d log d).
void WalshHadamard(std::span<double> values) {
  for (size_t half = 1; half < values.size(); half *= 2) {
    for (size_t start = 0; start < values.size(); start += 2 * half) {
      for (size_t i = start; i < start + half; ++i) {
        const double a = values[i], b = values[i + half];
        values[i] = a + b;
        values[i + half] = a - b;
      }
    }
  }
}

void FlipSigns(std::span<double> values, const Hash256& seed) {
  SeededRandom random(seed);
  uint64_t bits = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (i % 64 == 0) bits = random.Uint64();
    if (bits >> (i % 64) & 1) values[i] = -values[i];
  }
}

void Normalize(std::span<double> values) {
  const double factor = 1 / std::sqrt(static_cast<double>(values.size()));
  for (double& value : values) value *= factor;
}

}  // namespace

void Rotate(std::span<double> values, const Hash256& seed) {
  LORIKEET_CHECK(std::has_single_bit(values.size()));
  FlipSigns(values, seed);
  WalshHadamard(values);
  Normalize(values);
}

void InverseRotate(std::span<double> values, const Hash256& seed) {
  LORIKEET_CHECK(std::has_single_bit(values.size()));
  WalshHadamard(values);
  Normalize(values);
  FlipSigns(values, seed);
}

}  // namespace lorikeet
