#include "simulations/people/statistics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "common/base/random.h"

namespace lorikeet {
namespace {

constexpr int kResamples = 1000;

double Mean(std::span<const double> values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// The middle 95 % of `estimates`.
Interval Middle(std::vector<double> estimates) {
  std::sort(estimates.begin(), estimates.end());
  const auto at = [&](double share) {
    return estimates[static_cast<size_t>(
        std::lround(share * static_cast<double>(estimates.size() - 1)))];
  };
  return {at(0.025), at(0.975)};
}

}  // namespace

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Summary Summarize(std::span<const double> values, std::span<const int> clusters, uint64_t seed) {
  Summary summary;
  summary.count = static_cast<int>(values.size());
  if (values.empty()) return summary;
  summary.mean = Mean(values);
  summary.median = Median({values.begin(), values.end()});
  std::map<int, std::vector<double>> by_cluster;
  for (size_t i = 0; i < values.size(); ++i) by_cluster[clusters[i]].push_back(values[i]);
  std::vector<const std::vector<double>*> groups;
  for (const auto& [cluster, members] : by_cluster) groups.push_back(&members);
  Rng rng(seed);
  std::vector<double> means, medians, drawn;
  for (int resample = 0; resample < kResamples; ++resample) {
    drawn.clear();
    for (size_t i = 0; i < groups.size(); ++i) {
      const std::vector<double>& group = *groups[rng.Below(groups.size())];
      drawn.insert(drawn.end(), group.begin(), group.end());
    }
    means.push_back(Mean(drawn));
    medians.push_back(Median(drawn));
  }
  summary.mean_interval = Middle(std::move(means));
  summary.median_interval = Middle(std::move(medians));
  return summary;
}

double SignTest(int better, int worse) {
  const int count = better + worse;
  double probability = 0;
  for (int k = worse; k <= count; ++k) {
    probability += std::exp(std::lgamma(count + 1.0) - std::lgamma(k + 1.0) -
                            std::lgamma(count - k + 1.0) - count * std::log(2.0));
  }
  return std::min(1.0, probability);
}

}  // namespace lorikeet
