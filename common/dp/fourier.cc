#include "common/dp/fourier.h"

#include <bit>
#include <numbers>
#include <utility>

#include "common/base/status_macros.h"

namespace lorikeet {

void Fourier(std::vector<std::complex<double>>* values, bool inverse) {
  std::vector<std::complex<double>>& v = *values;
  const size_t n = v.size();
  LORIKEET_CHECK(std::has_single_bit(n));
  for (size_t i = 1, j = 0; i < n; ++i) {
    size_t bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) std::swap(v[i], v[j]);
  }
  std::vector<std::complex<double>> roots(n / 2);
  for (size_t i = 0; i < n / 2; ++i) {
    roots[i] = std::polar(1.0, (inverse ? 2 : -2) * std::numbers::pi * static_cast<double>(i) /
                                   static_cast<double>(n));
  }
  for (size_t length = 2; length <= n; length *= 2) {
    for (size_t start = 0; start < n; start += length) {
      for (size_t i = 0; i < length / 2; ++i) {
        const auto odd = v[start + length / 2 + i] * roots[i * (n / length)];
        v[start + length / 2 + i] = v[start + i] - odd;
        v[start + i] += odd;
      }
    }
  }
}

}  // namespace lorikeet
