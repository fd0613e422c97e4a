// Routed rounds: from the list to the round that is joined, and the quiet around it.
#include <utility>

#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/agent/agent.h"

namespace lorikeet {

absl::Status Agent::TakeUp(const RoundDescription& round,
                           std::span<const RoundDescription> offered) {
  if (!round.layout.routed()) {
    RETURN_IF_ERROR(CheckAndCharge(round));
    Join(round);
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const Catalog catalog, InstalledCatalog());
  std::vector<RoundDescription> sweep = RoundsOfSweep(offered, round);
  const absl::Status status = CheckSweep(sweep, options_.policy, state_, catalog, clock_->Now());
  // After a restart it says no more than if it had gone on.
  if (!status.ok() && !absl::IsAlreadyExists(status)) return status;
  MakeAppointment(std::move(sweep), catalog);
  if (absl::IsAlreadyExists(status)) appointment_->chosen.reset();
  if (appointment_->chosen) {
    actions_.push_back(WaitAction{appointment_->at});
  } else {
    Report("left_out", status.ok() ? "no open round is for a persona that fits this owner"
                                   : std::string(Message(status)));
    BeQuiet(absl::OkStatus());
  }
  return absl::OkStatus();
}

void Agent::MakeAppointment(std::vector<RoundDescription> sweep, const Catalog& catalog) {
  phase_ = Phase::kAppointment;
  appointment_.emplace();
  appointment_->chosen =
      RoundOfPersona(sweep, catalog.FindPersona(state_.personal->contributes_to));
  appointment_->at = JoinMoment(sweep.front(), random_);
  appointment_->alias = NoMember(random_);
  appointment_->quiet_until = sweep.front().unmask_until + options_.poll_interval * Jitter();
  appointment_->sweep = std::move(sweep);
}

void Agent::KeepAppointment() {
  if (clock_->Now() < appointment_->at) {
    actions_.push_back(WaitAction{appointment_->at});
    return;
  }
  Call(RoundQuery{kProtocolVersion, BaseFingerprint(), state_.catalog->version});
}

void Agent::HandleSecondLook(const AgentResponse& response) {
  const RoundDescription chosen = *appointment_->chosen;
  absl::Status status = response.status;
  if (status.ok()) {
    status = CheckSameSweep(appointment_->sweep, Verified(std::get<RoundOffer>(response.answer)),
                            chosen);
  }
  if (status.ok()) status = CheckAndCharge(chosen);
  if (phase_ == Phase::kStopped) return;
  if (status.ok()) return Join(chosen);
  Report("refused", std::string(Message(status)));
  Pause(absl::OkStatus());
}

void Agent::BeQuiet(absl::Status outcome) {
  phase_ = Phase::kQuiet;
  appointment_->outcome = std::move(outcome);
  actions_.push_back(WaitAction{appointment_->quiet_until});
}

}  // namespace lorikeet
