// AggregateSum -> next catalog: the mean of what the devices of each persona learned, added to it.
//
// The rounds of a sweep, each for some of the personas, make one next catalog together.  Everything
// here works on a noised sum: counts are noisy, so a block with too small a count is
// left alone, and a count under one never multiplies.  Pure arithmetic.
#ifndef LORIKEET_COORDINATOR_AGGREGATION_UPDATE_MERGE_H_
#define LORIKEET_COORDINATOR_AGGREGATION_UPDATE_MERGE_H_

#include <limits>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/secagg/messages.h"
#include "common/wire/round.h"

namespace lorikeet {

struct MergeOptions {
  double server_learning_rate = 1;
  double min_count = 2;  // personas with a noisy count under this are left as they are
  // Those whose mean holds more noise than this, as a norm over the clip norm, are too.
  double largest_noise_ratio = std::numeric_limits<double>::infinity();
  double sigma_local = 0;        // of the noise that every survivor added
  double central_deviation = 0;  // of the noise that the coordinator added to the sum
  double clip_norm = 1;
};

struct PersonaMerge {
  std::string id;
  double noisy_count = 0;
  bool applied = false;
  double noise_ratio = 0;  // noise norm of the mean over the clip norm; 0: not asked for
  double delta_norm = 0;   // L2 norm of what was added
};

struct MergeReport {
  std::vector<PersonaMerge> personas;
  double mean_loss_before = 0;  // noisy means over the survivors, in [0, loss_bound]
  double mean_loss_after = 0;
  bool has_loss = false;  // false: this task collects no losses
};

struct MergedCatalog {
  Catalog catalog;  // version one higher
  MergeReport report;
};

// What a round gave.
struct RoundSum {
  UpdateLayout layout;
  std::span<const float> sum;  // as decoded (common/dp DecodeSum), in the order of the layout
  uint32_t survivor_count = 0;
};

// One sum of all personas, or some of a sweep in ascending order of their personas: others stay as
// they are.  Losses are means over the survivors of all sums.
// INVALID_ARGUMENT: a layout does not fit the catalog, its sum or the one before; a survivor_count
// is 0.  ABORTED: whatever could be released is mostly noise (common/dp/utility.h); says what to
// change.
absl::StatusOr<MergedCatalog> MergeUpdates(const Catalog& catalog, std::span<const RoundSum> sums,
                                           const MergeOptions& options);
// Of one sum.
absl::StatusOr<MergedCatalog> MergeUpdate(const Catalog& catalog, const UpdateLayout& layout,
                                          std::span<const float> sum, uint32_t survivor_count,
                                          const MergeOptions& options);

// The report as JSON: {"personas": [{"id", "noisy_count", "applied", "noise_ratio", "delta_norm"}],
// "mean_loss_before", "mean_loss_after"} (losses null without loss statistics).
std::string MergeReportToJson(const MergeReport& report);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_AGGREGATION_UPDATE_MERGE_H_
