// What must hold in every run, whatever fails in it.  Each broken promise is one line.
//
//   - the sum that the coordinator unmasked is exactly the sum of what the survivors encoded, and
//     the published catalog is exactly what that sum gives;
//   - replaying the stored events of a round gives the stored result;
//   - a device contributes at most once a round, and sends one masked update, one acknowledgement
//     and one set of shares at most, however often it repeats them;
//   - a cohort under the minimum releases nothing, and the privacy ledger stays in its budget;
//   - devices install only published releases, in growing versions.
#ifndef LORIKEET_SIMULATIONS_CHECKERS_INVARIANTS_H_
#define LORIKEET_SIMULATIONS_CHECKERS_INVARIANTS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/aggregation/update_merge.h"
#include "coordinator/distribution/blob_store.h"
#include "coordinator/rounds/task_config.h"
#include "simulations/world/observer.h"

namespace lorikeet {

// Largest |sum of contributions - unmasked sum| modulo 2^bits, in integer units; the size of the
// group (2^bits) if the lengths differ.
uint64_t SumError(const std::vector<std::vector<uint32_t>>& contributions,
                  const std::vector<uint32_t>& unmasked, int modulus_bits);

class InvariantChecker final : public WorldObserver {
 public:
  explicit InvariantChecker(const TaskConfig& task) : task_(task) {}
  // Must be called before the world runs; borrowed.
  void Watch(Store* store, BlobStore* blobs) {
    store_ = store;
    blobs_ = blobs;
  }

  void OnContribution(const std::string& device, const SessionId& session,
                      const EncodedDelta& contribution) override;
  void OnSend(const std::string& device, const CallAction& call) override;
  void OnState(const std::string& device, const AgentState& state) override;
  void OnRoundFinished(const FinishedRound& round) override;

  // In the order of their discovery; at most kMaxViolations.
  const std::vector<std::string>& violations() const { return violations_; }
  // Of rounds whose sum was unmasked, by task round number.
  const std::map<uint64_t, uint64_t>& sum_errors() const { return sum_errors_; }

  static constexpr size_t kMaxViolations = 100;

 private:
  void Violation(std::string text);
  absl::Status Check(const FinishedRound& round);
  absl::Status CheckSum(const FinishedRound& round);
  absl::Status CheckRelease(const FinishedRound& round);
  absl::Status CheckLedger(const FinishedRound& round);
  std::optional<std::string> PublishedFile(uint64_t version);

  TaskConfig task_;
  Store* store_ = nullptr;
  BlobStore* blobs_ = nullptr;
  // Who is behind a member that joined by token; a device is itself.
  const std::string& DeviceBehind(const std::string& member) const;

  using DeviceSession = std::pair<SessionId, std::string>;
  std::map<DeviceSession, std::vector<uint32_t>> contributions_;
  // Hash of what a device sent in a step (AgentRequest's index) of a session.
  std::map<std::pair<DeviceSession, size_t>, Hash256> sent_;
  std::map<std::string, std::string> members_;  // member -> device, as seen at the devices
  std::map<std::string, uint64_t> installed_;   // device -> catalog version
  std::map<uint64_t, uint64_t> sum_errors_;
  // Of the sweep that is going on, by its first persona.
  struct DecodedSum {
    std::vector<float> values;
    RoundSum sum;
  };
  std::map<int, DecodedSum> sweep_;
  uint64_t released_version_ = 0;
  std::vector<std::string> violations_;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_CHECKERS_INVARIANTS_H_
