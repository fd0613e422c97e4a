// The device's side of one secure aggregation session, as a pure state machine.
//
// Call the five steps in order; each takes the server's message and returns this client's.  A step
// out of order is FAILED_PRECONDITION; a message that breaks the protocol (wrong session, shrunk
// cohort, overlapping lists, bad signature ...) is ABORTED with what was wrong, after which every
// key is wiped and every step refuses. Not thread-safe.  No I/O, no clock.
#ifndef LORIKEET_COMMON_SECAGG_CLIENT_H_
#define LORIKEET_COMMON_SECAGG_CLIENT_H_

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/dp/encoder.h"
#include "common/secagg/masked_update.h"
#include "common/secagg/messages.h"
#include "common/secagg/one_time_keys.h"

namespace lorikeet {

class SecAggClient {
 public:
  // INVALID_ARGUMENT: parameters out of range.  `random` must outlive the client.  Without `keys`
  // they are drawn in R0.
  static absl::StatusOr<std::unique_ptr<SecAggClient>> Create(
      const SecAggParameters& parameters, RandomSource* random,
      std::optional<OneTimeKeys> keys = std::nullopt);
  ~SecAggClient();  // wipes all keys

  absl::StatusOr<KeyAdvertisement> AdvertiseKeys();                           // R0
  absl::StatusOr<ShareKeysMessage> ShareKeys(const KeyDirectory& directory);  // R1
  absl::StatusOr<MaskedUpdate> MaskInput(const ShareDelivery& delivery,
                                         const EncodedDelta& input);        // R2
  absl::StatusOr<Acknowledgement> Acknowledge(const SurvivorLists& lists);  // R3
  absl::StatusOr<UnmaskResponse> Unmask(const AcknowledgementSet& set);     // R4, then wipes

 private:
  struct State;
  explicit SecAggClient(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_CLIENT_H_
