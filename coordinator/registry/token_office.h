// Issues anonymous tokens to enrolled devices: TokenIssuer (common/tokens/issuer.h) over a store.
//
// Needs the list of devices and a table of charges, nothing of the rounds: it can run beside a
// coordinator over another connection, or as a process of its own.
#ifndef LORIKEET_COORDINATOR_REGISTRY_TOKEN_OFFICE_H_
#define LORIKEET_COORDINATOR_REGISTRY_TOKEN_OFFICE_H_

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/tokens/issuer.h"
#include "common/wire/token_service.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

// Thread-safe, by one mutex.
class TokenOffice final : public TokenIssuerService {
 public:
  struct Options {
    Store* store = nullptr;  // used by nobody else while the office is open
    TokenSchedule schedule;
    const SigningKey* signer = nullptr;
    const Clock* clock = nullptr;
    RandomSource* random = nullptr;
  };
  // Borrows everything in options.  INVALID_ARGUMENT: the seed is not 32 bytes, or a schedule out
  // of range.
  static absl::StatusOr<std::unique_ptr<TokenOffice>> Create(const Options& options,
                                                             SecretBytes seed);

  absl::StatusOr<SignedTokenKeys> GetTokenKeys(const DeviceId& device) override;
  absl::StatusOr<BatchEvaluation> IssueTokens(const DeviceId& device,
                                              const IssueRequest& request) override;

 private:
  class StoredQuota final : public TokenQuota {
   public:
    explicit StoredQuota(Store* store) : store_(store) {}
    absl::StatusOr<bool> TryCharge(const Charge& charge, uint32_t limit) override;

   private:
    Store* store_;
  };
  explicit TokenOffice(Store* store) : store_(store), quota_(store) {}

  absl::Mutex mutex_;
  Store* const store_ ABSL_PT_GUARDED_BY(mutex_);
  StoredQuota quota_;
  std::unique_ptr<TokenIssuer> issuer_ ABSL_PT_GUARDED_BY(mutex_);
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_REGISTRY_TOKEN_OFFICE_H_
