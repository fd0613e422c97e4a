// What becomes of the sum of a round: alone, or together with the others of its sweep.
#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/decode.h"
#include "coordinator/rounds/central_noise.h"
#include "coordinator/rounds/coordinator.h"

namespace lorikeet {
namespace {

// Whether trying again later cannot help.
bool IsFinal(const absl::Status& status) {
  return absl::IsAborted(status) || absl::IsInvalidArgument(status) || absl::IsDataLoss(status) ||
         absl::IsNotFound(status);
}

absl::StatusOr<TaskConfig> FindTaskConfig(Store* store, const std::string& name) {
  ASSIGN_OR_RETURN(const auto tasks, store->ListTasks());
  for (const TaskRecord& task : tasks) {
    if (task.name == name) return TaskConfigFromJson(task.config);
  }
  return absl::NotFoundError(absl::StrCat("there is no task named ", name));
}

// The task's noise at the round's step.  None: the coordinator adds none.
absl::StatusOr<std::optional<NoiseRecord>> NoiseOf(Store* store, const RoundDescription& round) {
  if (!round.central) return std::nullopt;
  return store->FindNoise(round.task);
}

// The task's noise after the round.  None: it stays as it is.  A step is used up as soon as
// somebody may have contributed to it: its devices will not contribute to the same one again.
absl::StatusOr<std::optional<NoiseRecord>> NoiseAfter(Store* store, const RoundMachine& machine) {
  const RoundDescription& round = machine.description();
  if (!round.central || !machine.masking_started()) return std::nullopt;
  ASSIGN_OR_RETURN(const auto noise, store->FindNoise(round.task));
  auto after = AfterCentralStep(round, noise);
  // Noise that is not this round's was added to nothing, and is not moved.
  if (absl::IsDataLoss(after.status())) return std::nullopt;
  return after;
}

absl::StatusOr<std::vector<float>> SumOf(Store* store, const OpenRound& round) {
  const RoundDescription& description = round.machine->description();
  ASSIGN_OR_RETURN(const auto noise, NoiseOf(store, description));
  return ReleasableSum(description, round.machine->sum()->sum, noise);
}

static_assert(std::endian::native == std::endian::little);

std::string ToBytes(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

std::vector<float> FromBytes(const std::string& bytes) {
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

// A RoundSum and its numbers.
struct OwnedSum {
  UpdateLayout layout;
  std::vector<float> values;
  uint32_t survivor_count = 0;
};

absl::StatusOr<std::vector<OwnedSum>> KeptSumsOf(Store* store, const TaskConfig& config,
                                                 const RoundDescription& round) {
  ASSIGN_OR_RETURN(const auto kept, store->KeptSums(config.name, SweepOf(config, round)));
  ASSIGN_OR_RETURN(const auto records, store->ListRounds(config.name));
  std::vector<OwnedSum> sums;
  for (const KeptSumRecord& sum : kept) {
    const auto record = std::ranges::find(records, sum.round_id, &RoundRecord::id);
    if (record == records.end()) {
      return absl::DataLossError(absl::StrCat("expected the round of a sum that was kept, id ",
                                              sum.round_id, ", got none"));
    }
    ASSIGN_OR_RETURN(const RoundDescription description,
                     DecodeRoundDescription(record->description.description));
    sums.push_back({description.layout, FromBytes(sum.sum), record->survivor_count});
  }
  return sums;
}

}  // namespace

absl::StatusOr<ReleaseRecord> Coordinator::Merge(const TaskConfig& config,
                                                 const RoundDescription& round,
                                                 std::span<const RoundSum> sums,
                                                 nlohmann::json* report) {
  ASSIGN_OR_RETURN(const auto newest,
                   options_.store->LatestRelease(ReleaseKind::kCatalog, round.base_fingerprint));
  if (!newest || newest->version != round.catalog_version) {
    return absl::AbortedError("another catalog was published during the round");
  }
  ASSIGN_OR_RETURN(const Catalog catalog, LoadCatalog(*newest, options_.blobs));
  ASSIGN_OR_RETURN(const MergedCatalog merged,
                   MergeUpdates(catalog, sums, MergeOptionsOf(config, round)));
  report->update(nlohmann::json::parse(MergeReportToJson(merged.report)));
  Publisher publisher({.store = options_.store,
                       .blobs = options_.blobs,
                       .key = options_.key,
                       .clock = options_.clock,
                       .validity = options_.release_validity});
  return publisher.MakeCatalogRelease(merged.catalog, newest->name, round.catalog_hash);
}

absl::Status Coordinator::Keep(const OpenRound& round, RoundEnd* end) {
  if (!round.machine->sum()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const std::vector<float> sum, SumOf(options_.store, round));
  end->kept_sum = ToBytes(sum);
  return absl::OkStatus();
}

absl::Status Coordinator::Release(const OpenRound& round, RoundEnd* end, nlohmann::json* report) {
  const RoundDescription& description = round.machine->description();
  ASSIGN_OR_RETURN(const TaskConfig config, FindTaskConfig(options_.store, description.task));
  ASSIGN_OR_RETURN(std::vector<OwnedSum> owned, KeptSumsOf(options_.store, config, description));
  if (const auto& sum = round.machine->sum()) {
    ASSIGN_OR_RETURN(std::vector<float> own, SumOf(options_.store, round));
    owned.push_back({description.layout, std::move(own), sum->survivor_count});
  }
  if (owned.empty()) return absl::OkStatus();
  std::ranges::sort(owned, {}, [](const OwnedSum& sum) { return sum.layout.first_persona; });
  std::vector<RoundSum> sums;
  for (const OwnedSum& sum : owned) sums.push_back({sum.layout, sum.values, sum.survivor_count});
  ASSIGN_OR_RETURN(end->release, Merge(config, description, sums, report));
  (*report)["catalog_version"] = end->release->version;
  if (description.layout.routed()) (*report)["rounds_merged"] = sums.size();
  return absl::OkStatus();
}

absl::Status Coordinator::Settle(OpenRound* round) {
  RoundEnd end;
  end.spent = round->machine->unmasking_started();
  RoundRecord& record = end.round;
  record = round->record;
  record.finished = options_.clock->Now();
  nlohmann::json report = nlohmann::json::object();
  const auto& sum = round->machine->sum();
  if (sum) {
    end.spent = true;
    record.survivor_count = sum->survivor_count;
    record.transcript = sum->transcript;
    report["blamed"] = sum->blamed;
  }
  // A task has one sweep at a time.
  end.ends_sweep = std::ranges::none_of(open_, [&](const auto& entry) {
    return entry.second.record.task == record.task && entry.second.record.id != record.id;
  });
  const absl::Status outcome = end.ends_sweep ? Release(*round, &end, &report) : Keep(*round, &end);
  if (!outcome.ok() && !IsFinal(outcome)) {
    // A full disk, say: the sum is safe in the stored events, and the next tick tries again.
    return absl::UnavailableError(
        absl::StrCat("the next catalog cannot be stored: ", outcome.message()));
  }
  record.status = sum && outcome.ok() ? RoundStatus::kDone : RoundStatus::kAborted;
  if (!sum) record.message = round->machine->abort_reason();
  if (!outcome.ok()) {
    absl::StrAppend(&record.message,
                    sum ? "" : "; the others of its sweep: ", ToAbsl(Message(outcome)));
  }
  report["steps"] = round->statistics.ToJson(record.opened);
  if (round->began_here) report["checked_in"] = round->offered.size();
  record.report = report.dump();
  ASSIGN_OR_RETURN(end.noise, NoiseAfter(options_.store, *round->machine));
  const absl::Status status = options_.store->FinishRound(end);
  if (!status.ok()) {
    return Distrust("the end of a round", status);
  }
  LogInfo(absl::StrFormat("task %s: round %d: %s%s%s", record.task, record.number,
                          ToAbsl(RoundStatusName(record.status)),
                          record.message.empty() ? "" : ": ", record.message));
  if (end.release) options_.trust->ReleasesChanged();
  open_.erase(record.session);
  return absl::OkStatus();
}

}  // namespace lorikeet
