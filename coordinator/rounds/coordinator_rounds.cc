// Rounds: opening them when they are due, stepping them, and what becomes of their sum.
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/sign_round.h"
#include "coordinator/aggregation/update_merge.h"
#include "coordinator/rounds/central_noise.h"
#include "coordinator/rounds/coordinator.h"

namespace lorikeet {
namespace {

// After an abort devices need a moment; without it an empty fleet's last device would open rounds
// in a loop.
constexpr absl::Duration kPauseAfterAbort = absl::Seconds(1);
// Longer than any round's first step.
constexpr absl::Duration kTokenMemory = absl::Hours(24 * 31);

bool StillJoinable(const RoundMachine& machine, const DeviceId& device) {
  if (machine.step() != SecAggStep::kAdvertise) return false;
  return machine.Contains(device) || machine.arrived() < machine.expected();
}

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

}  // namespace

absl::StatusOr<int64_t> SpentRounds(Store* store, const std::string& task) {
  ASSIGN_OR_RETURN(const auto ledger, store->ListLedger(task));
  int64_t spent = 0;
  for (const LedgerRecord& entry : ledger) spent += entry.spent ? 1 : 0;
  return spent;
}

absl::StatusOr<CatalogShape> ShapeOf(const ReleaseRecord& release, BlobStore* blobs) {
  CatalogShape shape;
  ASSIGN_OR_RETURN(shape.hash, ReleaseFileHash(release));
  ASSIGN_OR_RETURN(const Catalog catalog, LoadCatalog(release, blobs));
  shape.version = catalog.version;
  shape.persona_count = static_cast<int>(catalog.personas.size());
  shape.block_size = catalog.block_size();
  return shape;
}

absl::StatusOr<const OpenRound*> Coordinator::RoundFor(const DeviceId& device,
                                                       const RoundQuery& query) {
  for (const auto& [session, round] : open_) {
    const RoundDescription& description = round.machine->description();
    if (description.base_fingerprint == query.base_fingerprint &&
        description.catalog_version == query.catalog_version &&
        StillJoinable(*round.machine, device)) {
      return &round;
    }
  }
  ASSIGN_OR_RETURN(const auto tasks, options_.store->ListTasks());
  for (const TaskRecord& task : tasks) {
    if (task.state != TaskState::kActive) continue;
    ASSIGN_OR_RETURN(const OpenRound* round, OpenIfDue(task, query));
    if (round != nullptr) return round;
  }
  return nullptr;
}

absl::StatusOr<const OpenRound*> Coordinator::OpenIfDue(const TaskRecord& task,
                                                        const RoundQuery& query) {
  ASSIGN_OR_RETURN(const TaskConfig config, TaskConfigFromJson(task.config));
  if (config.base_fingerprint != query.base_fingerprint) return nullptr;
  for (const auto& [session, round] : open_) {
    if (round.record.task == task.name) return nullptr;
  }
  ASSIGN_OR_RETURN(const auto catalog,
                   options_.store->LatestRelease(ReleaseKind::kCatalog, config.base_fingerprint));
  if (!catalog || catalog->version != query.catalog_version) return nullptr;
  ASSIGN_OR_RETURN(const auto rounds, options_.store->ListRounds(task.name));
  int completed = 0;
  for (const RoundRecord& round : rounds) completed += round.status == RoundStatus::kDone ? 1 : 0;
  if (completed >= config.rounds) return nullptr;
  if (!rounds.empty()) {
    const RoundRecord& last = rounds.front();
    const bool aborted = last.status == RoundStatus::kAborted;
    const absl::Duration pause = aborted ? std::max(config.pause, kPauseAfterAbort) : config.pause;
    if (options_.clock->Now() < last.finished + pause) return nullptr;
  }
  return StartRound(config, rounds.empty() ? 1 : rounds.front().number + 1, *catalog);
}

absl::StatusOr<const OpenRound*> Coordinator::StartRound(const TaskConfig& config,
                                                         uint64_t round_number,
                                                         const ReleaseRecord& catalog) {
  ASSIGN_OR_RETURN(const int64_t spent, SpentRounds(options_.store, config.name));
  const auto known = out_of_budget_.find(config.name);
  if (known != out_of_budget_.end() && known->second == spent) return nullptr;
  ASSIGN_OR_RETURN(const CatalogShape shape, ShapeOf(catalog, options_.blobs));
  const absl::Time now = options_.clock->Now();
  ASSIGN_OR_RETURN(RoundDescription description,
                   DescribeRound(config, shape, round_number, now, options_.random));
  if (RequiresTokens(config)) {
    ASSIGN_OR_RETURN(const TokenDemand demand, DemandTokens());
    ASSIGN_OR_RETURN(description, AdmitByToken(std::move(description), demand));
  }
  ASSIGN_OR_RETURN(const double total, EpsilonOfRounds(config, description, spent + 1));
  if (total > config.epsilon_budget) {
    LogWarning(absl::StrFormat("task %s: no round opens: expected epsilon up to %g, got %.3f",
                               config.name, config.epsilon_budget, total));
    out_of_budget_[config.name] = spent;
    return nullptr;
  }
  if (description.central) {
    auto at_step = AtCentralStep(std::move(description), options_.store, options_.random);
    if (absl::IsOutOfRange(at_step.status())) {
      LogWarning(
          absl::StrFormat("task %s: no round opens: %s", config.name, Message(at_step.status())));
      out_of_budget_[config.name] = spent;
      return nullptr;
    }
    ASSIGN_OR_RETURN(description, std::move(at_step));
  }
  RoundRecord record;
  record.task = config.name;
  record.number = round_number;
  record.description = SignRoundDescription(description, *options_.key);
  record.session = SessionOf(record.description);
  record.opened = now;
  LedgerRecord ledger;
  ledger.task = config.name;
  ledger.round_number = round_number;
  // That of central noise is of all rounds of the task, and charged once.
  ledger.epsilon = description.central && spent > 0 ? 0 : description.epsilon;
  ledger.delta = description.delta;
  ledger.noise_multiplier = config.noise_multiplier;
  ledger.charged = now;
  ASSIGN_OR_RETURN(record.id, options_.store->OpenRound(record, ledger));
  const SessionId session = record.session;
  ASSIGN_OR_RETURN(OpenRound round, RestoreRound(std::move(record), {}, {}));
  LogInfo(absl::StrFormat("task %s: round %d opens", config.name, round_number));
  return &(open_[session] = std::move(round));
}

absl::StatusOr<TokenDemand> Coordinator::DemandTokens() {
  if (options_.redeemer == nullptr) {
    return absl::FailedPreconditionError(
        "the task requires anonymous tokens, and this coordinator has no keys to check them with");
  }
  const TokenSchedule& schedule = options_.redeemer->schedule();
  const absl::Time now = options_.clock->Now();
  ASSIGN_OR_RETURN(const uint64_t epoch, schedule.EpochAt(now));
  // Nobody can join with older ones: a round's first step lasts 30 days at most.
  if (now > schedule.StartOf(0) + kTokenMemory) {
    ASSIGN_OR_RETURN(const uint64_t oldest, schedule.EpochAt(now - kTokenMemory));
    RETURN_IF_ERROR(options_.store->ForgetTokens(oldest));
  }
  TokenDemand demand{.epoch = epoch};
  ASSIGN_OR_RETURN(demand.key_id, options_.redeemer->KeyIdOf(epoch));
  return demand;
}

absl::Status Coordinator::RoundBatch::CheckUnspent(const Token& token,
                                                   const SessionId& session) const {
  for (const EventBatch::Entry& entry : events.entries) {
    if (entry.token && entry.token->epoch == token.epoch && entry.token->nonce == token.nonce &&
        entry.token->session != session) {
      return absl::AlreadyExistsError(
          "token: expected one that was not used yet, got one that is being spent");
    }
  }
  return absl::OkStatus();
}

RoundActions Coordinator::StepRound(OpenRound* round, const RoundInput& input,
                                    const std::optional<Token>& token, RoundBatch* batch) {
  const SecAggStep before = round->machine->step();
  RoundActions actions = round->machine->Step(input);
  if (!actions.persist) return actions;
  RoundEventRecord& event = *actions.persist;
  // A tick keeps its own time: replayed with a later one it could end more steps than it did.
  if (event.kind != RoundEventKind::kTick) event.at = options_.clock->Now();
  const SecAggStep after = round->machine->step();
  round->statistics.Record(event, before, after);
  EventBatch::Entry entry{.round_id = round->record.id, .event = event, .token = std::nullopt};
  if (token) entry.token = SpentTokenRecord{token->epoch, token->nonce, round->record.session};
  batch->events.entries.push_back(std::move(entry));
  RoundBatch::Change& change = batch->rounds[round->record.session];
  change.summed |= event.kind == RoundEventKind::kMask;
  if (after == SecAggStep::kDone || after == SecAggStep::kAborted) batch->round_ended = true;
  return actions;
}

absl::Status Coordinator::Commit(RoundBatch* batch) {
  const RoundBatch committed = std::exchange(*batch, {});
  if (committed.empty()) return absl::OkStatus();
  EventBatch events = committed.events;
  for (const auto& [session, change] : committed.rounds) {
    if (!change.summed) continue;
    const OpenRound& round = open_.at(session);
    events.sums.push_back({round.record.id, {round.writer, round.machine->PartialSum()}});
  }
  const absl::Status stored = options_.store->AppendEvents(events);
  if (!stored.ok()) {
    // The machines are ahead of the store (or, where another coordinator over it was faster with a
    // token, beside it): both are brought together at the next call.
    loaded_ = false;
    return absl::UnavailableError(absl::StrCat("cannot be stored: ", stored.message()));
  }
  for (const auto& [session, change] : committed.rounds) {
    OpenRound& round = open_.at(session);
    const SecAggStep step = round.machine->step();
    if (step == SecAggStep::kDone || step == SecAggStep::kAborted) RETURN_IF_ERROR(Settle(&round));
  }
  return absl::OkStatus();
}

absl::Status Coordinator::TickAll() {
  std::vector<SessionId> sessions;  // settling removes from open_
  for (const auto& [session, round] : open_) sessions.push_back(session);
  for (const SessionId& session : sessions) {
    OpenRound& round = open_.at(session);
    const SecAggStep step = round.machine->step();
    if (step == SecAggStep::kDone || step == SecAggStep::kAborted) {
      // Killed, or out of disk, between the last event and the end of the round.
      RETURN_IF_ERROR(Settle(&round));
      continue;
    }
    RoundBatch batch;
    StepRound(&round, ClockTick{options_.clock->Now()}, std::nullopt, &batch);
    RETURN_IF_ERROR(Commit(&batch));
  }
  return absl::OkStatus();
}

absl::StatusOr<ReleaseRecord> Coordinator::Merge(const OpenRound& round, nlohmann::json* report) {
  const RoundDescription& description = round.machine->description();
  const AggregateSum& sum = *round.machine->sum();
  ASSIGN_OR_RETURN(const TaskConfig config, FindTaskConfig(options_.store, description.task));
  ASSIGN_OR_RETURN(const auto newest, options_.store->LatestRelease(ReleaseKind::kCatalog,
                                                                    description.base_fingerprint));
  if (!newest || newest->version != description.catalog_version) {
    return absl::AbortedError("another catalog was published during the round");
  }
  ASSIGN_OR_RETURN(const Catalog catalog, LoadCatalog(*newest, options_.blobs));
  ASSIGN_OR_RETURN(const auto noise, NoiseOf(options_.store, description));
  ASSIGN_OR_RETURN(const std::vector<float> decoded, ReleasableSum(description, sum.sum, noise));
  ASSIGN_OR_RETURN(const MergedCatalog merged,
                   MergeUpdate(catalog, description.layout, decoded, sum.survivor_count,
                               MergeOptionsOf(config, description)));
  *report = nlohmann::json::parse(MergeReportToJson(merged.report));
  Publisher publisher({.store = options_.store,
                       .blobs = options_.blobs,
                       .key = options_.key,
                       .clock = options_.clock,
                       .validity = options_.release_validity});
  return publisher.MakeCatalogRelease(merged.catalog, newest->name, description.catalog_hash);
}

absl::Status Coordinator::Settle(OpenRound* round) {
  RoundRecord record = round->record;
  record.finished = options_.clock->Now();
  nlohmann::json report = nlohmann::json::object();
  std::optional<ReleaseRecord> release;
  bool spent = round->machine->unmasking_started();
  if (round->machine->step() == SecAggStep::kDone) {
    auto merged = Merge(*round, &report);
    if (!merged.ok() && !IsFinal(merged.status())) {
      // A full disk, say: the sum is safe in the stored events, and the next tick tries again.
      return absl::UnavailableError(
          absl::StrCat("the next catalog cannot be stored: ", merged.status().message()));
    }
    spent = true;
    record.status = merged.ok() ? RoundStatus::kDone : RoundStatus::kAborted;
    if (merged.ok()) {
      release = *std::move(merged);
      report["catalog_version"] = release->version;
    } else {
      record.message = std::string(Message(merged.status()));
    }
    const AggregateSum& sum = *round->machine->sum();
    record.survivor_count = sum.survivor_count;
    record.transcript = sum.transcript;
    report["blamed"] = sum.blamed;
  } else {
    record.status = RoundStatus::kAborted;
    record.message = round->machine->abort_reason();
  }
  report["steps"] = round->statistics.ToJson(record.opened);
  record.report = report.dump();
  ASSIGN_OR_RETURN(const auto noise, NoiseAfter(options_.store, *round->machine));
  const absl::Status status = options_.store->FinishRound(record, spent, release, noise);
  if (!status.ok()) {
    loaded_ = false;
    return absl::UnavailableError(
        absl::StrCat("the end of a round cannot be stored: ", status.message()));
  }
  LogInfo(absl::StrFormat("task %s: round %d: %s%s%s", record.task, record.number,
                          ToAbsl(RoundStatusName(record.status)),
                          record.message.empty() ? "" : ": ", record.message));
  open_.erase(record.session);
  return absl::OkStatus();
}

}  // namespace lorikeet
