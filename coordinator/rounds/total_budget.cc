#include "coordinator/rounds/total_budget.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/accountant.h"
#include "common/wire/decode.h"
#include "coordinator/rounds/describe_round.h"

namespace lorikeet {
namespace {

// Both of one kind of noise, so that they have the same orders.
void RaiseTo(const RdpCurve& other, RdpCurve* curve) {
  for (size_t i = 0; i < curve->values.size(); ++i) {
    curve->values[i] = std::max(curve->values[i], other.values[i]);
  }
}

// The curves of a task's charges, by sweep.
absl::StatusOr<std::map<uint64_t, RdpCurve>> ChargesOf(Store* store, const TaskConfig& config,
                                                       TotalSpent* spent) {
  ASSIGN_OR_RETURN(const auto entries, store->ListLedger(config.name));
  ASSIGN_OR_RETURN(const auto rounds, store->ListRounds(config.name));
  std::map<uint64_t, const RoundRecord*> by_number;
  for (const RoundRecord& round : rounds) by_number[round.number] = &round;
  std::map<uint64_t, RdpCurve> charges;
  for (const LedgerRecord& entry : entries) {
    if (!entry.spent) continue;
    const auto found = by_number.find(entry.round_number);
    if (found == by_number.end()) {
      return absl::DataLossError(
          absl::StrFormat("ledger: expected the description of round %d of task %s, found none",
                          entry.round_number, config.name));
    }
    ASSIGN_OR_RETURN(const RoundDescription round,
                     DecodeRoundDescription(found->second->description.description));
    ASSIGN_OR_RETURN(RdpCurve curve, CurveOfRound(config, round));
    // Central noise: whichever sweep it is, the task is charged once.
    const uint64_t sweep = round.central ? 0 : entry.sweep;
    if (round.central) spent->central.emplace(config.name, curve);
    const auto [known, is_new] = charges.try_emplace(sweep, curve);
    if (!is_new) RaiseTo(curve, &known->second);
  }
  return charges;
}

// The same with `count` more.
absl::StatusOr<double> EpsilonWith(const TotalSpent& spent, RdpCurve curve, int64_t count,
                                   double delta) {
  for (double& value : curve.values) value *= static_cast<double>(count);
  PrivacyLedger after = spent.composed;
  RETURN_IF_ERROR(after.Spend(curve));
  return after.SpentEpsilon(delta);
}

}  // namespace

absl::StatusOr<RdpCurve> CurveOfRound(const TaskConfig& config, const RoundDescription& round) {
  if (round.central) {
    return GaussianRdp(round.central->noise_multiplier, /*sampling_rate=*/1, /*steps=*/1);
  }
  return DistributedRdp(RoundMechanism(round.encoding, HonestSurvivors(config), /*rounds=*/1));
}

absl::StatusOr<TotalSpent> SpentOverTasks(Store* store, std::string_view base_fingerprint) {
  ASSIGN_OR_RETURN(const auto tasks, store->ListTasks());
  TotalSpent spent;
  for (const TaskRecord& task : tasks) {
    ASSIGN_OR_RETURN(const TaskConfig config, TaskConfigFromJson(task.config));
    if (!base_fingerprint.empty() && config.base_fingerprint != base_fingerprint) continue;
    ASSIGN_OR_RETURN(const auto charges, ChargesOf(store, config, &spent));
    for (const auto& [sweep, curve] : charges) RETURN_IF_ERROR(spent.composed.Spend(curve));
    if (!charges.empty()) spent.tasks[config.name] = static_cast<int64_t>(charges.size());
  }
  return spent;
}

absl::StatusOr<PrivacyLedger> SpentByTask(Store* store, const TaskConfig& config) {
  TotalSpent spent;
  ASSIGN_OR_RETURN(const auto charges, ChargesOf(store, config, &spent));
  for (const auto& [sweep, curve] : charges) RETURN_IF_ERROR(spent.composed.Spend(curve));
  return spent.composed;
}

absl::StatusOr<Hash256> SpentDigest(Store* store) {
  ASSIGN_OR_RETURN(const auto entries, store->ListLedger(""));
  std::string text;
  for (const LedgerRecord& entry : entries) {
    if (entry.spent) absl::StrAppend(&text, entry.task, "\n", entry.round_number, "\n");
  }
  return Blake2b(AsBytes(text));
}

absl::StatusOr<int64_t> RoundsThatFit(const TotalSpent& spent, const TaskConfig& config,
                                      const RoundDescription& next, int64_t rounds,
                                      const PrivacyBudget& budget) {
  // Rounds of a mechanism that is charged already cost no more, and the first pays for all.
  if (next.central && spent.central.contains(config.name)) return rounds;
  ASSIGN_OR_RETURN(const RdpCurve curve, CurveOfRound(config, next));
  int64_t fits = 0, too_many = (next.central ? 1 : rounds) + 1;
  while (too_many - fits > 1) {
    const int64_t middle = fits + (too_many - fits) / 2;
    ASSIGN_OR_RETURN(const double epsilon, EpsilonWith(spent, curve, middle, budget.delta));
    (epsilon <= budget.epsilon ? fits : too_many) = middle;
  }
  return next.central && fits == 1 ? rounds : fits;
}

absl::Status CheckTotalBudget(const TotalSpent& spent, const TaskConfig& config,
                              const RoundDescription& next, const PrivacyBudget& budget) {
  ASSIGN_OR_RETURN(const int64_t fits, RoundsThatFit(spent, config, next, /*rounds=*/1, budget));
  if (fits > 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const RdpCurve curve, CurveOfRound(config, next));
  ASSIGN_OR_RETURN(const double epsilon, EpsilonWith(spent, curve, 1, budget.delta));
  return absl::ResourceExhaustedError(absl::StrFormat(
      "the total budget of all tasks over this base: expected epsilon up to %g at delta %g, got "
      "%.3f with this round on top of %s",
      budget.epsilon, budget.delta, epsilon, Composed(spent)));
}

std::string Composed(const TotalSpent& spent) {
  if (spent.tasks.empty()) return "nothing";
  std::vector<std::string> parts;
  for (const auto& [task, charges] : spent.tasks) {
    parts.push_back(absl::StrFormat("%d charge(s) of task %s%s", charges, task,
                                    spent.central.contains(task) ? " (central noise)" : ""));
  }
  return absl::StrJoin(parts, ", ");
}

}  // namespace lorikeet
