// Rounds: opening them when they are due, and stepping them.  What becomes of their sum is in
// coordinator_settle.cc.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/decode.h"
#include "common/wire/sign_round.h"
#include "coordinator/rounds/central_noise.h"
#include "coordinator/rounds/coordinator.h"
#include "coordinator/rounds/total_budget.h"

namespace lorikeet {
namespace {

// After an abort devices need a moment; without it an empty fleet's last device would open rounds
// in a loop.
constexpr absl::Duration kPauseAfterAbort = absl::Seconds(1);
// Longer than any round's first step.
constexpr absl::Duration kTokenMemory = absl::Hours(24 * 31);

// Routed rounds are shown to everybody alike.
bool IsOffered(const RoundMachine& machine, const DeviceId& device) {
  if (machine.step() != SecAggStep::kAdvertise) return false;
  if (machine.description().layout.routed()) return true;
  if (IsTokenMember(device)) return false;
  return machine.Contains(device) || machine.arrived() < machine.expected();
}

// When the next rounds of a task may open, which has none open.
absl::StatusOr<absl::Time> DueAt(const TaskConfig& config, const std::vector<RoundRecord>& rounds) {
  if (rounds.empty()) return absl::InfinitePast();
  absl::Time finished = absl::InfinitePast();
  for (const RoundRecord& round : rounds) finished = std::max(finished, round.finished);
  const bool aborted = rounds.front().status == RoundStatus::kAborted;
  const absl::Duration pause = aborted ? std::max(config.pause, kPauseAfterAbort) : config.pause;
  ASSIGN_OR_RETURN(const RoundDescription last,
                   DecodeRoundDescription(rounds.front().description.description));
  // Devices that took part in a sweep say nothing by name until all of it must be over.
  return std::max(finished + pause, last.layout.routed() ? last.unmask_until : finished);
}

RoundOpening OpeningOf(const TaskConfig& config, const RoundDescription& round, absl::Time now,
                       const SigningKey& key) {
  RoundOpening opening;
  opening.round.task = opening.ledger.task = config.name;
  opening.round.number = opening.ledger.round_number = round.round_number;
  opening.round.description = SignRoundDescription(round, key);
  opening.round.session = SessionOf(opening.round.description);
  opening.round.opened = opening.ledger.charged = now;
  opening.ledger.epsilon = round.epsilon;
  opening.ledger.delta = round.delta;
  opening.ledger.noise_multiplier = config.noise_multiplier;
  return opening;
}

}  // namespace

absl::StatusOr<int64_t> SpentRounds(Store* store, const std::string& task) {
  ASSIGN_OR_RETURN(const auto ledger, store->ListLedger(task));
  std::set<uint64_t> sweeps;
  for (const LedgerRecord& entry : ledger) {
    if (entry.spent) sweeps.insert(entry.sweep);
  }
  return static_cast<int64_t>(sweeps.size());
}

int CompletedRounds(const TaskConfig& config, const std::vector<RoundRecord>& rounds) {
  return static_cast<int>(std::ranges::count_if(rounds, [&](const RoundRecord& round) {
    if (!IsRouted(config)) return round.status == RoundStatus::kDone;
    // The one that ended its sweep.
    const auto report = nlohmann::json::parse(round.report, nullptr, false);
    return report.is_object() && report.contains("catalog_version");
  }));
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

std::vector<const OpenRound*> Coordinator::OfferedRounds(const DeviceId& device,
                                                         const RoundQuery& query) {
  std::vector<const OpenRound*> offered;
  for (const auto& [session, round] : open_) {
    const RoundDescription& description = round.machine->description();
    if (description.base_fingerprint == query.base_fingerprint &&
        description.catalog_version == query.catalog_version && IsOffered(*round.machine, device)) {
      offered.push_back(&round);
    }
  }
  std::ranges::sort(offered, {}, [](const OpenRound* round) { return round->record.id; });
  return offered;
}

absl::Status Coordinator::OpenDueRounds(const DeviceId& device, const RoundQuery& query) {
  const auto has_one_for_all_personas = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (const OpenRound* round : OfferedRounds(device, query)) {
      if (!round->machine->description().layout.routed()) return true;
    }
    return false;
  };
  if (has_one_for_all_personas()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto tasks, options_.store->ListTasks());
  for (const TaskRecord& task : tasks) {
    if (task.state != TaskState::kActive) continue;
    RETURN_IF_ERROR(OpenIfDue(task, query));
    if (has_one_for_all_personas()) break;
  }
  return absl::OkStatus();
}

absl::Status Coordinator::OpenIfDue(const TaskRecord& task, const RoundQuery& query) {
  ASSIGN_OR_RETURN(const TaskConfig config, TaskConfigFromJson(task.config));
  if (config.base_fingerprint != query.base_fingerprint) return absl::OkStatus();
  for (const auto& [session, round] : open_) {
    if (round.record.task == task.name) return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const auto catalog,
                   options_.store->LatestRelease(ReleaseKind::kCatalog, config.base_fingerprint));
  if (!catalog || catalog->version != query.catalog_version) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto rounds, options_.store->ListRounds(task.name));
  if (CompletedRounds(config, rounds) >= config.rounds) return absl::OkStatus();
  ASSIGN_OR_RETURN(const absl::Time due, DueAt(config, rounds));
  if (options_.clock->Now() < due) return absl::OkStatus();
  return StartSweep(config, rounds.empty() ? 1 : rounds.front().number + 1, *catalog);
}

absl::Status Coordinator::StartSweep(const TaskConfig& config, uint64_t first_number,
                                     const ReleaseRecord& catalog) {
  ASSIGN_OR_RETURN(const int64_t spent, SpentRounds(options_.store, config.name));
  const auto known = out_of_budget_.find(config.name);
  if (known != out_of_budget_.end() && known->second == spent) return absl::OkStatus();
  ASSIGN_OR_RETURN(const CatalogShape shape, ShapeOf(catalog, options_.blobs));
  const absl::Time now = options_.clock->Now();
  ASSIGN_OR_RETURN(std::vector<RoundDescription> sweep,
                   DescribeSweep(config, shape, first_number, now, options_.random));
  if (RequiresTokens(config)) {
    ASSIGN_OR_RETURN(const TokenDemand demand, DemandTokens());
    for (RoundDescription& round : sweep) {
      ASSIGN_OR_RETURN(round, AdmitByToken(std::move(round), demand));
    }
  }
  const auto stop = [&](std::string_view why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    LogWarning(absl::StrFormat("task %s: no round opens: %s", config.name, why));
    out_of_budget_[config.name] = spent;
    return absl::OkStatus();
  };
  // A device is in one round of a sweep at most.  The first is the largest, and costs the most.
  ASSIGN_OR_RETURN(const double total, EpsilonOfRounds(config, sweep.front(), spent + 1));
  if (total > config.epsilon_budget) {
    return stop(
        absl::StrFormat("expected epsilon up to %g, got %.3f", config.epsilon_budget, total));
  }
  ASSIGN_OR_RETURN(const bool fits_total, FitsTotal(config, sweep.front()));
  if (!fits_total) return absl::OkStatus();
  if (sweep.front().central) {
    auto at_step = AtCentralStep(std::move(sweep.front()), options_.store, options_.random);
    if (absl::IsOutOfRange(at_step.status())) return stop(Message(at_step.status()));
    ASSIGN_OR_RETURN(sweep.front(), std::move(at_step));
  }
  std::vector<RoundOpening> openings;
  for (const RoundDescription& round : sweep) {
    openings.push_back(OpeningOf(config, round, now, *options_.key));
    openings.back().ledger.sweep = first_number;
    // That of central noise is of all rounds of the task, and charged once.
    if (round.central && spent > 0) openings.back().ledger.epsilon = 0;
  }
  const auto ids = options_.store->OpenSweep(openings);
  if (!ids.ok()) return Distrust("a round that opens", ids.status());
  for (size_t i = 0; i < openings.size(); ++i) {
    RoundRecord& record = openings[i].round;
    record.id = (*ids)[i];
    const SessionId session = record.session;
    LogInfo(absl::StrFormat("task %s: round %d opens", config.name, record.number));
    // If this fails, it is made up for when the first device asks for the proof.
    const absl::Status logged = options_.trust->Log({LogEntryKind::kRound, session});
    if (!logged.ok()) LogError(absl::StrCat("transparency log: ", logged.message()));
    ASSIGN_OR_RETURN(open_[session], RestoreRound(std::move(record), {}, {}));
    open_[session].began_here = true;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Coordinator::FitsTotal(const TaskConfig& config,
                                            const RoundDescription& round) {
  if (!options_.total_budget) return true;
  ASSIGN_OR_RETURN(const Hash256 digest, SpentDigest(options_.store));
  const auto known = out_of_total_.find(config.name);
  if (known != out_of_total_.end() && known->second == digest) return false;
  ASSIGN_OR_RETURN(const TotalSpent spent, SpentOverTasks(options_.store, config.base_fingerprint));
  const absl::Status fits = CheckTotalBudget(spent, config, round, *options_.total_budget);
  if (fits.ok()) return true;
  if (!absl::IsResourceExhausted(fits)) return fits;
  LogWarning(absl::StrFormat("task %s: no round opens: %s", config.name, Message(fits)));
  out_of_total_[config.name] = digest;
  return false;
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
    return Distrust("what arrived", stored);
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

}  // namespace lorikeet
