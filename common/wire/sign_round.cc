#include "common/wire/sign_round.h"

#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/strings.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"

namespace lorikeet {

SignedRoundDescription SignRoundDescription(const RoundDescription& description,
                                            const SigningKey& key) {
  SignedRoundDescription signed_round;
  signed_round.description = Encode(description);
  signed_round.signature = key.Sign(kRoundLabel, AsBytes(signed_round.description));
  signed_round.key = key.public_key();
  return signed_round;
}

absl::StatusOr<RoundDescription> VerifyRoundDescription(const SignedRoundDescription& signed_round,
                                                        const Ed25519PublicKey& pinned_key) {
  if (signed_round.key != pinned_key) {
    return absl::PermissionDeniedError(absl::StrCat("round: expected the key ", ToHex(pinned_key),
                                                    ", got ", ToHex(signed_round.key)));
  }
  if (!VerifySignature(pinned_key, kRoundLabel, AsBytes(signed_round.description),
                       signed_round.signature)) {
    return absl::DataLossError("round: the signature does not fit the description");
  }
  return DecodeRoundDescription(signed_round.description);
}

SessionId SessionOf(const SignedRoundDescription& signed_round) {
  return Blake2b(AsBytes(signed_round.description));
}

}  // namespace lorikeet
