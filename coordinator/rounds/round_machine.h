// One round, from key advertisement to sum, as a pure state machine: Step(input) -> actions.
//
// Inputs are messages of devices and ticks of the clock; nothing else changes the state.  Every
// input that did is returned as an event to be stored before anybody is answered; stepping through
// the stored events in order gives the same state again, which is how a killed coordinator goes on.
// Masked updates are added up as they come, and stored as one sum (PartialSum) that is written with
// the events of those who are in it, however many these are.
// Not thread-safe.  No I/O, no clock.
#ifndef LORIKEET_COORDINATOR_ROUNDS_ROUND_MACHINE_H_
#define LORIKEET_COORDINATOR_ROUNDS_ROUND_MACHINE_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/aggregation/secagg_session.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

// What is stored of a masked update: all but its numbers, which are in a partial sum.
struct MaskedEntry {
  ClientIndex sender = 0;
  uint64_t bytes = 0;  // of the packed numbers
  Hash256 hash = {};   // of them
};
std::string EncodeMaskedEntry(const MaskedEntry& entry);
// DATA_LOSS: not 44 bytes.
absl::StatusOr<MaskedEntry> DecodeMaskedEntry(std::string_view payload);

struct DeviceMessage {
  DeviceId device;
  RoundMessage message;
};
struct ClockTick {
  absl::Time now;
};
using RoundInput = std::variant<DeviceMessage, ClockTick>;

struct RoundActions {
  absl::Status reply;                       // to the device
  uint32_t ticket = 0;                      // to the device, after an advertisement
  std::optional<RoundEventRecord> persist;  // store this first; if that fails, discard the machine
};

class RoundMachine {
 public:
  // `description` must have been decoded from the signed bytes (its session is set).  `pool`
  // (borrowed, may be null): threads for unmasking; nothing depends on their number.
  static absl::StatusOr<std::unique_ptr<RoundMachine>> Create(const RoundDescription& description,
                                                              ThreadPool* pool = nullptr);

  RoundActions Step(const RoundInput& input);
  // Steps through one stored event.  DATA_LOSS: it is not one that can have been accepted here.
  absl::Status Replay(const RoundEventRecord& event);
  // Of the masked updates that came through Step.
  std::string PartialSum() const;
  // Of all that came through Replay: before the step of unmasking is replayed.  DATA_LOSS: one has
  // another size than this round's.
  absl::Status SetStoredSums(const std::vector<PartialSumRecord>& sums);

  const RoundDescription& description() const { return description_; }
  SecAggStep step() const { return session_->step(); }
  int arrived() const { return session_->arrived(); }
  int expected() const { return session_->expected(); }
  // When the current step ends at the latest.
  absl::Time deadline() const;
  // True once a masked update arrived: from here on a device may have contributed.
  bool masking_started() const { return masking_started_; }
  // True once somebody's shares for unmasking arrived: from here on the sum may be known.
  bool unmasking_started() const { return unmasking_started_; }

  bool Contains(const DeviceId& device) const { return session_->Contains(device); }
  absl::StatusOr<PollResult> View(const DeviceId& device, uint32_t ticket) const {
    return session_->View(device, ticket);
  }
  std::string abort_reason() const { return session_->abort_reason(); }
  // Set in step kDone.
  const std::optional<AggregateSum>& sum() const { return session_->sum(); }

 private:
  RoundMachine(const RoundDescription& description, std::unique_ptr<SecAggSession> session)
      : description_(description), session_(std::move(session)) {}
  RoundActions OnMessage(const DeviceMessage& input);
  absl::Status ReplayMasked(const RoundEventRecord& event);
  void CloseFullSteps();
  RoundActions OnTick(const ClockTick& tick);

  RoundDescription description_;
  std::unique_ptr<SecAggSession> session_;
  bool masking_started_ = false;
  bool unmasking_started_ = false;
};

// "advertise" etc. for rounds shown to people: RoundPhase of a machine's step.
RoundPhase PhaseOf(SecAggStep step);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ROUNDS_ROUND_MACHINE_H_
