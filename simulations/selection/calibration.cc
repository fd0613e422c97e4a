#include "simulations/selection/calibration.h"

#include <algorithm>
#include <cmath>

namespace lorikeet {

std::vector<ReliabilityBin> Reliability(std::span<const ConfidenceSample> samples, bool persona,
                                        int bins) {
  std::vector<ReliabilityBin> result(static_cast<size_t>(bins));
  for (size_t i = 0; i < result.size(); ++i) {
    result[i].low = static_cast<double>(i) / bins;
    result[i].high = static_cast<double>(i + 1) / bins;
  }
  for (const ConfidenceSample& sample : samples) {
    if (sample.persona != persona) continue;
    const double place = std::clamp(sample.confidence, 0.0, 1.0) * bins;
    ReliabilityBin& bin = result[std::min(result.size() - 1, static_cast<size_t>(place))];
    bin.confidence += sample.confidence;
    bin.right.trials += 1;
    bin.right.successes += sample.right ? 1 : 0;
  }
  for (ReliabilityBin& bin : result) {
    if (bin.right.trials > 0) bin.confidence /= static_cast<double>(bin.right.trials);
  }
  return result;
}

double ExpectedCalibrationError(std::span<const ReliabilityBin> bins) {
  double sum = 0;
  int64_t count = 0;
  for (const ReliabilityBin& bin : bins) {
    sum += std::abs(bin.confidence - bin.accuracy()) * static_cast<double>(bin.right.trials);
    count += bin.right.trials;
  }
  return count > 0 ? sum / static_cast<double>(count) : 0;
}

}  // namespace lorikeet
