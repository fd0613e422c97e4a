#include "device/agent/device_ledger.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/accountant.h"

namespace lorikeet {
namespace {

constexpr double kLargestFactor = 1e15;
constexpr int kBisections = 200;  // ends when the interval cannot be split

RdpCurve Scaled(RdpCurve curve, double factor) {
  for (double& value : curve.values) value *= factor;
  return curve;
}

// REQUIRES: the noise is known.
absl::StatusOr<RdpCurve> UnscaledCurve(const ChargedNoise& noise) {
  if (const auto* devices = std::get_if<DistributedMechanism>(&noise)) {
    return DistributedRdp(*devices);
  }
  return GaussianRdp(std::get<CentralNoise>(noise).noise_multiplier, /*sampling_rate=*/1,
                     /*steps=*/1);
}

// The smallest factor, 1 or more, with which the curve gives at least `epsilon` at `delta`.
absl::StatusOr<double> FactorFor(const RdpCurve& curve, double epsilon, double delta) {
  ASSIGN_OR_RETURN(const EpsilonAtOrder unscaled, EpsilonFromRdp(curve, delta));
  if (unscaled.epsilon >= epsilon) return 1.0;
  double low = 1, high = 2;
  for (;; low = high, high *= 2) {
    ASSIGN_OR_RETURN(const EpsilonAtOrder at, EpsilonFromRdp(Scaled(curve, high), delta));
    if (at.epsilon >= epsilon) break;
    if (high > kLargestFactor) {
      return absl::InvalidArgumentError(
          absl::StrFormat("ledger: epsilon %g is too large to be charged", epsilon));
    }
  }
  for (int i = 0; i < kBisections; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle == low || middle == high) break;
    ASSIGN_OR_RETURN(const EpsilonAtOrder at, EpsilonFromRdp(Scaled(curve, middle), delta));
    (at.epsilon >= epsilon ? high : low) = middle;
  }
  return high;
}

// A charge: one entry, or all entries of one central mechanism, of which the largest counts (they
// are alike unless the coordinator stated one mechanism in two ways).
absl::Status AddCharge(const std::vector<const LedgerEntry*>& rounds, FoldedEntries* sum) {
  const LedgerEntry& largest =
      **std::max_element(rounds.begin(), rounds.end(),
                         [](const auto* a, const auto* b) { return a->epsilon() < b->epsilon(); });
  sum->rounds += static_cast<int64_t>(rounds.size());
  ++sum->charges;
  sum->basic_epsilon += largest.epsilon();
  sum->basic_delta += largest.delta;
  if (std::holds_alternative<UnknownNoise>(largest.noise)) {
    sum->unknown_epsilon += largest.epsilon();
    sum->unknown_delta += largest.delta;
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const RdpCurve curve, UnscaledCurve(largest.noise));
  return sum->composed.Spend(Scaled(curve, largest.curve_factor));
}

// Adds all of the entries that count; mechanisms once.
absl::Status AddCharges(const std::vector<const LedgerEntry*>& entries, FoldedEntries* sum) {
  std::map<Hash256, std::vector<const LedgerEntry*>> central;
  for (const LedgerEntry* entry : entries) {
    if (!entry->counts()) continue;
    if (entry->central() != nullptr) {
      central[entry->central()->mechanism].push_back(entry);
    } else {
      RETURN_IF_ERROR(AddCharge({entry}, sum));
    }
  }
  for (const auto& [mechanism, rounds] : central) {
    RETURN_IF_ERROR(AddCharge(rounds, sum));
  }
  return absl::OkStatus();
}

// Which entries to fold: the oldest without central noise, else the whole mechanism of the oldest
// one; never what the newest entry belongs to.  Empty: nothing can be folded.
std::vector<size_t> OldestCharge(const std::vector<LedgerEntry>& entries) {
  for (size_t i = 0; i + 1 < entries.size(); ++i) {
    if (entries[i].central() == nullptr) return {i};
  }
  const CentralNoise* newest = entries.back().central();
  std::vector<size_t> found;
  for (size_t i = 0; i + 1 < entries.size(); ++i) {
    const Hash256& mechanism = entries[i].central()->mechanism;
    if (newest != nullptr && mechanism == newest->mechanism) continue;
    if (found.empty() || mechanism == entries[found.front()].central()->mechanism) {
      found.push_back(i);
    }
  }
  return found;
}

}  // namespace

std::string_view ChargeStatusName(ChargeStatus status) {
  switch (status) {
    case ChargeStatus::kCharged:
      return "charged";
    case ChargeStatus::kContributed:
      return "contributed";
    case ChargeStatus::kRefunded:
      return "refunded";
  }
  return "unknown";
}

const LedgerEntry* DeviceLedger::Find(const SessionId& session) const {
  for (const LedgerEntry& entry : entries) {
    if (entry.session == session) return &entry;
  }
  return nullptr;
}

std::vector<const LedgerEntry*> DeviceLedger::EntriesOf(const Hash256& mechanism) const {
  std::vector<const LedgerEntry*> found;
  for (const LedgerEntry& entry : entries) {
    if (entry.counts() && entry.central() != nullptr && entry.central()->mechanism == mechanism) {
      found.push_back(&entry);
    }
  }
  return found;
}

absl::Status DeviceLedger::Charge(LedgerEntry entry) {
  if (Find(entry.session) != nullptr) {
    return absl::AlreadyExistsError("ledger: this session has been charged");
  }
  const auto& closed = folded.mechanisms;
  if (entry.central() != nullptr &&
      std::find(closed.begin(), closed.end(), entry.central()->mechanism) != closed.end()) {
    return absl::FailedPreconditionError(
        "ledger: expected a mechanism of central noise that this device still keeps account of, "
        "got one that it has closed");
  }
  // An entry without a curve would make every later total fail.
  if (!std::holds_alternative<UnknownNoise>(entry.noise)) {
    RETURN_IF_ERROR(UnscaledCurve(entry.noise).status());
  }
  entries.push_back(std::move(entry));
  while (entries.size() > kLedgerEntries) {
    const std::vector<size_t> oldest = OldestCharge(entries);
    if (oldest.empty()) break;
    std::vector<const LedgerEntry*> rounds;
    for (const size_t i : oldest) {
      rounds.push_back(&entries[i]);
      folded.refunded += entries[i].counts() ? 0 : 1;
    }
    if (const CentralNoise* central = rounds.front()->central()) {
      folded.mechanisms.push_back(central->mechanism);
    }
    RETURN_IF_ERROR(AddCharges(rounds, &folded));
    for (size_t i = oldest.size(); i-- > 0;) {
      entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(oldest[i]));
    }
  }
  return absl::OkStatus();
}

absl::Status DeviceLedger::SetStatus(const SessionId& session, ChargeStatus status) {
  for (LedgerEntry& entry : entries) {
    if (entry.session != session) continue;
    entry.status = status;
    return absl::OkStatus();
  }
  return absl::NotFoundError("ledger: this session was not charged");
}

int AssumedHonest(int cohort_min, double assumed_corrupt_fraction) {
  return std::max(1,
                  cohort_min - static_cast<int>(std::ceil(assumed_corrupt_fraction * cohort_min)));
}

absl::StatusOr<LedgerEntry> ChargeFor(const RoundDescription& round,
                                      double assumed_corrupt_fraction, absl::Time at) {
  LedgerEntry entry;
  entry.session = round.secagg.session;
  entry.task = round.task;
  entry.round_number = round.round_number;
  entry.at = at;
  entry.stated_epsilon = round.epsilon;
  entry.delta = round.delta;
  entry.cohort_min = round.secagg.cohort_min;
  entry.honest_survivors = AssumedHonest(entry.cohort_min, assumed_corrupt_fraction);
  entry.demonstration = round.demonstration;
  entry.routed = round.layout.routed();
  if (round.central) {
    entry.noise = *round.central;
    ASSIGN_OR_RETURN(entry.own_epsilon, GaussianEpsilon(round.central->noise_multiplier,
                                                        /*steps=*/1, round.delta));
  } else {
    entry.noise = RoundMechanism(round.encoding, entry.honest_survivors, /*rounds=*/1);
    ASSIGN_OR_RETURN(entry.own_epsilon, RoundEpsilon(round.encoding, entry.honest_survivors,
                                                     /*rounds=*/1, round.delta));
  }
  if (!std::isfinite(entry.epsilon())) return entry;
  ASSIGN_OR_RETURN(const RdpCurve curve, UnscaledCurve(entry.noise));
  ASSIGN_OR_RETURN(entry.curve_factor, FactorFor(curve, entry.epsilon(), entry.delta));
  return entry;
}

absl::StatusOr<LedgerTotal> TotalOf(const DeviceLedger& ledger, double delta,
                                    const LedgerEntry* next) {
  std::vector<const LedgerEntry*> entries;
  for (const LedgerEntry& entry : ledger.entries) entries.push_back(&entry);
  if (next != nullptr) entries.push_back(next);
  FoldedEntries sum = ledger.folded;
  LedgerTotal total;
  RETURN_IF_ERROR(AddCharges(entries, &sum));
  total.rounds = sum.rounds;
  total.charges = sum.charges;
  ASSIGN_OR_RETURN(const double composed, sum.composed.SpentEpsilon(delta));
  total.composed_epsilon = composed + sum.unknown_epsilon;
  total.delta = delta + sum.unknown_delta;
  total.basic_epsilon = sum.basic_epsilon;
  total.basic_delta = sum.basic_delta;
  total.is_basic = total.basic_delta <= total.delta && total.basic_epsilon < total.composed_epsilon;
  total.epsilon = total.is_basic ? total.basic_epsilon : total.composed_epsilon;
  return total;
}

}  // namespace lorikeet
