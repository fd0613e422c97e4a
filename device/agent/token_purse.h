// A device's anonymous tokens: fetched in batches ahead of rounds, each bound to one-time keys of
// its own, spent once.
//
// A token is an entry of AgentState (what is public of it, and its output) and a seed in the
// AgentStore, from which its nonce, its blind and the one-time keys follow; the seed goes when the
// token is taken.  A batch that was interrupted is asked for again, byte by byte the same, which an
// issuer does not count twice.  Not thread-safe.
#ifndef LORIKEET_DEVICE_AGENT_TOKEN_PURSE_H_
#define LORIKEET_DEVICE_AGENT_TOKEN_PURSE_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/random.h"
#include "common/secagg/one_time_keys.h"
#include "common/tokens/token.h"
#include "common/tokens/token_keys.h"
#include "common/wire/round.h"
#include "device/agent/agent_store.h"

namespace lorikeet {

// What admits a device to one round.
struct RoundAdmission {
  OneTimeKeys keys;
  Token token;
};

class TokenPurse {
 public:
  // Borrows; changes of `state` are made durable by the caller, before it acts on what it got.
  TokenPurse(const Ed25519PublicKey& issuer, AgentState* state, AgentStore* store,
             RandomSource* random)
      : issuer_(issuer), state_(state), store_(store), random_(random) {}

  // The issuer's keys: verified, held against what was shown before, and remembered; entries for
  // epochs that are new, with their seeds.  DATA_LOSS: refused, see VerifyTokenKeys and
  // CheckAndRemember; INVALID_ARGUMENT: malformed.
  absl::Status AcceptKeys(const SignedTokenKeys& keys);
  // The next batch to ask for, if one is missing.
  absl::StatusOr<std::optional<IssueRequest>> NextRequest();
  // The answer to the last request.  DATA_LOSS: not made with the published key; nothing is kept.
  absl::Status AcceptEvaluation(const BatchEvaluation& evaluation);
  // The issuer will not answer the last request, ever.
  void DropRequest();
  // When newer keys are published; the past before the first AcceptKeys.
  absl::Time next_keys_at() const { return next_keys_at_; }

  // Whether a round's demand can be met.  FAILED_PRECONDITION: no token of its epoch is left.
  // DATA_LOSS: the round names another key of that epoch than this device was shown.
  absl::Status CanMeet(const TokenDemand& demand) const;
  // Takes a token out of `state`: it is gone when the caller has saved that.
  // REQUIRES: CanMeet(demand) is OK.
  PurseToken Take(const TokenDemand& demand);
  // What a token that was taken gives; its seed is deleted, and so are others that no entry names.
  // DATA_LOSS, NOT_FOUND: the seed is not there.
  absl::StatusOr<RoundAdmission> Open(const PurseToken& token);

 private:
  absl::Status AddEntries(const TokenKeySet& keys);
  absl::Status KeepSeedsOfEntries();
  // Entries of one epoch that wait for the issuer, in order.
  std::vector<PurseToken*> Waiting(uint64_t epoch);
  absl::StatusOr<std::vector<PendingToken>> Prepare(uint64_t epoch);

  const Ed25519PublicKey issuer_;
  AgentState* state_;
  AgentStore* store_;
  RandomSource* random_;
  std::optional<TokenKeySet> keys_;
  uint64_t requested_epoch_ = 0;  // of the last request
  absl::Time next_keys_at_ = absl::InfinitePast();
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_TOKEN_PURSE_H_
