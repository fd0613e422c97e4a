#include "coordinator/dashboard/fleet_view.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/modulus.h"
#include "common/dp/utility.h"
#include "common/wire/decode.h"
#include "common/wire/manifest.h"
#include "coordinator/dashboard/attention.h"
#include "coordinator/rounds/describe_round.h"

namespace lorikeet {
namespace {

// Coordinators over one store may commit rounds in another order than that of their ids.
constexpr int64_t kOverlap = 8;
// The budget that stands for none (a demonstration's).
constexpr double kNoBudget = 1e9;

TaskView DescribeTask(const TaskRecord& record, const TaskConfig& config) {
  TaskView task;
  task.name = record.name;
  task.state = record.state;
  task.created = record.created;
  task.base_fingerprint = config.base_fingerprint;
  task.rounds = config.rounds;
  task.cohort_min = config.cohort_min;
  task.cohort_max = config.cohort_max;
  task.demonstration = config.demonstration;
  task.by_token = RequiresTokens(config);
  task.routed = IsRouted(config);
  if (config.epsilon_budget < kNoBudget) task.epsilon_budget = config.epsilon_budget;
  task.delta = config.delta;
  task.noise = config.noise;
  task.noise_multiplier = config.noise_multiplier;
  task.honest_survivors = HonestSurvivors(config);
  task.corrupt_fraction = config.corrupt_fraction;
  task.largest_noise_ratio = config.largest_noise_ratio;
  return task;
}

std::string WhyNoRound(const TaskView& task) {
  if (task.open > 0) return "";
  if (task.state == TaskState::kEnded) return "ended by an operator";
  if (task.state == TaskState::kPaused) return "paused by an operator";
  if (task.done >= task.rounds) return "all its rounds are done";
  if (task.epsilon_budget && task.epsilon_next && *task.epsilon_next > *task.epsilon_budget) {
    return "one more round would exceed its privacy budget";
  }
  return "opens when a device asks for a round";
}

absl::StatusOr<ReleaseView> DescribeRelease(const ReleaseRecord& record) {
  ASSIGN_OR_RETURN(const Manifest manifest, ParseManifest(record.manifest.manifest));
  ReleaseView release;
  release.kind = record.kind;
  release.name = record.name;
  release.version = record.version;
  release.base_fingerprint = record.base_fingerprint;
  release.published = record.published;
  release.expires = manifest.expires;
  for (const ManifestFile& file : manifest.files) release.bytes += file.bytes;
  return release;
}

}  // namespace

absl::StatusOr<FleetView> FleetViewer::Read(absl::Time now) {
  FleetView view;
  RETURN_IF_ERROR(ReadRounds(&view));
  RETURN_IF_ERROR(ReadTasks(&view));
  RETURN_IF_ERROR(ReadReleases(&view));
  ASSIGN_OR_RETURN(view.devices, store_->CountDevices());
  view.attention = WhatNeedsAttention(view, now);
  return view;
}

absl::Status FleetViewer::Learn(const RoundRecord& record) {
  if (finished_.contains(record.id)) return absl::OkStatus();
  if (record.status == RoundStatus::kOpen && open_.contains(record.id)) return absl::OkStatus();
  ASSIGN_OR_RETURN(RoundDescription description,
                   DecodeRoundDescription(record.description.description));
  Newest& newest = newest_[record.task];
  if (record.id >= newest.round_id) newest = {record.id, description};
  seen_to_ = std::max(seen_to_, record.id);
  RoundView round = ViewOfRound(record, description);
  if (record.status == RoundStatus::kOpen) {
    open_[record.id] = {record.session, std::move(description), std::move(round)};
    return absl::OkStatus();
  }
  const bool was_open = open_.erase(record.id) > 0;
  // Older than everything that is kept: counted, and forgotten since.
  if (!was_open && finished_.size() >= kRecentRounds && record.id < finished_.begin()->first) {
    return absl::OkStatus();
  }
  Tally& tally = tally_[record.task];
  ++(record.status == RoundStatus::kDone ? tally.done : tally.aborted);
  if (round.made_version) ++tally.made;
  finished_[record.id] = std::move(round);
  if (finished_.size() > kRecentRounds) finished_.erase(finished_.begin());
  return absl::OkStatus();
}

absl::Status FleetViewer::ReadRounds(FleetView* view) {
  ASSIGN_OR_RETURN(const auto fresh,
                   store_->RoundsAfter(std::max<int64_t>(0, seen_to_ - kOverlap)));
  for (const RoundRecord& record : fresh) RETURN_IF_ERROR(Learn(record));
  std::set<int64_t> still_open;
  ASSIGN_OR_RETURN(const auto open, store_->OpenRounds());
  for (const RoundRecord& record : open) {
    still_open.insert(record.id);
    RETURN_IF_ERROR(Learn(record));
  }
  std::vector<SessionId> over;
  for (const auto& [id, round] : open_) {
    if (!still_open.contains(id)) over.push_back(round.session);
  }
  for (const SessionId& session : over) {
    ASSIGN_OR_RETURN(const RoundRecord record, store_->FindRound(session));
    RETURN_IF_ERROR(Learn(record));
  }
  for (const auto& [id, round] : open_) {
    ASSIGN_OR_RETURN(const auto counts, store_->CountRoundEvents(id));
    CountSteps(round.description, counts, &view->open.emplace_back(round.view));
  }
  for (auto it = finished_.rbegin(); it != finished_.rend(); ++it) {
    view->recent.push_back(it->second);
  }
  return absl::OkStatus();
}

absl::Status FleetViewer::ReadPrivacy(const TaskConfig& config, TaskView* task) {
  const auto newest = newest_.find(config.name);
  if (newest == newest_.end()) return absl::OkStatus();
  const PrivacyKey key{task->spent_rounds, newest->second.round_id};
  KnownTask& known = known_tasks_[config.name];
  if (known.key != key) {
    const RoundDescription& round = newest->second.description;
    known.privacy = {};
    if (key.spent > 0) {
      ASSIGN_OR_RETURN(known.privacy.epsilon_spent, EpsilonOfRounds(config, round, key.spent));
    }
    ASSIGN_OR_RETURN(known.privacy.epsilon_next, EpsilonOfRounds(config, round, key.spent + 1));
    known.privacy.noise_ratio = NoiseRatio(PlannedDeviation(round, config.cohort_max),
                                           round.layout.block_size, config.cohort_max);
    known.privacy.modulus_bits = round.encoding.modulus_bits;
    ASSIGN_OR_RETURN(const OverflowBound overflow, PlannedOverflow(config, round));
    known.privacy.overflow = overflow.coordinate;
    known.key = key;
  }
  task->epsilon_spent = known.privacy.epsilon_spent;
  task->epsilon_next = known.privacy.epsilon_next;
  task->noise_ratio = known.privacy.noise_ratio;
  task->modulus_bits = known.privacy.modulus_bits;
  task->overflow = known.privacy.overflow;
  return absl::OkStatus();
}

absl::Status FleetViewer::ReadTasks(FleetView* view) {
  std::map<std::string, int> open;
  std::map<std::string, std::set<uint64_t>> spent;  // rounds that opened together count once
  ASSIGN_OR_RETURN(const auto ledger, store_->ListLedger(""));
  for (const LedgerRecord& entry : ledger) {
    if (entry.spent) spent[entry.task].insert(entry.sweep);
  }
  for (const RoundView& round : view->open) ++open[round.task];
  ASSIGN_OR_RETURN(const auto records, store_->ListTasks());
  for (const TaskRecord& record : records) {
    auto config = TaskConfigFromJson(record.config);
    if (!config.ok()) return Annotate(config.status(), absl::StrCat("task ", record.name));
    TaskView task = DescribeTask(record, *config);
    const Tally& tally = tally_[record.name];
    task.done = IsRouted(*config) ? tally.made : tally.done;
    task.aborted = tally.aborted;
    task.open = open[record.name];
    task.spent_rounds = static_cast<int>(spent[record.name].size());
    RETURN_IF_ERROR(Annotate(ReadPrivacy(*config, &task), absl::StrCat("task ", record.name)));
    task.waiting = WhyNoRound(task);
    view->rounds_done += tally.done;
    view->rounds_aborted += tally.aborted;
    view->tasks.push_back(std::move(task));
  }
  return absl::OkStatus();
}

absl::Status FleetViewer::ReadReleases(FleetView* view) {
  ASSIGN_OR_RETURN(const auto records, store_->ListReleases());
  view->releases_total = static_cast<int64_t>(records.size());
  std::map<std::pair<ReleaseKind, std::string>, uint64_t> newest;
  for (const ReleaseRecord& record : records) {
    uint64_t& version = newest[{record.kind, record.base_fingerprint}];
    version = std::max(version, record.version);
  }
  for (const ReleaseRecord& record : records) {
    const bool is_newest = newest[{record.kind, record.base_fingerprint}] == record.version;
    if (view->releases.size() >= kRecentReleases && !is_newest) continue;
    const std::string key = absl::StrCat(ToAbsl(ReleaseKindName(record.kind)), " ",
                                         record.base_fingerprint, " ", record.version);
    auto known = known_releases_.find(key);
    if (known == known_releases_.end()) {
      ASSIGN_OR_RETURN(const ReleaseView release, DescribeRelease(record));
      known = known_releases_.emplace(key, release).first;
    }
    view->releases.push_back(known->second);
    view->releases.back().newest = is_newest;
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
