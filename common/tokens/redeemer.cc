#include "common/tokens/redeemer.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {

absl::StatusOr<TokenRedeemer> TokenRedeemer::Create(const TokenSchedule& schedule,
                                                    SecretBytes seed) {
  RETURN_IF_ERROR(schedule.Check());
  ASSIGN_OR_RETURN(TokenEpochKeys keys, TokenEpochKeys::Create(std::move(seed)));
  return TokenRedeemer(schedule, std::move(keys));
}

absl::StatusOr<Hash256> TokenRedeemer::KeyIdOf(uint64_t epoch) {
  ASSIGN_OR_RETURN(const VoprfKey* key, keys_.Of(epoch));
  return TokenKeyId(key->public_key());
}

absl::Status TokenRedeemer::Check(const Token& token, uint64_t epoch, const Hash256& keys_hash) {
  if (token.epoch != epoch) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "token: expected one of epoch %d, got one of epoch %d", epoch, token.epoch));
  }
  ASSIGN_OR_RETURN(const VoprfKey* key, keys_.Of(epoch));
  if (token.key_id != TokenKeyId(key->public_key())) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "token: expected one made with the issuer's key of epoch %d, got one of another key",
        epoch));
  }
  if (token.keys_hash != keys_hash) {
    return absl::PermissionDeniedError(
        "token: expected one bound to the session keys that came with it, got one bound to others");
  }
  ASSIGN_OR_RETURN(const VoprfOutput expected,
                   VoprfEvaluate(*key, TokenInput(token.nonce, token.epoch, token.keys_hash)));
  if (!SameOutput(expected, token.output)) {
    return absl::PermissionDeniedError(
        "token: expected the issuer's output for this token, got another");
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
