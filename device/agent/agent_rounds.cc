// The agent's rounds: tokens, offers, appointments and the five steps.  The rest is in agent.cc.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/catalog.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/agent/agent.h"

namespace lorikeet {
namespace {

constexpr size_t kRememberedSessions = 4096;
constexpr absl::Duration kFollowUp = absl::Minutes(2);

// A session is the hash of the description's bytes, as the log has it.
std::vector<LogEntry> EntriesOf(std::span<const RoundDescription> rounds) {
  std::vector<LogEntry> entries;
  for (const RoundDescription& round : rounds) {
    entries.push_back({LogEntryKind::kRound, round.secagg.session});
  }
  return entries;
}

}  // namespace

void Agent::Seek() {
  if (StopIsDue()) return Stop(absl::OkStatus());
  if (!purse_ || clock_->Now() < tokens_due_) return SeekRound();
  phase_ = Phase::kTokens;
  Call(TokenKeysQuery{});
}

void Agent::HandleTokens(const AgentResponse& response) {
  if (absl::IsResourceExhausted(response.status)) purse_->DropRequest();
  const absl::Status accepted = response.status.ok() ? AcceptTokens(response) : response.status;
  if (!Save()) return;
  if (!accepted.ok()) return TokensFailed(accepted);
  tokens_due_ = purse_->next_keys_at();
  RequestTokens();
}

absl::Status Agent::AcceptTokens(const AgentResponse& response) {
  if (const auto* keys = std::get_if<SignedTokenKeys>(&response.answer)) {
    return purse_->AcceptKeys(*keys);
  }
  return purse_->AcceptEvaluation(std::get<BatchEvaluation>(response.answer));
}

void Agent::RequestTokens() {
  auto request = purse_->NextRequest();
  if (!request.ok()) return TokensFailed(request.status());
  if (!*request) return SeekRound();
  Call(**std::move(request));
}

void Agent::TokensFailed(const absl::Status& status) {
  tokens_due_ = clock_->Now() + options_.poll_interval;
  // A coordinator that issues none says so at every look; its rounds ask for none.
  if (!absl::IsUnimplemented(status)) Report("tokens", std::string(Message(status)));
  SeekRound();
}

void Agent::SeekRound() {
  phase_ = Phase::kSeek;
  if (options_.stop_after_rounds > 0 && state_.rounds_done >= options_.stop_after_rounds) {
    return Wait(options_.poll_interval *
                Jitter());  // the catalog of the last round is still to come
  }
  Call(RoundQuery{kProtocolVersion, BaseFingerprint(), state_.catalog->version});
}

void Agent::HandleOffer(const AgentResponse& response) {
  if (!response.status.ok()) {
    Report("refused", std::string(Message(response.status)));
    return Wait(options_.poll_interval * Jitter());
  }
  const auto& offer = std::get<RoundOffer>(response.answer);
  if (offer.rounds.empty()) {
    if (options_.once) return Stop(absl::OkStatus());
    return Wait(
        std::min(std::max(offer.retry_after, options_.step_interval), options_.poll_interval) *
        Jitter());
  }
  std::vector<RoundDescription> rounds = Verified(offer);
  std::vector<LogEntry> entries = EntriesOf(rounds);
  if (std::ranges::all_of(entries,
                          [&](const LogEntry& e) { return proven_.contains(e.content); })) {
    return TakeUpOneOf(rounds);
  }
  // All of them: which one fits this owner is not the coordinator's to know.
  offered_ = std::move(rounds);
  Call(trust_->ProofOf(std::move(entries)));
}

void Agent::HandleProof(const AgentResponse& response) {
  const std::vector<RoundDescription> rounds = std::exchange(offered_, {});
  const std::vector<LogEntry> entries = EntriesOf(rounds);
  const auto* evidence = std::get_if<LogEvidence>(&response.answer);
  absl::Status proven = response.status;
  if (proven.ok() && evidence == nullptr) proven = absl::InternalError("not a proof");
  if (proven.ok()) proven = trust_->AcceptProof(entries, *evidence, clock_->Now());
  if (trust_->TakeUnsaved() && !Save()) return;
  if (!proven.ok()) {
    Report("refused", std::string(Message(Annotate(proven, "rounds"))));
    return Pause(absl::OkStatus());
  }
  proven_.clear();
  for (const LogEntry& entry : entries) proven_.insert(entry.content);
  TakeUpOneOf(rounds);
}

void Agent::TakeUpOneOf(std::span<const RoundDescription> rounds) {
  std::set<std::string> refused;
  for (const RoundDescription& round : rounds) {
    const absl::Status status = TakeUp(round, rounds);
    if (status.ok() || phase_ == Phase::kStopped) return;
    // Rounds of a sweep are refused together.
    if (refused.insert(std::string(Message(status))).second) {
      Report("refused", std::string(Message(status)));
    }
  }
  Pause(absl::OkStatus());
}

std::vector<RoundDescription> Agent::Verified(const RoundOffer& offer) {
  std::vector<RoundDescription> rounds;
  for (const SignedRoundDescription& offered : offer.rounds) {
    auto round = trust_->VerifyRound(offered, clock_->Now());
    if (round.ok()) {
      rounds.push_back(*std::move(round));
    } else {
      Report("refused", std::string(Message(round.status())));
    }
  }
  return rounds;
}

void Agent::EndQuiet() {
  if (clock_->Now() < appointment_->quiet_until) {
    actions_.push_back(WaitAction{appointment_->quiet_until});
    return;
  }
  const absl::Status outcome = std::move(appointment_->outcome);
  appointment_.reset();
  if (options_.once && !outcome.ok()) return Stop(outcome);
  follow_up_until_ = clock_->Now() + kFollowUp;
  FollowCatalog();
}

void Agent::Pause(absl::Status outcome) {
  if (appointment_) return BeQuiet(std::move(outcome));
  phase_ = Phase::kSeek;
  if (options_.once) return Stop(std::move(outcome));
  Wait(options_.poll_interval * Jitter());
}

absl::StatusOr<Catalog> Agent::InstalledCatalog() {
  ASSIGN_OR_RETURN(const std::string content, store_->FileContent(state_.catalog->file_hash));
  return ParseCatalog(content);
}

// The session, its epsilon and the loss of its token are on disk before the coordinator hears of
// this device.
absl::Status Agent::CheckAndCharge(const RoundDescription& round) {
  ASSIGN_OR_RETURN(const Catalog catalog, InstalledCatalog());
  ASSIGN_OR_RETURN(LedgerEntry charge,
                   CheckRound(round, options_.policy, state_, catalog, clock_->Now()));
  if (catalog.FindPersona(state_.personal->contributes_to) < 0) {
    return absl::FailedPreconditionError(
        "round left out: no persona fits this owner, so there is nothing to add");
  }
  if (round.token) {
    if (!purse_) {
      return absl::FailedPreconditionError(
          "round left out: it asks for an anonymous token, and no issuer is known");
    }
    RETURN_IF_ERROR(purse_->CanMeet(*round.token));
  }
  RETURN_IF_ERROR(state_.ledger.Charge(std::move(charge)));
  if (round.token) taken_token_ = purse_->Take(*round.token);
  state_.joined.push_back(round.secagg.session);
  if (state_.joined.size() > kRememberedSessions) state_.joined.erase(state_.joined.begin());
  if (round.layout.routed()) state_.sweeps.push_back(SweepId(round));
  if (state_.sweeps.size() > kRememberedSessions) state_.sweeps.erase(state_.sweeps.begin());
  return Save() ? absl::OkStatus() : absl::UnavailableError("agent state could not be saved");
}

absl::StatusOr<std::unique_ptr<RoundParticipant>> Agent::MakeParticipant(
    const RoundDescription& round) {
  std::optional<RoundAdmission> admission;
  if (round.token) {
    const PurseToken token = *std::exchange(taken_token_, std::nullopt);
    ASSIGN_OR_RETURN(admission, purse_->Open(token));
  }
  return RoundParticipant::Create(round, random_, std::move(admission));
}

void Agent::Join(const RoundDescription& round) {
  auto participant = MakeParticipant(round);
  auto advertisement = participant.ok() ? (*participant)->Advertise()
                                        : absl::StatusOr<AgentRequest>(participant.status());
  if (!advertisement.ok()) {
    Report("refused", std::string(Message(advertisement.status())));
    return Pause(absl::OkStatus());
  }
  phase_ = Phase::kRound;
  participant_ = *std::move(participant);
  held_poll_.reset();
  waiting_for_contribution_ = true;
  Report("round",
         absl::StrFormat("taking part in round %d of task %s", round.round_number, round.task));
  Call(*std::move(advertisement));
  actions_.push_back(
      ContributeAction{round, state_.personal->contributes_to, state_.catalog->file_hash});
}

void Agent::HandleRound(const AgentResponse& response) {
  const absl::Status& status = response.status;
  // Another step is on: the next poll says which.  Without a ticket there is no next poll.
  if (absl::IsFailedPrecondition(status) && participant_->advertised()) {
    return Wait(options_.step_interval * Jitter());
  }
  if (!status.ok()) {
    return LeaveRound(
        "round_failed",
        absl::StrFormat("round %d: %s", participant_->round().round_number, Message(status)));
  }
  if (const auto* poll = std::get_if<PollResult>(&response.answer)) return HandlePoll(*poll);
  if (const auto* ticket = std::get_if<Ticket>(&response.answer))
    participant_->SetTicket(ticket->value);
  Wait(options_.step_interval * Jitter());
}

void Agent::HandlePoll(const PollResult& poll) {
  const uint64_t number = participant_->round().round_number;
  if (poll.phase == RoundPhase::kAborted) {
    return LeaveRound("round_failed",
                      absl::StrFormat("round %d was aborted: %s", number, poll.message));
  }
  if (poll.phase == RoundPhase::kDone) {
    ++state_.rounds_done;
    state_.last_round_catalog = participant_->round().catalog_version;
    follow_up_until_ = clock_->Now() + kFollowUp;
    if (!Save()) return;
    return LeaveRound("round_done", absl::StrFormat("round %d: summed over %d devices", number,
                                                    poll.survivor_count));
  }
  auto request = participant_->Answer(poll);
  if (!request.ok()) {
    return LeaveRound("round_failed",
                      absl::StrFormat("round %d left: %s", number, Message(request.status())));
  }
  if (*request) {
    // Before it is handed out: from here on nothing is refunded.
    if (participant_->contribution_sent() && !MarkContributed()) return;
    Report("step", absl::StrFormat("round %d: %s", number, RequestName(**request)));
    return Call(**std::move(request));
  }
  if (poll.phase == RoundPhase::kMask && waiting_for_contribution_) {
    held_poll_ = poll;
    return;
  }
  Wait(std::min(std::max(poll.retry_after, absl::Milliseconds(50)), options_.step_interval) *
       Jitter());
}

bool Agent::MarkContributed() {
  const SessionId& session = participant_->round().secagg.session;
  if (state_.ledger.Find(session)->status == ChargeStatus::kContributed) return true;
  LORIKEET_CHECK(state_.ledger.SetStatus(session, ChargeStatus::kContributed).ok());
  return Save();
}

void Agent::LeaveRound(std::string_view kind, const std::string& message) {
  if (participant_ != nullptr && !participant_->contribution_sent()) {
    // Nothing of this owner left the device, so nothing was spent.
    const absl::Status refunded =
        state_.ledger.SetStatus(participant_->round().secagg.session, ChargeStatus::kRefunded);
    LORIKEET_CHECK(refunded.ok());
    if (!Save()) return;
  }
  participant_.reset();
  held_poll_.reset();
  pending_.reset();
  resend_ = false;
  Report(kind, message);
  const bool done = kind == "round_done";
  // Whom it is called by says nothing of when its round ended.
  if (done && !appointment_) return FollowCatalog();
  // A failed round is not tried again at once: the next look is after the poll interval.
  Pause(done ? absl::OkStatus() : absl::AbortedError(message));
}

}  // namespace lorikeet
