// One round as an operator sees it: how far it is, who arrived at each step, and why devices were
// lost.
//
// Not the protocol's state: the step of an open round is concluded from how many messages are
// stored and which deadlines passed, without reading them.
#ifndef LORIKEET_COORDINATOR_DASHBOARD_ROUND_VIEW_H_
#define LORIKEET_COORDINATOR_DASHBOARD_ROUND_VIEW_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/secagg/server.h"
#include "common/wire/round.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

inline constexpr size_t kStepCount = 5;  // SecAggStep::kAdvertise to kUnmask

struct StepView {
  int expected = 0;
  int arrived = 0;
  bool reached = false;
  std::optional<double> seconds;  // absent while it lasts
  bool waited = false;            // for somebody, until its deadline
};

// Devices that a round lost, or that left it.
struct DeviceLoss {
  SecAggStep step = SecAggStep::kAdvertise;
  int devices = 0;
  bool counted = false;  // they left, and their update is in the sum
  bool aborted = false;  // they were there when the round was aborted
  std::string why;
};

struct PersonaView {
  std::string id;
  double noisy_count = 0;
  bool applied = false;
  double noise_ratio = 0;  // 0: not asked for
};

struct RoundView {
  int64_t id = 0;
  std::string task;
  uint64_t number = 0;
  RoundStatus status = RoundStatus::kOpen;
  SecAggStep step = SecAggStep::kAdvertise;  // of open rounds; else the last one reached
  absl::Time opened;
  absl::Time finished = absl::InfinitePast();
  absl::Time deadline = absl::InfiniteFuture();  // of an open round's step
  int cohort_min = 0;
  int cohort_max = 0;
  int64_t dimension = 0;
  bool demonstration = false;
  bool by_token = false;
  double epsilon = 0;
  std::optional<int> checked_in;  // devices that were offered the round, where that is known
  std::array<StepView, kStepCount> steps = {};
  std::vector<DeviceLoss> losses;
  int survivors = 0;  // in the sum
  int blamed = 0;     // sent wrong shares
  std::string message;
  uint64_t catalog_version = 0;            // that it started from
  std::optional<uint64_t> made_version;    // that it made
  std::optional<double> mean_loss_before;  // noisy means, before and after local training
  std::optional<double> mean_loss_after;
  std::vector<PersonaView> personas;
};

// When a step of a round ends at the latest.  REQUIRES: step < kStepCount.
absl::Time StepDeadline(const RoundDescription& round, size_t step);

// A round of the store, without the steps of one that is open.
RoundView ViewOfRound(const RoundRecord& record, const RoundDescription& description);

// Steps, step, deadline and losses so far of an open round, from what is stored of it.
void CountSteps(const RoundDescription& description, const std::vector<RoundEventCount>& counts,
                RoundView* view);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DASHBOARD_ROUND_VIEW_H_
