#include "coordinator/rounds/round_machine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"

namespace lorikeet {
namespace {

constexpr size_t kMaskedEntryBytes = 4 + 8 + 32;

RoundEventRecord EventOf(const DeviceMessage& input) {
  RoundEventRecord event;
  // The alternatives of RoundMessage stand in the order of the kinds.
  event.kind = static_cast<RoundEventKind>(input.message.index() + 1);
  event.device = input.device;
  if (const auto* masked = std::get_if<MaskedUpdate>(&input.message)) {
    event.payload =
        EncodeMaskedEntry({masked->sender, masked->packed.size(), Blake2b(masked->packed)});
  } else {
    event.payload = std::visit([](const auto& message) { return Encode(message); }, input.message);
  }
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
    case RoundEventKind::kAcknowledge:
      return InputOf(event, DecodeAcknowledgement(event.payload));
    case RoundEventKind::kUnmask:
      return InputOf(event, DecodeUnmaskResponse(event.payload));
    case RoundEventKind::kTick:
      return RoundInput(ClockTick{event.at});
    case RoundEventKind::kMask:
      break;  // ReplayMasked
  }
  return absl::InvalidArgumentError(
      absl::StrCat("event: expected kind 1 to 6, got ", static_cast<int>(event.kind)));
}

}  // namespace

std::string EncodeMaskedEntry(const MaskedEntry& entry) {
  std::string payload;
  for (int i = 0; i < 4; ++i) payload.push_back(static_cast<char>(entry.sender >> (8 * i)));
  for (int i = 0; i < 8; ++i) payload.push_back(static_cast<char>(entry.bytes >> (8 * i)));
  payload.append(entry.hash.begin(), entry.hash.end());
  return payload;
}

absl::StatusOr<MaskedEntry> DecodeMaskedEntry(std::string_view payload) {
  if (payload.size() != kMaskedEntryBytes) {
    return absl::DataLossError(absl::StrCat("masked update: expected an entry of ",
                                            kMaskedEntryBytes, " bytes, got ", payload.size()));
  }
  const auto number = [&](size_t at, int bytes) {
    uint64_t value = 0;
    for (int i = bytes - 1; i >= 0; --i) {
      value = value << 8 | static_cast<uint8_t>(payload[at + static_cast<size_t>(i)]);
    }
    return value;
  };
  MaskedEntry entry{.sender = static_cast<ClientIndex>(number(0, 4)), .bytes = number(4, 8)};
  std::copy(payload.begin() + 12, payload.end(), entry.hash.begin());
  return entry;
}

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
  if (std::holds_alternative<MaskedUpdate>(input.message)) masking_started_ = true;
  if (std::holds_alternative<UnmaskResponse>(input.message)) unmasking_started_ = true;
  CloseFullSteps();
  return actions;
}

// A step that everybody finished ends at once.  An error of CloseStep is in the session's state:
// aborted, or (wrong shares, more to come) waiting on.
void RoundMachine::CloseFullSteps() {
  while (session_->StepIsFull()) {
    if (!session_->CloseStep().ok()) break;
  }
}

std::string RoundMachine::PartialSum() const {
  const std::vector<uint8_t> packed = session_->PackedSum();
  return std::string(packed.begin(), packed.end());
}

absl::Status RoundMachine::SetStoredSums(const std::vector<PartialSumRecord>& sums) {
  std::vector<std::vector<uint8_t>> packed;
  for (const PartialSumRecord& sum : sums) packed.emplace_back(sum.sum.begin(), sum.sum.end());
  const absl::Status status = session_->SetOtherSums(packed);
  return status.ok() ? status : absl::DataLossError(status.message());
}

absl::Status RoundMachine::ReplayMasked(const RoundEventRecord& event) {
  ASSIGN_OR_RETURN(const MaskedEntry entry, DecodeMaskedEntry(event.payload));
  ASSIGN_OR_RETURN(const auto accepted,
                   session_->AcceptMasked(event.device, entry.sender, entry.hash));
  if (!accepted.is_new) return absl::InternalError("it changed nothing");
  masking_started_ = true;
  CloseFullSteps();
  return absl::OkStatus();
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
  absl::Status status;
  if (event.kind == RoundEventKind::kMask) {
    status = ReplayMasked(event);
  } else if (const auto input = InputOf(event); input.ok()) {
    const RoundActions actions = Step(*input);
    status = actions.reply;
    if (status.ok() && !actions.persist) status = absl::InternalError("it changed nothing");
  } else {
    status = input.status();
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
