#include "simulations/selection/intervals.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "common/base/random.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr double kZ = 1.959963984540054;  // 97.5 % quantile of the normal distribution

double Share(const Cluster& sum) {
  return sum.trials > 0 ? static_cast<double>(sum.successes) / static_cast<double>(sum.trials) : 0;
}

void Add(const Cluster& cluster, Cluster* sum) {
  sum->successes += cluster.successes;
  sum->trials += cluster.trials;
}

// `statistic` of a list of cluster indices.
Interval Bootstrap(size_t count, uint64_t seed, int resamples,
                   const std::function<double(std::span<const size_t>)>& statistic) {
  if (count == 0 || resamples < 1) return {};
  Rng rng(seed);
  std::vector<double> values;
  std::vector<size_t> drawn(count);
  for (int i = 0; i < resamples; ++i) {
    for (size_t& index : drawn) index = rng.Below(count);
    values.push_back(statistic(drawn));
  }
  std::ranges::sort(values);
  const auto at = [&](double quantile) {
    return values[static_cast<size_t>(std::lround(quantile * (resamples - 1)))];
  };
  return {.low = at(0.025), .high = at(0.975)};
}

}  // namespace

Interval WilsonInterval(int64_t successes, int64_t trials) {
  if (trials <= 0) return {};
  const auto n = static_cast<double>(trials);
  const double share = static_cast<double>(successes) / n;
  const double center = share + kZ * kZ / (2 * n);
  const double spread = kZ * std::sqrt(share * (1 - share) / n + kZ * kZ / (4 * n * n));
  const double scale = 1 + kZ * kZ / n;
  return {.low = std::max(0.0, (center - spread) / scale),
          .high = std::min(1.0, (center + spread) / scale)};
}

Interval ClusterBootstrap(std::span<const Cluster> clusters, uint64_t seed, int resamples) {
  return Bootstrap(clusters.size(), seed, resamples, [&](std::span<const size_t> drawn) {
    Cluster sum;
    for (size_t index : drawn) Add(clusters[index], &sum);
    return Share(sum);
  });
}

Interval ClusterBootstrapDifference(std::span<const Cluster> a, std::span<const Cluster> b,
                                    uint64_t seed, int resamples) {
  LORIKEET_CHECK(a.size() == b.size());
  return Bootstrap(a.size(), seed, resamples, [&](std::span<const size_t> drawn) {
    Cluster sum_a, sum_b;
    for (size_t index : drawn) {
      Add(a[index], &sum_a);
      Add(b[index], &sum_b);
    }
    return Share(sum_a) - Share(sum_b);
  });
}

}  // namespace lorikeet
