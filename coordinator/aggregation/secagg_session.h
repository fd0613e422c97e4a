// One secure aggregation session with device identities: SecAggServer, and who is who in it.
//
// SecAggServer knows clients by index; a coordinator knows devices by certificate.  This class
// binds the two, so that a device acts only as itself and at most once a round.  Not thread-safe.
// No I/O, no clock.  Deterministic, as SecAggServer is.
#ifndef LORIKEET_COORDINATOR_AGGREGATION_SECAGG_SESSION_H_
#define LORIKEET_COORDINATOR_AGGREGATION_SECAGG_SESSION_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "common/secagg/server.h"
#include "common/wire/federation.h"

namespace lorikeet {

using RoundMessage =
    std::variant<KeyAdvertisement, ShareKeysMessage, MaskedUpdate, Acknowledgement, UnmaskResponse>;

class SecAggSession {
 public:
  // INVALID_ARGUMENT: parameters out of range.  `pool` (borrowed, may be null) shares out the work
  // of unmasking; no result depends on it.
  static absl::StatusOr<std::unique_ptr<SecAggSession>> Create(const SecAggParameters& parameters,
                                                               ThreadPool* pool = nullptr);

  SecAggStep step() const { return server_->step(); }
  bool running() const { return step() < SecAggStep::kDone; }
  int arrived() const { return server_->arrived(); }
  int expected() const { return server_->expected(); }

  struct Accepted {
    bool is_new = false;  // false: a repetition of what is in already
    uint32_t ticket = 0;  // the device's
  };
  // Errors as FederationService's five steps.
  absl::StatusOr<Accepted> Accept(const DeviceId& device, const RoundMessage& message);
  // A masked update of this device that was added elsewhere, or here before a restart.
  absl::StatusOr<Accepted> AcceptMasked(const DeviceId& device, ClientIndex sender,
                                        const Hash256& hash);
  // See SecAggServer.
  std::vector<uint8_t> PackedSum() const { return server_->PackedSum(); }
  absl::Status SetOtherSums(const std::vector<std::vector<uint8_t>>& sums) {
    return server_->SetOtherSums(sums);
  }

  // True if waiting longer in this step brings nothing: everybody arrived, or all secrets can be
  // reconstructed.
  bool StepIsFull() const;
  // Ends the current step with those who arrived; in the last step computes the sum.  UNAVAILABLE:
  // wrong shares came, right ones may still come.  ABORTED: the session is over.
  absl::Status CloseStep();
  void Abort(std::string_view reason) { server_->Abort(reason); }
  std::string abort_reason() const { return std::string(server_->abort_reason()); }

  // The message to this device in the current step.  NOT_FOUND: not its ticket.  ABORTED: it
  // dropped out.
  absl::StatusOr<PollResult> View(const DeviceId& device, uint32_t ticket) const;
  bool Contains(const DeviceId& device) const { return members_.contains(device); }

  // Set in step kDone.
  const std::optional<AggregateSum>& sum() const { return sum_; }

 private:
  struct Member {
    uint32_t ticket = 0;
    Hash256 advertisement = {};  // of its encoded keys
  };
  SecAggSession(std::unique_ptr<SecAggServer> server, ThreadPool* pool)
      : server_(std::move(server)), pool_(pool) {}
  absl::StatusOr<Accepted> Advertise(const DeviceId& device, const KeyAdvertisement& message);
  absl::Status CheckRunning() const;
  // The member with this device's name.  ABORTED: the round is over.  PERMISSION_DENIED: there is
  // none.
  absl::StatusOr<const Member*> FindMember(const DeviceId& device) const;
  absl::Status CheckSender(const Member& member, ClientIndex sender) const;
  template <typename Message>
  absl::Status AcceptStep(const Member& member, const Message& message);
  absl::Status ViewStep(ClientIndex index, PollResult* result) const;

  std::unique_ptr<SecAggServer> server_;
  ThreadPool* pool_ = nullptr;
  std::map<DeviceId, Member> members_;
  std::optional<AggregateSum> sum_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_AGGREGATION_SECAGG_SESSION_H_
