#include "device/agent/round_participant.h"

#include <utility>

#include "common/base/status_macros.h"

namespace lorikeet {

absl::StatusOr<std::unique_ptr<RoundParticipant>> RoundParticipant::Create(
    const RoundDescription& round, RandomSource* random, std::optional<RoundAdmission> admission) {
  std::optional<OneTimeKeys> keys;
  if (admission) keys = std::move(admission->keys);
  ASSIGN_OR_RETURN(auto client, SecAggClient::Create(round.secagg, random, std::move(keys)));
  auto participant =
      std::unique_ptr<RoundParticipant>(new RoundParticipant(round, std::move(client)));
  if (admission) {
    participant->token_ = admission->token;
    participant->member_ = TokenMember(admission->token);
  }
  return participant;
}

absl::StatusOr<AgentRequest> RoundParticipant::Advertise() {
  ASSIGN_OR_RETURN(KeyAdvertisement keys, client_->AdvertiseKeys());
  return AgentRequest(JoinRequest{.keys = std::move(keys), .token = token_});
}

absl::StatusOr<std::optional<AgentRequest>> RoundParticipant::Answer(const PollResult& poll) {
  std::optional<AgentRequest> request;
  if (poll.phase <= answered_) return request;
  if (poll.phase == RoundPhase::kShare && poll.directory) {
    ASSIGN_OR_RETURN(request, client_->ShareKeys(*poll.directory));
  } else if (poll.phase == RoundPhase::kMask && poll.delivery) {
    if (!contribution_) return request;
    ASSIGN_OR_RETURN(request, client_->MaskInput(*poll.delivery, *contribution_));
    contribution_.reset();  // what was masked is not kept in the clear
  } else if (poll.phase == RoundPhase::kAcknowledge && poll.survivors) {
    ASSIGN_OR_RETURN(request, client_->Acknowledge(*poll.survivors));
  } else if (poll.phase == RoundPhase::kUnmask && poll.acknowledgements) {
    ASSIGN_OR_RETURN(request, client_->Unmask(*poll.acknowledgements));
  }
  if (request) answered_ = poll.phase;
  return request;
}

}  // namespace lorikeet
