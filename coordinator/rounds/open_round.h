// A round in progress: its record, its machine, and what is counted about it for its owner.
#ifndef LORIKEET_COORDINATOR_ROUNDS_OPEN_ROUND_H_
#define LORIKEET_COORDINATOR_ROUNDS_OPEN_ROUND_H_

#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/rounds/round_machine.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

// Messages, bytes and seconds of each step.  Rebuilt from stored events like the machine.
class RoundStatistics {
 public:
  void Record(const RoundEventRecord& event, SecAggStep before, SecAggStep after);
  // [{"step", "messages", "bytes", "ended_seconds" (after opening; null while it lasts)}]
  nlohmann::json ToJson(absl::Time opened) const;

 private:
  struct Step {
    int messages = 0;
    uint64_t bytes = 0;
    absl::Time ended = absl::InfinitePast();
  };
  std::array<Step, 5> steps_;
};

struct OpenRound {
  RoundRecord record;
  std::unique_ptr<RoundMachine> machine;
  RoundStatistics statistics;
  std::string writer;  // of partial sums; fresh with every Restore
  // Hashes of the devices that were offered it, to be counted for its owner.  In memory only: of a
  // round that another process began they are not all known.
  std::set<size_t> offered;
  bool began_here = false;

  // A machine for a record, stepped through its stored events, whose masked updates are in `sums`.
  // `pool`: see RoundMachine.
  static absl::StatusOr<OpenRound> Restore(RoundRecord record,
                                           const std::vector<RoundEventRecord>& events,
                                           const std::vector<PartialSumRecord>& sums,
                                           ThreadPool* pool = nullptr);
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ROUNDS_OPEN_ROUND_H_
