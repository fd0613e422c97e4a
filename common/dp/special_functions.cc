#include "common/dp/special_functions.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace lorikeet {

double LogErfc(double x) {
  if (x < 20) return std::log(std::erfc(x));
  // Asymptotic series; its error is below the next term, 10395 / (64 x^12) < 1e-13 relative at 20,
  // and falls fast.
  const double y = 1 / (2 * x * x);
  const double series = 1 - y * (1 - 3 * y * (1 - 5 * y * (1 - 7 * y * (1 - 9 * y))));
  return -x * x - std::log(x) - 0.5 * std::log(std::numbers::pi) + std::log(series);
}

double LogNormalCdf(double x) { return LogErfc(-x / std::numbers::sqrt2) - std::numbers::ln2; }

double LogAdd(double a, double b) {
  const double high = std::max(a, b), low = std::min(a, b);
  if (std::isinf(high)) return high;
  return high + std::log1p(std::exp(low - high));
}

double LogSubtract(double a, double b) {
  if (a <= b) return -std::numeric_limits<double>::infinity();
  return a + std::log1p(-std::exp(b - a));
}

double LogBinomial(double n, double k) {
  return std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
}

}  // namespace lorikeet
