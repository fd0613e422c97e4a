#include "common/secagg/one_time_keys.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/crypto/hkdf.h"

namespace lorikeet {
namespace {

SecretBytes Derive(const SecretBytes& seed, std::string_view use) {
  return HkdfSha256(seed, AsBytes("lorikeet one-time keys"), AsBytes(use), kOneTimeSeedBytes);
}

}  // namespace

OneTimeKeys OneTimeKeys::Generate(RandomSource* random) {
  KeyExchangeKey mask_key = KeyExchangeKey::Generate(random);
  KeyExchangeKey transport_key = KeyExchangeKey::Generate(random);
  return {.mask_key = std::move(mask_key),
          .transport_key = std::move(transport_key),
          .signing_key = SigningKey::Generate(random)};
}

absl::StatusOr<OneTimeKeys> OneTimeKeys::FromSeed(const SecretBytes& seed) {
  if (seed.size_bytes() != kOneTimeSeedBytes) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "seed of one-time keys: expected %d bytes, got %d", kOneTimeSeedBytes, seed.size_bytes()));
  }
  ASSIGN_OR_RETURN(KeyExchangeKey mask_key, KeyExchangeKey::FromSecret(Derive(seed, "mask")));
  ASSIGN_OR_RETURN(KeyExchangeKey transport_key,
                   KeyExchangeKey::FromSecret(Derive(seed, "transport")));
  ASSIGN_OR_RETURN(SigningKey signing_key, SigningKey::FromSeed(Derive(seed, "signing")));
  return OneTimeKeys{.mask_key = std::move(mask_key),
                     .transport_key = std::move(transport_key),
                     .signing_key = std::move(signing_key)};
}

KeyAdvertisement OneTimeKeys::ForSession(const SessionId& session) const {
  return {.session = session,
          .mask_key = mask_key.public_key(),
          .transport_key = transport_key.public_key(),
          .signing_key = signing_key.public_key()};
}

Hash256 OneTimeKeysHash(const KeyAdvertisement& keys) {
  return Hasher()
      .Update("lorikeet one-time keys")
      .Update(keys.mask_key)
      .Update(keys.transport_key)
      .Update(keys.signing_key)
      .Finish();
}

}  // namespace lorikeet
