// The coordinator's side of one secure aggregation session, as a pure state machine.
//
// Messages are accepted for the current step until the owner (coordinator/rounds) closes it, by
// count or deadline. A repeated identical message is accepted again, in later steps too (devices
// retry); a different one from the same client is ALREADY_EXISTS.  A late or early message is
// FAILED_PRECONDITION, a malformed one INVALID_ARGUMENT; neither changes the state.  Closing a step
// that leaves too few clients is ABORTED: R1 and R2 need cohort_min clients, and every step needs,
// for every client, `threshold` holders of its shares that are still there.  Memory O(d + n k):
// masked inputs are added as they come, and no stream of masks is ever written down whole.  Not
// thread-safe.  No I/O, no clock.  Deterministic: the
// same calls in the same order give the same state, which is how a coordinator recovers (it replays
// the accepted messages from its store).
#ifndef LORIKEET_COMMON_SECAGG_SERVER_H_
#define LORIKEET_COMMON_SECAGG_SERVER_H_

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "common/secagg/masked_update.h"
#include "common/secagg/messages.h"

namespace lorikeet {

enum class SecAggStep { kAdvertise, kShare, kMask, kAcknowledge, kUnmask, kDone, kAborted };
std::string_view SecAggStepName(SecAggStep step);

class SecAggServer {
 public:
  static absl::StatusOr<std::unique_ptr<SecAggServer>> Create(const SecAggParameters& parameters);
  ~SecAggServer();

  SecAggStep step() const;
  // Clients expected in, and arrived in, the current step.
  int expected() const;
  int arrived() const;

  // R0.  Returns a ticket: the client's position in arrival order (its index follows when the step
  // is closed). RESOURCE_EXHAUSTED when cohort_max are in; INVALID_ARGUMENT for keys seen before
  // from another ticket.
  absl::StatusOr<uint32_t> AddAdvertisement(const KeyAdvertisement& message);
  absl::Status CloseAdvertise();  // ABORTED if fewer than cohort_min arrived (also below)
  // Known once R0 is closed.  The order of indices follows from the keys, not from who came first.
  absl::StatusOr<ClientIndex> IndexFor(uint32_t ticket) const;
  absl::StatusOr<KeyDirectory> DirectoryFor(uint32_t ticket) const;

  absl::Status AddShareKeys(const ShareKeysMessage& message);  // R1
  absl::Status CloseShare();
  absl::StatusOr<ShareDelivery> DeliveryFor(ClientIndex client) const;

  absl::Status AddMaskedUpdate(const MaskedUpdate& message);  // R2
  // A masked update whose numbers were added elsewhere (another process, or this one before a
  // restart): only who sent it, and the hash of its packed numbers.  They come with SetOtherSums.
  absl::Status AddMaskedElsewhere(ClientIndex sender, const Hash256& hash);
  // What AddMaskedUpdate has added so far, packed; from CloseAdvertise to Finish.
  std::vector<uint8_t> PackedSum() const;
  // The sums, packed, of all updates that were added elsewhere; replaces those given before.
  // INVALID_ARGUMENT: of another size.
  absl::Status SetOtherSums(const std::vector<std::vector<uint8_t>>& sums);
  absl::Status CloseMask();
  absl::StatusOr<SurvivorLists> SurvivorsFor(ClientIndex client) const;

  absl::Status AddAcknowledgement(const Acknowledgement& message);  // R3
  absl::Status CloseAcknowledge();
  absl::StatusOr<AcknowledgementSet> AcknowledgementsFor(ClientIndex client) const;

  absl::Status AddUnmaskResponse(const UnmaskResponse& message);  // R4
  // True when enough shares of every secret arrived.
  bool CanFinish() const;
  // FAILED_PRECONDITION: not yet CanFinish.  UNAVAILABLE: some shares are wrong, and more responses
  // may still come. ABORTED: they cannot; names the client whose secret is lost.
  // `pool` (may be null) shares out the work; the result does not depend on it.
  absl::StatusOr<AggregateSum> Finish(ThreadPool* pool = nullptr);

  // Why the session was aborted; empty while it was not.
  std::string_view abort_reason() const;
  // Ends the session: every later call is FAILED_PRECONDITION.
  void Abort(std::string_view reason);

 private:
  struct State;
  explicit SecAggServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_SERVER_H_
