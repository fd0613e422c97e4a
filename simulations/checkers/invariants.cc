#include "simulations/checkers/invariants.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"
#include "coordinator/rounds/central_noise.h"
#include "coordinator/rounds/coordinator.h"
#include "coordinator/rounds/open_round.h"

namespace lorikeet {
namespace {

// The bytes of a message that a device may send only one of; nullopt: no such message.
struct OneTimeMessage {
  std::optional<std::pair<SessionId, std::string>> operator()(const JoinRequest& request) const {
    return std::pair(request.keys.session, Encode(request));
  }
  template <typename Message>
  std::optional<std::pair<SessionId, std::string>> operator()(const Message& message) const {
    if constexpr (requires {
                    message.session;
                    Encode(message);
                  }) {
      return std::pair(message.session, Encode(message));
    } else {
      return std::nullopt;
    }
  }
};

}  // namespace

uint64_t SumError(const std::vector<std::vector<uint32_t>>& contributions,
                  const std::vector<uint32_t>& unmasked, int modulus_bits) {
  const uint64_t modulus = uint64_t{1} << modulus_bits;
  std::vector<uint64_t> sum(unmasked.size());
  for (const auto& words : contributions) {
    if (words.size() != sum.size()) return modulus;
    for (size_t j = 0; j < sum.size(); ++j) sum[j] = (sum[j] + words[j]) % modulus;
  }
  uint64_t worst = 0;
  for (size_t j = 0; j < sum.size(); ++j) {
    const uint64_t difference = (sum[j] + modulus - unmasked[j]) % modulus;
    worst = std::max(worst, std::min(difference, modulus - difference));
  }
  return worst;
}

void InvariantChecker::Violation(std::string text) {
  if (violations_.size() < kMaxViolations) violations_.push_back(std::move(text));
}

void InvariantChecker::OnContribution(const std::string& device, const SessionId& session,
                                      const EncodedDelta& contribution) {
  if (!contributions_.emplace(DeviceSession{session, device}, contribution.words()).second) {
    Violation(absl::StrCat(device, ": computed two contributions to one round"));
  }
}

void InvariantChecker::OnSend(const std::string& device, const CallAction& call) {
  const AgentRequest& request = call.request;
  const auto message = std::visit(OneTimeMessage{}, request);
  if (!message) return;
  if (const auto* join = std::get_if<JoinRequest>(&request); join != nullptr && join->token) {
    const std::string member = TokenMember(*join->token);
    if (members_.emplace(member, device).first->second != device) {
      Violation(absl::StrCat(device, ": joined with the token of ", members_.at(member)));
    }
  }
  const Hash256 hash = Blake2b(AsBytes(message->second));
  const auto [it, is_new] =
      sent_.emplace(std::pair(DeviceSession{message->first, device}, request.index()), hash);
  if (!is_new && it->second != hash) {
    Violation(absl::StrCat(device, ": sent two different messages: ", ToAbsl(RequestName(request)),
                           " of one round"));
  }
}

const std::string& InvariantChecker::DeviceBehind(const std::string& member) const {
  const auto it = members_.find(member);
  return it == members_.end() ? member : it->second;
}

// Hex hash of the catalog file that was published with this version.
std::optional<std::string> InvariantChecker::PublishedFile(uint64_t version) {
  const auto releases = store_->ListReleases();
  if (!releases.ok()) return std::nullopt;
  for (const ReleaseRecord& release : *releases) {
    if (release.kind != ReleaseKind::kCatalog || release.version != version) continue;
    const auto hash = ReleaseFileHash(release);
    if (hash.ok()) return *hash;
  }
  return std::nullopt;
}

void InvariantChecker::OnState(const std::string& device, const AgentState& state) {
  if (!state.catalog) return;
  uint64_t& version = installed_[device];
  if (state.catalog->version == version) return;
  if (state.catalog->version < version) {
    Violation(absl::StrFormat("%s: went back from catalog version %d to %d", device, version,
                              state.catalog->version));
  }
  version = state.catalog->version;
  const auto published = PublishedFile(version);
  if (!published || *published != ToHex(state.catalog->file_hash)) {
    Violation(absl::StrFormat("%s: installed a catalog version %d that was never published", device,
                              version));
  }
}

void InvariantChecker::OnRoundFinished(const FinishedRound& round) {
  if (const absl::Status status = Check(round); !status.ok()) {
    Violation(
        absl::StrFormat("round %d: cannot be checked: %s", round.record.number, Message(status)));
  }
  std::erase_if(contributions_,
                [&](const auto& entry) { return entry.first.first == round.record.session; });
}

absl::Status InvariantChecker::Check(const FinishedRound& round) {
  const RoundRecord& record = round.record;
  // Of a sweep the last one releases, whatever became of itself.
  const bool alone = !IsRouted(task_);
  if (alone && record.status == RoundStatus::kDone && !round.release) {
    Violation(absl::StrFormat("round %d: done without a release", record.number));
  }
  if (round.release) {
    if (alone && record.status != RoundStatus::kDone) {
      Violation(absl::StrFormat("round %d: released a catalog though %s", record.number,
                                RoundStatusName(record.status)));
    }
    if (round.release->version <= released_version_) {
      Violation(absl::StrFormat("round %d: released version %d after %d", record.number,
                                round.release->version, released_version_));
    }
    released_version_ = round.release->version;
  }
  RETURN_IF_ERROR(CheckSum(round));
  if (round.release) RETURN_IF_ERROR(CheckRelease(round));
  if (round.ends_sweep) sweep_.clear();
  return CheckLedger(round);
}

absl::Status InvariantChecker::CheckSum(const FinishedRound& round) {
  ASSIGN_OR_RETURN(const OpenRound replayed,
                   OpenRound::Restore(round.record, round.events, round.sums));
  const std::optional<AggregateSum>& sum = replayed.machine->sum();
  const RoundDescription& description = replayed.machine->description();
  const uint64_t number = round.record.number;
  if (round.record.status == RoundStatus::kDone && !sum) {
    Violation(absl::StrFormat("round %d: done, but its stored events give no sum", number));
  }
  if (!sum) return absl::OkStatus();
  if (sum->transcript != round.record.transcript) {
    Violation(absl::StrFormat("round %d: its stored events give another transcript", number));
  }
  std::vector<std::vector<uint32_t>> contributions;
  std::set<std::string> survivors;
  for (const RoundEventRecord& event : round.events) {
    if (event.kind != RoundEventKind::kMask) continue;
    const std::string& device = DeviceBehind(event.device);
    if (!survivors.insert(device).second) {
      Violation(absl::StrFormat("round %d: %s counted twice", number, device));
    }
    if (description.token && device == event.device) {
      Violation(absl::StrFormat("round %d: admits by token, but knows %s", number, device));
    }
    const auto it = contributions_.find({round.record.session, device});
    if (it == contributions_.end()) {
      Violation(absl::StrFormat("round %d: %s counted without a contribution", number, device));
    } else {
      contributions.push_back(it->second);
    }
  }
  if (survivors.size() != sum->survivor_count) {
    Violation(absl::StrFormat("round %d: %d survivors announced, %d masked updates", number,
                              sum->survivor_count, survivors.size()));
  }
  if (static_cast<int>(sum->survivor_count) < description.secagg.cohort_min) {
    Violation(absl::StrFormat("round %d: %d survivors were summed, at least %d were promised",
                              number, sum->survivor_count, description.secagg.cohort_min));
  }
  const uint64_t error = SumError(contributions, sum->sum, description.secagg.modulus_bits);
  sum_errors_[number] = error;
  if (error != 0) Violation(absl::StrFormat("round %d: the sum is off by %d", number, error));
  DecodedSum& decoded = sweep_[description.layout.first_persona];
  ASSIGN_OR_RETURN(decoded.values, ReleasableSum(description, sum->sum, round.noise));
  decoded.sum = {description.layout, decoded.values, sum->survivor_count};
  return absl::OkStatus();
}

absl::Status InvariantChecker::CheckRelease(const FinishedRound& round) {
  ASSIGN_OR_RETURN(const RoundDescription description,
                   DecodeRoundDescription(round.record.description.description));
  ASSIGN_OR_RETURN(const Hash256 before, HashFromHex(description.catalog_hash));
  ASSIGN_OR_RETURN(const std::string bytes, blobs_->Get(before));
  ASSIGN_OR_RETURN(const Catalog catalog, ParseCatalog(bytes));
  std::vector<RoundSum> sums;
  for (const auto& [first, decoded] : sweep_) sums.push_back(decoded.sum);
  ASSIGN_OR_RETURN(const MergedCatalog merged,
                   MergeUpdates(catalog, sums, MergeOptionsOf(task_, description)));
  ASSIGN_OR_RETURN(const std::string released, ReleaseFileHash(*round.release));
  if (CatalogHash(merged.catalog) != released) {
    Violation(absl::StrFormat("round %d: the released catalog is not what its sum gives",
                              round.record.number));
  }
  return absl::OkStatus();
}

absl::Status InvariantChecker::CheckLedger(const FinishedRound& round) {
  ASSIGN_OR_RETURN(const OpenRound fresh, OpenRound::Restore(round.record, {}, {}));
  ASSIGN_OR_RETURN(const int64_t spent, SpentRounds(store_, task_.name));
  if (spent == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const double epsilon,
                   EpsilonOfRounds(task_, fresh.machine->description(), spent));
  if (epsilon > task_.epsilon_budget) {
    Violation(absl::StrFormat("round %d: epsilon %.4f is spent, over the budget of %.4f",
                              round.record.number, epsilon, task_.epsilon_budget));
  }
  // Somebody's shares arrived, so the sum may be known: that is spent whatever became of the round.
  const bool unmasking = std::any_of(
      round.events.begin(), round.events.end(),
      [](const RoundEventRecord& event) { return event.kind == RoundEventKind::kUnmask; });
  if (unmasking && !round.spent) {
    Violation(absl::StrFormat("round %d: shares arrived, but its epsilon was given back",
                              round.record.number));
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
