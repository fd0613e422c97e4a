#include "coordinator/rounds/leadership.h"

#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr char kLeaseName[] = "rounds";

}  // namespace

Leadership::Leadership(const Options& options) : options_(options) {
  // Another holder at every start: what an earlier self had begun is over.
  std::array<uint8_t, 16> start;
  options_.random->Fill(start);
  holder_ = absl::StrCat(options_.address, " ", ToHex(start));
}

Fence Leadership::fence() const { return {kLeaseName, token_}; }

absl::StatusOr<bool> Leadership::Check() {
  const absl::Time now = options_.clock->Now();
  if (now < next_look_) return leading_;
  if (leading_) {
    const absl::Status renewed = options_.store->RenewLease(fence(), now, options_.duration);
    if (renewed.ok()) {
      next_look_ = now + options_.duration / 3;
      return true;
    }
    if (!absl::IsFailedPrecondition(renewed)) return renewed;
    leading_ = false;
    LogWarning(absl::StrFormat("replicas: %s no longer runs the rounds", options_.address));
  }
  return Acquire();
}

absl::StatusOr<bool> Leadership::Acquire() {
  const absl::Time now = options_.clock->Now();
  ASSIGN_OR_RETURN(const Lease lease,
                   options_.store->AcquireLease({.name = kLeaseName,
                                                 .holder = holder_,
                                                 .address = options_.address,
                                                 .now = now,
                                                 .duration = options_.duration}));
  leading_ = lease.holder == holder_;
  next_look_ = now + options_.duration / 3;
  leader_address_ = leading_ ? "" : lease.address;
  if (!leading_) return false;
  token_ = lease.token;
  options_.store->UseFence(fence());
  LogInfo(absl::StrFormat("replicas: %s runs the rounds, term %d", options_.address, token_));
  return true;
}

void Leadership::Resign() {
  if (!leading_) return;
  leading_ = false;
  next_look_ = options_.clock->Now() + options_.duration;  // somebody else's turn
  const absl::Status released = options_.store->ReleaseLease(fence());
  if (!released.ok()) LogWarning(absl::StrCat("replicas: ", released.message()));
}

}  // namespace lorikeet
