#include "device/agent/agent.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/catalog.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

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
  auto agent =
      std::unique_ptr<Agent>(new Agent(std::move(options), clock, random, store, std::move(state)));
  ASSIGN_OR_RETURN(agent->trust_, FleetTrust::Create(agent->options_.root, &agent->state_));
  return agent;
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
      return offered_.empty() ? HandleOffer(response) : HandleProof(response);
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
  follower_ =
      std::make_unique<ReleaseFollower>(ReleaseKind::kBase, "", state_.base, &*trust_, store_);
  if (state_.slots.refused) follower_->LeaveOut(state_.slots.refused->release.file_hash);
  Call(follower_->FirstRequest());
}

void Agent::FollowCatalog() {
  if (BaseFingerprint().empty()) return FollowBase();
  phase_ = Phase::kCatalog;
  // A catalog of another base is not an older version of this one's.
  const auto installed = HasCatalog() ? state_.catalog : std::nullopt;
  follower_ = std::make_unique<ReleaseFollower>(ReleaseKind::kCatalog, BaseFingerprint(), installed,
                                                &*trust_, store_);
  Call(follower_->FirstRequest());
}

void Agent::HandleRelease(const AgentResponse& response) {
  auto next = follower_->Handle(response, clock_->Now());
  if (trust_->TakeUnsaved() && !Save()) return;
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
  // A base is tried before it is used.
  Report("release",
         absl::StrFormat("%s version %d installed, %d bytes fetched%s",
                         ReleaseKindName(follower_->kind()), follower_->result()->version,
                         follower_->bytes_fetched(), follower_->by_delta() ? " as a delta" : ""));
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

}  // namespace lorikeet
