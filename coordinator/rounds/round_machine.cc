#include "coordinator/rounds/round_machine.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"

namespace lorikeet {
namespace {

RoundEventRecord EventOf(const DeviceMessage& input) {
  RoundEventRecord event;
  // The alternatives of RoundMessage stand in the order of the kinds.
  event.kind = static_cast<RoundEventKind>(input.message.index() + 1);
  event.device = input.device;
  event.payload = std::visit([](const auto& message) { return Encode(message); }, input.message);
  event.at = absl::UnixEpoch();
  return event;
}

template <typename Message>
absl::StatusOr<RoundInput> InputOf(const RoundEventRecord& event, absl::StatusOr<Message> message) {
  RETURN_IF_ERROR(message.status());
  return DeviceMessage{event.device, RoundMessage(*std::move(message))};
}

absl::StatusOr<RoundInput> InputOf(const RoundEventRecord& event) {
  switch (event.kind) {
    case RoundEventKind::kAdvertise:
      return InputOf(event, DecodeKeyAdvertisement(event.payload));
    case RoundEventKind::kShare:
      return InputOf(event, DecodeShareKeysMessage(event.payload));
    case RoundEventKind::kMask:
      return InputOf(event, DecodeMaskedUpdate(event.payload));
    case RoundEventKind::kAcknowledge:
      return InputOf(event, DecodeAcknowledgement(event.payload));
    case RoundEventKind::kUnmask:
      return InputOf(event, DecodeUnmaskResponse(event.payload));
    case RoundEventKind::kTick:
      return RoundInput(ClockTick{event.at});
  }
  return absl::InvalidArgumentError(
      absl::StrCat("event: expected kind 1 to 6, got ", static_cast<int>(event.kind)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<RoundMachine>> RoundMachine::Create(
    const RoundDescription& description, ThreadPool* pool) {
  ASSIGN_OR_RETURN(auto session, SecAggSession::Create(description.secagg, pool));
  return std::unique_ptr<RoundMachine>(new RoundMachine(description, std::move(session)));
}

absl::Time RoundMachine::deadline() const {
  switch (step()) {
    case SecAggStep::kAdvertise:
      return description_.advertise_until;
    case SecAggStep::kShare:
      return description_.share_until;
    case SecAggStep::kMask:
      return description_.mask_until;
    case SecAggStep::kAcknowledge:
      return description_.acknowledge_until;
    case SecAggStep::kUnmask:
      return description_.unmask_until;
    case SecAggStep::kDone:
    case SecAggStep::kAborted:
      break;
  }
  return absl::InfiniteFuture();
}

RoundActions RoundMachine::Step(const RoundInput& input) {
  if (const auto* message = std::get_if<DeviceMessage>(&input)) return OnMessage(*message);
  return OnTick(std::get<ClockTick>(input));
}

RoundActions RoundMachine::OnMessage(const DeviceMessage& input) {
  RoundActions actions;
  const auto accepted = session_->Accept(input.device, input.message);
  if (!accepted.ok()) {
    actions.reply = accepted.status();
    return actions;
  }
  actions.ticket = accepted->ticket;
  if (!accepted->is_new) return actions;
  actions.persist = EventOf(input);
  if (std::holds_alternative<UnmaskResponse>(input.message)) unmasking_started_ = true;
  // A step that everybody finished ends at once.  An error of CloseStep is in the session's state:
  // aborted, or (wrong shares, more to come) waiting on.
  while (session_->StepIsFull()) {
    if (!session_->CloseStep().ok()) break;
  }
  return actions;
}

RoundActions RoundMachine::OnTick(const ClockTick& tick) {
  RoundActions actions;
  while (session_->running() && deadline() <= tick.now) {
    actions.persist = RoundEventRecord{
        .kind = RoundEventKind::kTick, .device = {}, .payload = {}, .at = tick.now};
    const absl::Status status = session_->CloseStep();
    // In the last step there is nothing to wait for after the deadline.
    if (!status.ok() && session_->running()) session_->Abort(Message(status));
  }
  return actions;
}

absl::Status RoundMachine::Replay(const RoundEventRecord& event) {
  const auto input = InputOf(event);
  absl::Status status = input.status();
  if (status.ok()) {
    const RoundActions actions = Step(*input);
    status = actions.reply;
    if (status.ok() && !actions.persist) status = absl::InternalError("it changed nothing");
  }
  if (status.ok()) return status;
  return absl::DataLossError(absl::StrCat("a stored event cannot be replayed: ", status.message()));
}

RoundPhase PhaseOf(SecAggStep step) {
  switch (step) {
    case SecAggStep::kAdvertise:
      return RoundPhase::kAdvertise;
    case SecAggStep::kShare:
      return RoundPhase::kShare;
    case SecAggStep::kMask:
      return RoundPhase::kMask;
    case SecAggStep::kAcknowledge:
      return RoundPhase::kAcknowledge;
    case SecAggStep::kUnmask:
      return RoundPhase::kUnmask;
    case SecAggStep::kDone:
      return RoundPhase::kDone;
    case SecAggStep::kAborted:
      break;
  }
  return RoundPhase::kAborted;
}

}  // namespace lorikeet
