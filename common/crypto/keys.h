// Names for public key material.  Plain arrays: public, printable, encodable.
#ifndef LORIKEET_COMMON_CRYPTO_KEYS_H_
#define LORIKEET_COMMON_CRYPTO_KEYS_H_

#include <array>
#include <cstdint>

namespace lorikeet {

using X25519PublicKey = std::array<uint8_t, 32>;
using Ed25519PublicKey = std::array<uint8_t, 32>;
using Ed25519Signature = std::array<uint8_t, 64>;

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_CRYPTO_KEYS_H_
