#include "common/crypto/hkdf.h"

#include <sodium.h>

#include <algorithm>
#include <array>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr size_t kHashBytes = crypto_auth_hmacsha256_BYTES;

}  // namespace

SecretBytes HkdfSha256(std::span<const uint8_t> input_key, std::span<const uint8_t> salt,
                       std::span<const uint8_t> info, size_t size_bytes) {
  InitSodium();
  LORIKEET_CHECK(size_bytes <= 255 * kHashBytes);
  // The streaming interface, since salt and key may have any length (the one-shot call wants 32
  // bytes).
  crypto_auth_hmacsha256_state state;
  std::array<uint8_t, kHashBytes> pseudorandom_key;
  // No salt is a hash's length of zeros (RFC 5869, section 2.2).
  constexpr std::array<uint8_t, kHashBytes> kNoSalt = {};
  if (salt.empty()) salt = kNoSalt;
  crypto_auth_hmacsha256_init(&state, salt.data(), salt.size());
  crypto_auth_hmacsha256_update(&state, input_key.data(), input_key.size());
  crypto_auth_hmacsha256_final(&state, pseudorandom_key.data());

  SecretBytes output(size_bytes);
  const std::span<uint8_t> out = output.OpenMutable(SecretAccess("derive"));
  std::array<uint8_t, kHashBytes> block;
  uint8_t counter = 0;
  for (size_t done = 0; done < size_bytes;) {
    crypto_auth_hmacsha256_init(&state, pseudorandom_key.data(), pseudorandom_key.size());
    if (counter > 0) crypto_auth_hmacsha256_update(&state, block.data(), block.size());
    crypto_auth_hmacsha256_update(&state, info.data(), info.size());
    ++counter;
    crypto_auth_hmacsha256_update(&state, &counter, 1);
    crypto_auth_hmacsha256_final(&state, block.data());
    const size_t take = std::min(kHashBytes, size_bytes - done);
    std::copy_n(block.begin(), take, out.begin() + done);
    done += take;
  }
  WipeMemory(block);
  WipeMemory(pseudorandom_key);
  sodium_memzero(&state, sizeof state);
  return output;
}

SecretBytes HkdfSha256(const SecretBytes& input_key, std::span<const uint8_t> salt,
                       std::span<const uint8_t> info, size_t size_bytes) {
  return HkdfSha256(input_key.Open(SecretAccess("derive")), salt, info, size_bytes);
}

}  // namespace lorikeet
