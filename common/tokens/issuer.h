// The issuer of anonymous tokens: knows devices, never sees a token.  Pure: the quota's store,
// clock and randomness are injected.  Its other half is redeemer.h, which can be another process.
#ifndef LORIKEET_COMMON_TOKENS_ISSUER_H_
#define LORIKEET_COMMON_TOKENS_ISSUER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/crypto/sign.h"
#include "common/tokens/token.h"
#include "common/tokens/token_keys.h"
#include "common/tokens/voprf.h"

namespace lorikeet {

// Who has asked for how many tokens; durable.
class TokenQuota {
 public:
  struct Charge {
    std::string_view device;
    uint64_t epoch = 0;
    Hash256 request = {};  // a repeated request is not charged again
    uint32_t count = 0;
  };
  virtual ~TokenQuota() = default;
  // Records the charge and returns true, or records nothing and returns false if the device's sum
  // for that epoch would pass `limit`.  True, and nothing recorded, for a request known before.
  virtual absl::StatusOr<bool> TryCharge(const Charge& charge, uint32_t limit) = 0;
};

// Not thread-safe.
class TokenIssuer {
 public:
  struct Options {
    TokenSchedule schedule;
    uint32_t epochs_ahead = 1;  // 0..kMaxTokenKeys - 1: how early tokens can be fetched
    const SigningKey* signer = nullptr;
    TokenQuota* quota = nullptr;
    const Clock* clock = nullptr;
    RandomSource* random = nullptr;
  };
  // Borrows everything in options.  INVALID_ARGUMENT: seed, schedule or epochs_ahead.
  static absl::StatusOr<std::unique_ptr<TokenIssuer>> Create(const Options& options,
                                                             SecretBytes seed);

  // Keys of the present epoch and of the next ones.
  absl::StatusOr<SignedTokenKeys> Keys();

  // Evaluates after the charge is stored.  FAILED_PRECONDITION: not an epoch of Keys();
  // RESOURCE_EXHAUSTED: the device has had its tokens; INVALID_ARGUMENT: no element, or more than
  // an epoch's tokens.
  absl::StatusOr<BatchEvaluation> Issue(std::string_view device, const IssueRequest& request);

 private:
  TokenIssuer(const Options& options, TokenEpochKeys keys)
      : options_(options), keys_(std::move(keys)) {}
  const Options options_;
  TokenEpochKeys keys_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TOKENS_ISSUER_H_
