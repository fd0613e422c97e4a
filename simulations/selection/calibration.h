// Whether a confidence of 0.8 is right eight times in ten.
#ifndef LORIKEET_SIMULATIONS_SELECTION_CALIBRATION_H_
#define LORIKEET_SIMULATIONS_SELECTION_CALIBRATION_H_

#include <cstdint>
#include <span>
#include <vector>

#include "simulations/selection/experiment.h"
#include "simulations/selection/intervals.h"

namespace lorikeet {

// Choices whose confidence lies in [low, high); the last bin includes its end.
struct ReliabilityBin {
  double low = 0;
  double high = 0;
  Cluster right;
  double confidence = 0;  // mean; 0 where there are no choices

  double accuracy() const {
    return right.trials > 0
               ? static_cast<double>(right.successes) / static_cast<double>(right.trials)
               : 0;
  }
};

// Choices of a persona, or of the base: how often the base is right depends on how many strangers
// were tried, so the two are never mixed.  `bins` equal parts of [0, 1].
std::vector<ReliabilityBin> Reliability(std::span<const ConfidenceSample> samples, bool persona,
                                        int bins = 10);

// Mean |confidence - accuracy| over bins, weighted by choices (Guo et al. 2017, arXiv 1706.04599).
double ExpectedCalibrationError(std::span<const ReliabilityBin> bins);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_CALIBRATION_H_
