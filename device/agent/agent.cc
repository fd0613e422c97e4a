#include "device/agent/agent.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/catalog.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/sign_round.h"

namespace lorikeet {
namespace {

constexpr size_t kRememberedSessions = 4096;
constexpr absl::Duration kFollowUp = absl::Minutes(2);

bool IsTransient(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

// Errors that another base would not give: not those of the owner's text or settings.
bool IsTheBases(const absl::Status& status) {
  return absl::IsDataLoss(status) || absl::IsInternal(status) || absl::IsUnimplemented(status) ||
         absl::IsResourceExhausted(status);
}

bool IsFatal(const absl::Status& status) {
  return absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Agent>> Agent::Create(AgentOptions options, const Clock* clock,
                                                     RandomSource* random, AgentStore* store) {
  ASSIGN_OR_RETURN(AgentState state, store->Load());
  return std::unique_ptr<Agent>(
      new Agent(std::move(options), clock, random, store, std::move(state)));
}

Agent::Agent(AgentOptions options, const Clock* clock, RandomSource* random, AgentStore* store,
             AgentState state)
    : options_(std::move(options)),
      clock_(clock),
      random_(random),
      store_(store),
      state_(std::move(state)),
      pace_(options_.max_download_rate) {
  state_.ledger.terms = {.max_total_epsilon = options_.policy.max_total_epsilon,
                         .delta = options_.policy.max_delta,
                         .assumed_corrupt_fraction = options_.policy.assumed_corrupt_fraction};
  if (options_.issuer_key && options_.policy.federate) {
    purse_.emplace(*options_.issuer_key, &state_, store_, random_);
  }
}

AgentActions Agent::Step(AgentEvent event) {
  actions_.clear();
  if (phase_ != Phase::kStopped) {
    std::visit([this](auto&& e) { On(std::forward<decltype(e)>(e)); }, std::move(event));
  }
  return std::move(actions_);
}

void Agent::On(StartEvent) {
  LORIKEET_CHECK(phase_ == Phase::kIdle);
  phase_ = Phase::kHello;
  Call(HelloCall{});
}

void Agent::On(CallDone done) {
  if (!pending_ || done.id != pending_->id || resend_) return;  // an answer to a call given up
  if (IsTransient(done.response.status)) return Retry(done.response.status);
  failures_ = 0;
  pending_.reset();
  // Inside a round it may mean this round only; a revoked device hears it again at its next call.
  const bool unnamed = phase_ == Phase::kRound || phase_ == Phase::kAppointment;
  if (IsFatal(done.response.status) && !unnamed) return Stop(done.response.status);
  HandleAnswer(done.response);
}

void Agent::On(BaseChecked done) {
  if (phase_ != Phase::kCheckBase) return;
  const InstalledRelease candidate = *state_.slots.candidate;
  if (done.health.healthy) {
    state_.slots.Accept(&state_.base);
  } else {
    state_.slots.Refuse(done.health.summary, clock_->Now());
  }
  if (!Save()) return;
  if (done.health.healthy) {
    Report("base",
           absl::StrFormat("version %d is in use: %s", candidate.version, done.health.summary));
    return AfterRelease(absl::OkStatus());
  }
  const std::string refused = absl::StrFormat("base version %d failed its health check: %s",
                                              candidate.version, done.health.summary);
  Report("rolled_back", refused);
  AfterRelease(absl::FailedPreconditionError(refused));
}

void Agent::On(PersonalizeDone done) {
  if (phase_ != Phase::kPersonalize) return;
  if (!done.summary.ok() && IsTheBases(done.summary.status()) &&
      state_.slots.RollBack(std::string(Message(done.summary.status())), clock_->Now(),
                            &state_.base)) {
    if (!Save()) return;
    Report("rolled_back", absl::StrFormat("base version %d is in use again: %s",
                                          state_.base->version, Message(done.summary.status())));
    return FollowCatalog();
  }
  if (!done.summary.ok()) {
    Report("personalize_failed", std::string(Message(done.summary.status())));
    return Stop(done.summary.status());
  }
  state_.personal = *std::move(done.summary);
  state_.slots.Settle();
  if (!Save()) return;
  Report("personalized", absl::StrCat(state_.personal->reason, " ", state_.personal->verdict));
  Seek();
}

void Agent::On(ContributionDone done) {
  if (phase_ != Phase::kRound || done.session != participant_->round().secagg.session) return;
  waiting_for_contribution_ = false;
  if (!done.contribution.ok()) {
    return LeaveRound("round_failed", absl::StrCat("no contribution: ",
                                                   ToAbsl(Message(done.contribution.status()))));
  }
  participant_->SetContribution(*std::move(done.contribution));
  if (held_poll_) HandlePoll(*std::exchange(held_poll_, std::nullopt));
}

void Agent::On(WakeEvent) {
  if (resend_) {
    resend_ = false;
    actions_.push_back(*pending_);
    return;
  }
  if (pending_ || held_poll_) return;
  switch (phase_) {
    case Phase::kBase:
    case Phase::kCatalog:
    case Phase::kSeek:
      return FollowReleases();
    case Phase::kAppointment:
      return KeepAppointment();
    case Phase::kRound:
      return Call(participant_->Poll());
    case Phase::kQuiet:
      return EndQuiet();
    default:
      return;
  }
}

void Agent::Call(AgentRequest request) {
  DeviceId member;
  if (phase_ == Phase::kRound) member = participant_->member();
  if (phase_ == Phase::kAppointment) member = appointment_->alias;
  pending_ = CallAction{next_call_++, std::move(request), std::move(member)};
  actions_.push_back(*pending_);
}

void Agent::CallAt(absl::Time time, AgentRequest request) {
  if (time <= clock_->Now()) return Call(std::move(request));
  pending_ = CallAction{next_call_++, std::move(request), DeviceId()};
  resend_ = true;
  actions_.push_back(WaitAction{time});
}

void Agent::Wait(absl::Duration duration) {
  actions_.push_back(WaitAction{clock_->Now() + duration});
}

void Agent::Report(std::string_view kind, std::string message) {
  actions_.push_back(ReportAction{std::string(kind), std::move(message)});
}

void Agent::Stop(absl::Status status) {
  phase_ = Phase::kStopped;
  participant_.reset();
  actions_.push_back(StopAction{std::move(status)});
}

// What cannot be made durable must not be acted on.
bool Agent::Save() {
  const absl::Status status = store_->Save(state_);
  if (status.ok()) return true;
  Stop(Annotate(status, "agent state"));
  return false;
}

// Uniform in [0.5, 1): devices that failed together must not come back together.
double Agent::Jitter() {
  return 0.5 + 0.5 * static_cast<double>(random_->UniformUint64(1 << 20)) / (1 << 20);
}

void Agent::Retry(const absl::Status& status) {
  const absl::Time now = clock_->Now();
  if (failures_ == 0) first_failure_ = now;
  if (now - first_failure_ >= options_.give_up_after) {
    return Stop(Annotate(status, "coordinator not reachable"));
  }
  const absl::Duration delay =
      std::min(options_.retry_cap, options_.retry_base * (1 << std::min(failures_, 16)));
  ++failures_;
  resend_ = true;
  Report("retry", absl::StrFormat("%s: %s", RequestName(pending_->request), Message(status)));
  // The last attempt is made when the time is up, not a whole backoff later.
  Wait(std::min(delay * Jitter(), first_failure_ + options_.give_up_after - now));
}

void Agent::HandleAnswer(const AgentResponse& response) {
  switch (phase_) {
    case Phase::kHello:
      if (!response.status.ok()) return Stop(response.status);
      if (state_.slots.candidate) return CheckBase();
      return FollowReleases();
    case Phase::kBase:
    case Phase::kCatalog:
      return HandleRelease(response);
    case Phase::kTokens:
      return HandleTokens(response);
    case Phase::kSeek:
      return HandleOffer(response);
    case Phase::kAppointment:
      return HandleSecondLook(response);
    case Phase::kRound:
      return HandleRound(response);
    default:
      return;
  }
}

std::string Agent::BaseFingerprint() const {
  if (!options_.base_fingerprint.empty()) return options_.base_fingerprint;
  return state_.base ? state_.base->base_fingerprint : "";
}

void Agent::FollowReleases() {
  return options_.base_fingerprint.empty() ? FollowBase() : FollowCatalog();
}

void Agent::CheckBase() {
  phase_ = Phase::kCheckBase;
  const bool begun = state_.slots.BeginCheck(clock_->Now());
  if (!Save()) return;
  if (!begun) {
    Report("rolled_back",
           absl::StrFormat("base version %d refused: %s", state_.slots.refused->release.version,
                           state_.slots.refused->reason));
    return FollowReleases();
  }
  actions_.push_back(
      CheckBaseAction{*state_.slots.candidate, state_.base ? state_.base->file_hash : Hash256{}});
}

void Agent::FollowBase() {
  phase_ = Phase::kBase;
  follower_ = std::make_unique<ReleaseFollower>(ReleaseKind::kBase, "", options_.coordinator_key,
                                                state_.base, store_);
  if (state_.slots.refused) follower_->LeaveOut(state_.slots.refused->release.file_hash);
  Call(follower_->FirstRequest());
}

void Agent::FollowCatalog() {
  if (BaseFingerprint().empty()) return FollowBase();
  phase_ = Phase::kCatalog;
  // A catalog of another base is not an older version of this one's.
  const auto installed = HasCatalog() ? state_.catalog : std::nullopt;
  follower_ = std::make_unique<ReleaseFollower>(ReleaseKind::kCatalog, BaseFingerprint(),
                                                options_.coordinator_key, installed, store_);
  Call(follower_->FirstRequest());
}

void Agent::HandleRelease(const AgentResponse& response) {
  if (absl::IsNotFound(response.status)) return AfterRelease(absl::OkStatus());
  auto next = follower_->Handle(response, clock_->Now());
  if (!next.ok()) {
    const absl::Status refused = Annotate(
        next.status(), absl::StrCat(ToAbsl(ReleaseKindName(follower_->kind())), " release"));
    Report("refused", std::string(Message(refused)));
    return AfterRelease(refused);
  }
  if (const auto* chunk = std::get_if<ChunkResult>(&response.answer)) {
    pace_.Spend(chunk->data.size(), clock_->Now());
  }
  if (*next) return CallAt(pace_.next(), **std::move(next));
  if (!follower_->changed()) return AfterRelease(absl::OkStatus());
  const bool base = follower_->kind() == ReleaseKind::kBase;
  // What was chosen from another base's catalog says nothing of this one's, whatever its version.
  if (!base && !HasCatalog()) state_.personal.reset();
  if (base) {
    state_.slots.Propose(*follower_->result());
  } else {
    state_.catalog = follower_->result();
  }
  if (!Save()) return;
  Report("release",
         absl::StrFormat("%s version %d installed, %d bytes fetched%s",
                         ReleaseKindName(follower_->kind()), follower_->result()->version,
                         follower_->bytes_fetched(), follower_->by_delta() ? " as a delta" : ""));
  // A base is tried before it is used.
  if (base) return CheckBase();
  AfterRelease(absl::OkStatus());
}

bool Agent::HasCatalog() const {
  return state_.catalog && state_.catalog->base_fingerprint == BaseFingerprint();
}

void Agent::AfterRelease(const absl::Status& refused) {
  // Without a follower: a check that a restart had interrupted.
  const bool base = follower_ == nullptr || follower_->kind() == ReleaseKind::kBase;
  follower_.reset();
  if (base && state_.base) return FollowCatalog();
  if (base || !HasCatalog()) {
    if (options_.once) {
      if (!refused.ok()) return Stop(refused);
      return Stop(absl::FailedPreconditionError(absl::StrCat(
          "the coordinator has released no usable ", base ? "base model" : "catalog")));
    }
    if (refused.ok())
      Report("waiting", base ? "no base model is released yet" : "no catalog is released yet");
    return Wait(options_.poll_interval * Jitter());
  }
  std::vector<Hash256> files = state_.slots.Files(state_.base);
  files.push_back(state_.catalog->file_hash);
  if (const absl::Status status = store_->KeepOnly(files); !status.ok()) {
    Report("storage", std::string(Message(status)));
  }
  if (PersonalizeIsDue()) return Personalize();
  Seek();
}

bool Agent::PersonalizeIsDue() const {
  if (!state_.personal) return true;
  if (state_.personal->catalog_version == state_.catalog->version) return false;
  return StopIsDue() || options_.once ||
         clock_->Now() - state_.personal->at >= options_.personalize_interval;
}

void Agent::Personalize() {
  phase_ = Phase::kPersonalize;
  actions_.push_back(PersonalizeAction{state_.catalog->version, state_.catalog->file_hash,
                                       state_.base ? state_.base->file_hash : Hash256{}});
}

bool Agent::StopIsDue() const {
  if (options_.stop_after_rounds == 0 || state_.rounds_done < options_.stop_after_rounds) {
    return false;
  }
  return state_.catalog->version > state_.last_round_catalog || clock_->Now() >= follow_up_until_;
}

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
  const std::vector<RoundDescription> rounds = Verified(offer);
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
    auto round = VerifyRoundDescription(offered, options_.coordinator_key);
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
