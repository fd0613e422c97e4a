#include "coordinator/aggregation/secagg_session.h"

#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/encode.h"

namespace lorikeet {
namespace {

absl::Status Add(SecAggServer* server, const ShareKeysMessage& message) {
  return server->AddShareKeys(message);
}
absl::Status Add(SecAggServer* server, const MaskedUpdate& message) {
  return server->AddMaskedUpdate(message);
}
absl::Status Add(SecAggServer* server, const Acknowledgement& message) {
  return server->AddAcknowledgement(message);
}
absl::Status Add(SecAggServer* server, const UnmaskResponse& message) {
  return server->AddUnmaskResponse(message);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SecAggSession>> SecAggSession::Create(
    const SecAggParameters& parameters, ThreadPool* pool) {
  ASSIGN_OR_RETURN(auto server, SecAggServer::Create(parameters));
  return std::unique_ptr<SecAggSession>(new SecAggSession(std::move(server), pool));
}

absl::StatusOr<SecAggSession::Accepted> SecAggSession::Advertise(const DeviceId& device,
                                                                 const KeyAdvertisement& message) {
  RETURN_IF_ERROR(CheckRunning());
  const Hash256 hash = Blake2b(AsBytes(Encode(message)));
  const auto known = members_.find(device);
  if (known != members_.end()) {
    if (known->second.advertisement == hash) return Accepted{false, known->second.ticket};
    return absl::AlreadyExistsError(
        absl::StrCat("device ", device, " advertised other keys in this round"));
  }
  const int before = server_->arrived();
  ASSIGN_OR_RETURN(const uint32_t ticket, server_->AddAdvertisement(message));
  if (server_->arrived() == before) {
    return absl::InvalidArgumentError("advertisement: expected keys of one's own, got another's");
  }
  members_[device] = {.ticket = ticket, .advertisement = hash};
  return Accepted{true, ticket};
}

absl::Status SecAggSession::CheckRunning() const {
  if (running()) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat("the round is over: ", ToAbsl(SecAggStepName(step()))));
}

absl::StatusOr<const SecAggSession::Member*> SecAggSession::FindMember(
    const DeviceId& device) const {
  RETURN_IF_ERROR(CheckRunning());
  const auto member = members_.find(device);
  if (member != members_.end()) return &member->second;
  return absl::PermissionDeniedError(absl::StrCat("device ", device, " is not in this round"));
}

absl::Status SecAggSession::CheckSender(const Member& member, ClientIndex sender) const {
  ASSIGN_OR_RETURN(const ClientIndex index, server_->IndexFor(member.ticket));
  if (sender == index) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrFormat("sender: expected index %d, got %d", index, sender));
}

template <typename Message>
absl::Status SecAggSession::AcceptStep(const Member& member, const Message& message) {
  RETURN_IF_ERROR(CheckSender(member, message.sender));
  return Add(server_.get(), message);
}

absl::StatusOr<SecAggSession::Accepted> SecAggSession::Accept(const DeviceId& device,
                                                              const RoundMessage& message) {
  if (const auto* keys = std::get_if<KeyAdvertisement>(&message)) {
    return Advertise(device, *keys);
  }
  ASSIGN_OR_RETURN(const Member* member, FindMember(device));
  const int before = server_->arrived();
  RETURN_IF_ERROR(std::visit(
      [&](const auto& one) -> absl::Status {
        if constexpr (std::is_same_v<std::decay_t<decltype(one)>, KeyAdvertisement>) {
          return absl::InternalError("advertisements are handled above");
        } else {
          return AcceptStep(*member, one);
        }
      },
      message));
  return Accepted{server_->arrived() != before, member->ticket};
}

absl::StatusOr<SecAggSession::Accepted> SecAggSession::AcceptMasked(const DeviceId& device,
                                                                    ClientIndex sender,
                                                                    const Hash256& hash) {
  ASSIGN_OR_RETURN(const Member* member, FindMember(device));
  RETURN_IF_ERROR(CheckSender(*member, sender));
  const int before = server_->arrived();
  RETURN_IF_ERROR(server_->AddMaskedElsewhere(sender, hash));
  return Accepted{server_->arrived() != before, member->ticket};
}

bool SecAggSession::StepIsFull() const {
  if (!running()) return false;
  if (step() == SecAggStep::kUnmask) return server_->CanFinish();
  return server_->arrived() >= server_->expected();
}

absl::Status SecAggSession::CloseStep() {
  switch (step()) {
    case SecAggStep::kAdvertise:
      return server_->CloseAdvertise();
    case SecAggStep::kShare:
      return server_->CloseShare();
    case SecAggStep::kMask:
      return server_->CloseMask();
    case SecAggStep::kAcknowledge:
      return server_->CloseAcknowledge();
    case SecAggStep::kUnmask: {
      ASSIGN_OR_RETURN(sum_, server_->Finish(pool_));
      return absl::OkStatus();
    }
    case SecAggStep::kDone:
    case SecAggStep::kAborted:
      break;
  }
  return absl::AbortedError("the round is over");
}

absl::Status SecAggSession::ViewStep(ClientIndex index, PollResult* result) const {
  switch (step()) {
    case SecAggStep::kMask: {
      result->phase = RoundPhase::kMask;
      ASSIGN_OR_RETURN(result->delivery, server_->DeliveryFor(index));
      return absl::OkStatus();
    }
    case SecAggStep::kAcknowledge: {
      result->phase = RoundPhase::kAcknowledge;
      ASSIGN_OR_RETURN(result->survivors, server_->SurvivorsFor(index));
      return absl::OkStatus();
    }
    case SecAggStep::kUnmask: {
      result->phase = RoundPhase::kUnmask;
      ASSIGN_OR_RETURN(result->acknowledgements, server_->AcknowledgementsFor(index));
      return absl::OkStatus();
    }
    default:
      return absl::InternalError("no message in this step");
  }
}

absl::StatusOr<PollResult> SecAggSession::View(const DeviceId& device, uint32_t ticket) const {
  const auto member = members_.find(device);
  if (member == members_.end() || member->second.ticket != ticket) {
    return absl::NotFoundError("poll: expected the ticket that this device was given");
  }
  PollResult result;
  switch (step()) {
    case SecAggStep::kAdvertise:
      result.phase = RoundPhase::kAdvertise;
      return result;
    case SecAggStep::kShare: {
      result.phase = RoundPhase::kShare;
      ASSIGN_OR_RETURN(result.directory, server_->DirectoryFor(ticket));
      return result;
    }
    case SecAggStep::kDone:
      result.phase = RoundPhase::kDone;
      result.survivor_count = sum_->survivor_count;
      result.transcript = sum_->transcript;
      return result;
    case SecAggStep::kAborted:
      result.phase = RoundPhase::kAborted;
      result.message = abort_reason();
      return result;
    default:
      break;
  }
  ASSIGN_OR_RETURN(const ClientIndex index, server_->IndexFor(ticket));
  const absl::Status status = ViewStep(index, &result);
  if (status.ok()) return result;
  return absl::AbortedError(absl::StrCat("this device dropped out: ", status.message()));
}

}  // namespace lorikeet
