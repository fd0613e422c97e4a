#include "coordinator/rounds/open_round.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/base/status_macros.h"
#include "common/wire/decode.h"

namespace lorikeet {
namespace {

// Of the message that an event stands for, as the device sent it.
uint64_t PayloadBytes(const RoundEventRecord& event) {
  if (event.kind != RoundEventKind::kMask) return event.payload.size();
  const auto entry = DecodeMaskedEntry(event.payload);
  return entry.ok() ? entry->bytes : 0;
}

}  // namespace

void RoundStatistics::Record(const RoundEventRecord& event, SecAggStep before, SecAggStep after) {
  if (event.kind != RoundEventKind::kTick) {
    Step& step = steps_[static_cast<size_t>(event.kind) - 1];
    ++step.messages;
    step.bytes += PayloadBytes(event);
  }
  // One input can end several steps: an abort ends all that were left.
  const size_t end = after == SecAggStep::kAborted
                         ? static_cast<size_t>(before) + 1
                         : std::min(static_cast<size_t>(after), steps_.size());
  for (size_t i = static_cast<size_t>(before); i < std::min(end, steps_.size()); ++i) {
    steps_[i].ended = event.at;
  }
}

nlohmann::json RoundStatistics::ToJson(absl::Time opened) const {
  nlohmann::json list = nlohmann::json::array();
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    nlohmann::json entry = {{"step", std::string(SecAggStepName(static_cast<SecAggStep>(i)))},
                            {"messages", step.messages},
                            {"bytes", step.bytes},
                            {"ended_seconds", nullptr}};
    if (step.ended != absl::InfinitePast()) {
      entry["ended_seconds"] = absl::ToDoubleSeconds(step.ended - opened);
    }
    list.push_back(std::move(entry));
  }
  return list;
}

absl::StatusOr<OpenRound> OpenRound::Restore(RoundRecord record,
                                             const std::vector<RoundEventRecord>& events,
                                             const std::vector<PartialSumRecord>& sums,
                                             ThreadPool* pool) {
  OpenRound round;
  round.record = std::move(record);
  ASSIGN_OR_RETURN(const RoundDescription description,
                   DecodeRoundDescription(round.record.description.description));
  ASSIGN_OR_RETURN(round.machine, RoundMachine::Create(description, pool));
  RETURN_IF_ERROR(round.machine->SetStoredSums(sums));
  for (const RoundEventRecord& event : events) {
    const SecAggStep before = round.machine->step();
    RETURN_IF_ERROR(round.machine->Replay(event));
    round.statistics.Record(event, before, round.machine->step());
  }
  return round;
}

}  // namespace lorikeet
