// One device in one round: the five steps, driven by the coordinator's phase.  No I/O, no clock.
#ifndef LORIKEET_DEVICE_AGENT_ROUND_PARTICIPANT_H_
#define LORIKEET_DEVICE_AGENT_ROUND_PARTICIPANT_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/secagg/client.h"
#include "common/wire/round.h"
#include "device/agent/requests.h"
#include "device/agent/token_purse.h"

namespace lorikeet {

class RoundParticipant {
 public:
  // `admission`: in a round that admits by token.
  static absl::StatusOr<std::unique_ptr<RoundParticipant>> Create(
      const RoundDescription& round, RandomSource* random, std::optional<RoundAdmission> admission);

  const RoundDescription& round() const { return round_; }
  // Who calls in this round: the member that the token admits, or empty, the device itself.
  const DeviceId& member() const { return member_; }
  // R0.
  absl::StatusOr<AgentRequest> Advertise();
  void SetTicket(uint32_t ticket) { ticket_ = ticket; }
  bool advertised() const { return ticket_.has_value(); }  // the keys were accepted
  PollQuery Poll() const { return {round_.secagg.session, ticket_.value_or(0)}; }

  // True once the masked contribution was handed out to be sent.
  bool contribution_sent() const { return answered_ >= RoundPhase::kMask; }

  // The noised contribution, when training has finished.
  void SetContribution(EncodedDelta contribution) { contribution_ = std::move(contribution); }

  // The message that the phase asks for, or nullopt: wait and poll again (also while the
  // contribution is not ready). ABORTED: the coordinator broke the protocol; nothing more may be
  // sent in this session.
  absl::StatusOr<std::optional<AgentRequest>> Answer(const PollResult& poll);

 private:
  RoundParticipant(RoundDescription round, std::unique_ptr<SecAggClient> client)
      : round_(std::move(round)), client_(std::move(client)) {}

  RoundDescription round_;
  std::unique_ptr<SecAggClient> client_;
  std::optional<Token> token_;
  DeviceId member_;
  std::optional<uint32_t> ticket_;
  RoundPhase answered_ = RoundPhase::kAdvertise;  // last phase whose message was made
  std::optional<EncodedDelta> contribution_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_ROUND_PARTICIPANT_H_
