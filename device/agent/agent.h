// The device's side of a fleet, as a single-threaded state machine: Step(event) -> actions.
//
//   Hello -> follow base release (if wanted) -> follow catalog release -> personalize -> fill the
//   purse -> look for a round -> take part
//                                 ^------------------------------------------------------------------'
// Clock, randomness and storage are injected; calls, waiting and long computations are actions that
// an edge carries out (agent_runner.h for real devices, lorikeet-sim for simulated ones).  Lost
// answers are repeated with jittered backoff; a refused release or round is reported and the old
// state keeps working.
#ifndef LORIKEET_DEVICE_AGENT_AGENT_H_
#define LORIKEET_DEVICE_AGENT_AGENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/dp/encoder.h"
#include "device/agent/agent_store.h"
#include "device/agent/download_pace.h"
#include "device/agent/fleet_trust.h"
#include "device/agent/release_follower.h"
#include "device/agent/requests.h"
#include "device/agent/round_participant.h"
#include "device/agent/round_policy.h"
#include "device/agent/sweep_plan.h"
#include "device/agent/token_purse.h"

namespace lorikeet {

struct AgentOptions {
  SignedMetadata root;  // of the fleet's trust; pinned at enrolment
  // Signs the keys of anonymous tokens; pinned too.  Absent: none are fetched, and rounds that
  // admit by token are left out.
  std::optional<Ed25519PublicKey> issuer_key;
  std::string base_fingerprint;  // of the model on this device; empty: follow the base release
  RoundPolicy policy;
  int stop_after_rounds =
      0;  // 0: never; else stop when these are done and their catalog was followed
  // A newer catalog is personalized with at most this often (energy), and always before stopping;
  // rounds go on with the persona chosen last.
  absl::Duration personalize_interval = absl::ZeroDuration();
  bool once = false;                                 // stop when nothing is left to do right now
  absl::Duration poll_interval = absl::Seconds(30);  // between looks for rounds and releases
  absl::Duration step_interval = absl::Milliseconds(500);  // between polls inside a round
  absl::Duration retry_base = absl::Milliseconds(500);
  absl::Duration retry_cap = absl::Seconds(60);
  double max_download_rate = 0;  // bytes of releases a second; 0: no limit
  absl::Duration give_up_after =
      absl::InfiniteDuration();  // coordinator unreachable for this long: stop
};

// Events.
struct StartEvent {};
struct CallDone {
  uint64_t id = 0;
  AgentResponse response;
};
struct BaseChecked {
  BaseHealth health;
};
struct PersonalizeDone {
  absl::StatusOr<PersonalSummary> summary;
};
struct ContributionDone {
  SessionId session = {};
  absl::StatusOr<EncodedDelta> contribution;
};
struct WakeEvent {};
using AgentEvent =
    std::variant<StartEvent, CallDone, BaseChecked, PersonalizeDone, ContributionDone, WakeEvent>;

// Actions.
struct CallAction {
  uint64_t id = 0;
  AgentRequest request;
  // Who calls: empty, the device by its certificate; else a member of a round, without one.
  DeviceId member = {};
};
// Try the base that was downloaded; answer with BaseChecked.
struct CheckBaseAction {
  InstalledRelease candidate;
  Hash256 current_file = {};  // in use; zeros: none
};
struct PersonalizeAction {
  uint64_t catalog_version = 0;
  Hash256 catalog_file = {};
  Hash256 base_file = {};  // zeros: the model on this device
};
// Train the persona's core and prepare the noised contribution; answer with ContributionDone.
struct ContributeAction {
  RoundDescription round;
  std::string persona;  // id, in the catalog file below
  Hash256 catalog_file = {};
};
struct WaitAction {
  absl::Time until;
};
struct ReportAction {
  std::string kind;     // "release", "personalized", "round", "refused", "retry", "round_done", ...
  std::string message;  // for the owner; never text, adapters or keys
};
struct StopAction {
  absl::Status status;
};
using AgentAction = std::variant<CallAction, CheckBaseAction, PersonalizeAction, ContributeAction,
                                 WaitAction, ReportAction, StopAction>;
using AgentActions = std::vector<AgentAction>;

// Not thread-safe.
class Agent {
 public:
  // Clock, random and store must outlive the agent.  Errors of store->Load().
  static absl::StatusOr<std::unique_ptr<Agent>> Create(AgentOptions options, const Clock* clock,
                                                       RandomSource* random, AgentStore* store);

  // REQUIRES: StartEvent first and once.  After StopAction, events are ignored.
  AgentActions Step(AgentEvent event);

  const AgentState& state() const { return state_; }

 private:
  enum class Phase {
    kIdle,
    kHello,
    kBase,
    kCheckBase,
    kCatalog,
    kPersonalize,
    kTokens,
    kSeek,
    kAppointment,  // between choosing a routed round and joining it
    kRound,
    kQuiet,  // until the sweep of a routed round is over for everybody
    kStopped
  };

  Agent(AgentOptions options, const Clock* clock, RandomSource* random, AgentStore* store,
        AgentState state);

  void On(StartEvent);
  void On(CallDone done);
  void On(BaseChecked done);
  void On(PersonalizeDone done);
  void On(ContributionDone done);
  void On(WakeEvent);

  void Call(AgentRequest request);
  // The same at a later time, now if that is past.
  void CallAt(absl::Time time, AgentRequest request);
  void Wait(absl::Duration duration);
  void Report(std::string_view kind, std::string message);
  void Stop(absl::Status status);
  bool Save();
  double Jitter();

  void Retry(const absl::Status& status);
  void HandleAnswer(const AgentResponse& response);
  // The base, unless this device has one of its own, then the catalog.
  void FollowReleases();
  void FollowBase();
  // Of the candidate in the other slot.
  void CheckBase();
  void FollowCatalog();
  void HandleRelease(const AgentResponse& response);
  // Of the base that is in use.
  bool HasCatalog() const;
  void AfterRelease(const absl::Status& refused);
  bool PersonalizeIsDue() const;
  void Personalize();
  // Fills the purse if newer keys are due, then looks for a round.
  void Seek();
  void HandleTokens(const AgentResponse& response);
  absl::Status AcceptTokens(const AgentResponse& response);
  void RequestTokens();
  // No tokens for now: rounds that ask for some are left out.
  void TokensFailed(const absl::Status& status);
  void SeekRound();
  void HandleOffer(const AgentResponse& response);
  // That the offered rounds are in the log.
  void HandleProof(const AgentResponse& response);
  void TakeUpOneOf(std::span<const RoundDescription> rounds);
  absl::StatusOr<Catalog> InstalledCatalog();
  // Of the rounds that were offered, verified; reports those that are not signed.
  std::vector<RoundDescription> Verified(const RoundOffer& offer);
  // Joins the round, or makes an appointment for one of its sweep.  Errors: why it does neither.
  absl::Status TakeUp(const RoundDescription& round, std::span<const RoundDescription> offered);
  // A sweep that this device takes part in (sweep_plan.h), from the offer to its end.
  struct Appointment {
    std::vector<RoundDescription> sweep;
    std::optional<RoundDescription> chosen;  // none: no persona fits, or its round is not open
    absl::Time at;                           // to join
    DeviceId alias;                          // for calls before that
    absl::Time quiet_until;
    absl::Status outcome;
  };
  void MakeAppointment(std::vector<RoundDescription> sweep, const Catalog& catalog);
  void KeepAppointment();
  void HandleSecondLook(const AgentResponse& response);
  void BeQuiet(absl::Status outcome);
  void EndQuiet();
  // After a round that was not joined, or did not end well.
  void Pause(absl::Status outcome);
  void Join(const RoundDescription& round);
  absl::Status CheckAndCharge(const RoundDescription& round);
  // Opens the token that CheckAndCharge took.
  absl::StatusOr<std::unique_ptr<RoundParticipant>> MakeParticipant(const RoundDescription& round);
  void HandleRound(const AgentResponse& response);
  void HandlePoll(const PollResult& poll);
  // In the ledger, durably; false: the agent has stopped.
  bool MarkContributed();
  void LeaveRound(std::string_view kind, const std::string& message);
  bool StopIsDue() const;
  std::string BaseFingerprint() const;

  AgentOptions options_;
  const Clock* clock_;
  RandomSource* random_;
  AgentStore* store_;
  AgentState state_;

  Phase phase_ = Phase::kIdle;
  AgentActions actions_;
  uint64_t next_call_ = 1;
  std::optional<CallAction> pending_;  // sent and unanswered, or to be repeated at the next wake
  bool resend_ = false;
  int failures_ = 0;  // calls in a row without an answer
  absl::Time first_failure_;
  std::optional<TokenPurse> purse_;
  absl::Time tokens_due_ = absl::InfinitePast();  // next look at the issuer's keys
  std::optional<FleetTrust> trust_;
  std::vector<RoundDescription> offered_;  // waiting for the proof that they are in the log
  std::set<SessionId> proven_;             // rounds of the last offer that are in it
  std::optional<PurseToken> taken_token_;  // between CheckAndCharge and Join
  std::unique_ptr<ReleaseFollower> follower_;
  DownloadPace pace_;
  std::optional<Appointment> appointment_;
  std::unique_ptr<RoundParticipant> participant_;
  bool waiting_for_contribution_ = false;
  std::optional<PollResult> held_poll_;  // phase kMask arrived before the contribution
  absl::Time follow_up_until_ = absl::InfinitePast();
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_AGENT_H_
