// What this device has spent of its owner's privacy, by its own account: pure, kept in AgentState,
// and on disk before the coordinator hears of this device.
//
// An entry keeps what a round's Renyi curve is made of again, so that the total is composed over
// rounds and tasks with different noise (common/dp/ledger.h).  Whatever a coordinator states, the
// device reckons itself, with its own idea of how many of the others are corrupt, and charges the
// larger.  Rounds of one mechanism of central noise (common/wire/round.h) are one charge together.
#ifndef LORIKEET_DEVICE_AGENT_DEVICE_LEDGER_H_
#define LORIKEET_DEVICE_AGENT_DEVICE_LEDGER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/dp/ledger.h"
#include "common/dp/rdp.h"
#include "common/wire/round.h"

namespace lorikeet {

// Entries kept one by one; older ones are folded into one curve.
inline constexpr size_t kLedgerEntries = 256;

enum class ChargeStatus : uint8_t {
  kCharged,      // the round was joined; counts, also when the device died since
  kContributed,  // the masked contribution was handed out to be sent; counts
  kRefunded      // the round ended before anything of this owner left the device; counts no more
};
std::string_view ChargeStatusName(ChargeStatus status);  // "charged", "contributed", "refunded"

// No figures but the epsilon itself: carried over from before there were entries.
struct UnknownNoise {};
using ChargedNoise = std::variant<UnknownNoise, DistributedMechanism, CentralNoise>;

struct LedgerEntry {
  SessionId session = {};  // zeros: carried over
  std::string task;
  uint64_t round_number = 0;
  absl::Time at;
  ChargeStatus status = ChargeStatus::kCharged;
  double stated_epsilon = 0;  // by the signed description
  double own_epsilon = 0;     // as this device reckons it
  double delta = 0;           // of both
  int cohort_min = 0;
  int honest_survivors = 0;  // that own_epsilon counts on, this device among them
  bool demonstration = false;
  bool routed = false;      // joining showed in which bucket of personas the owner's is
  ChargedNoise noise;       // DistributedMechanism: one round's
  double curve_factor = 1;  // brings the curve of `noise` up to a larger stated epsilon

  double epsilon() const { return stated_epsilon > own_epsilon ? stated_epsilon : own_epsilon; }
  bool counts() const { return status != ChargeStatus::kRefunded; }
  const CentralNoise* central() const { return std::get_if<CentralNoise>(&noise); }
};

// Entries that are too old to be kept one by one.  Curves add up whatever the delta, so that the
// total is what it would be with the entries themselves.
struct FoldedEntries {
  int64_t rounds = 0;      // that count
  int64_t charges = 0;     // behind them: rounds of one central mechanism are one
  int64_t refunded = 0;    // rounds that do not count
  PrivacyLedger composed;  // of those with figures
  double unknown_epsilon = 0, unknown_delta = 0;  // sums over those without
  double basic_epsilon = 0, basic_delta = 0;      // sums over all that count
  // Of central noise: no further round of them may be joined.
  std::vector<Hash256> mechanisms;
};

// Limits that the owner set when the agent ran last: what `lorikeet privacy ledger` holds the total
// against.
struct OwnerTerms {
  double max_total_epsilon = 50;
  double delta = 1e-5;  // of the total, and the largest of a round
  double assumed_corrupt_fraction = 0.05;
};

struct DeviceLedger {
  std::vector<LedgerEntry> entries;  // oldest first
  FoldedEntries folded;
  OwnerTerms terms;

  const LedgerEntry* Find(const SessionId& session) const;
  // Entries of a mechanism of central noise that count, oldest first.
  std::vector<const LedgerEntry*> EntriesOf(const Hash256& mechanism) const;
  // Adds the entry and folds the oldest ones beyond kLedgerEntries: first those without central
  // noise, then whole mechanisms.  ALREADY_EXISTS: the session has an entry; FAILED_PRECONDITION:
  // its mechanism is folded; INVALID_ARGUMENT: a noise that has no curve.
  absl::Status Charge(LedgerEntry entry);
  // NOT_FOUND: no entry of the session.
  absl::Status SetStatus(const SessionId& session, ChargeStatus status);
};

// Survivors whose noise the device counts on: cohort_min less ceil(fraction x cohort_min), at least
// one: itself.
int AssumedHonest(int cohort_min, double assumed_corrupt_fraction);
// The charge for a round.  Noise of devices: Renyi accounting for AssumedHonest survivors.  Central
// noise: the exact Gaussian of the whole mechanism, which the coordinator is trusted to add.
// own_epsilon is infinite where there is no noise.  INVALID_ARGUMENT: figures out of range.
absl::StatusOr<LedgerEntry> ChargeFor(const RoundDescription& round,
                                      double assumed_corrupt_fraction, absl::Time at);

struct LedgerTotal {
  double epsilon = 0;  // the guarantee, at `delta`: the smaller of the two below that apply
  double delta = 0;    // that asked for, and what carried-over entries add to it
  double composed_epsilon = 0;                // Renyi curves added, carried-over epsilons on top
  double basic_epsilon = 0, basic_delta = 0;  // epsilons and deltas added
  bool is_basic = false;  // epsilon is basic_epsilon, whose delta is no more than `delta`
  int64_t rounds = 0;     // that count
  int64_t charges = 0;    // behind them: rounds of one central mechanism are one
};
// `next`: as if it were charged too.  INVALID_ARGUMENT: delta not in (0, 1).
absl::StatusOr<LedgerTotal> TotalOf(const DeviceLedger& ledger, double delta,
                                    const LedgerEntry* next = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_DEVICE_LEDGER_H_
