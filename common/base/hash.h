// BLAKE2b-256 (RFC 7693, through libsodium): content addresses, base fingerprints, transcripts.
#ifndef LORIKEET_COMMON_BASE_HASH_H_
#define LORIKEET_COMMON_BASE_HASH_H_

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lorikeet {

using Hash256 = std::array<uint8_t, 32>;

// Incremental hash.  Not thread-safe.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher& Update(std::span<const uint8_t> bytes);
  Hasher& Update(std::string_view bytes);
  // Eight bytes, little-endian.
  Hasher& UpdateUint64(uint64_t value);
  // The length (UpdateUint64), then the bytes: unambiguous concatenation.
  Hasher& UpdateSized(std::span<const uint8_t> bytes);
  // May be called once.
  Hash256 Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Hash256 Blake2b(std::span<const uint8_t> bytes);

std::string ToHex(std::span<const uint8_t> bytes);
// Lower- or upper-case; INVALID_ARGUMENT on an odd length or another character.
absl::StatusOr<std::string> FromHex(std::string_view hex);
absl::StatusOr<Hash256> HashFromHex(std::string_view hex);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_HASH_H_
