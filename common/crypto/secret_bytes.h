// SecretBytes: key material and other bytes that must not leak.
//
// Move-only, wiped when destroyed or moved over, not printable, compared in constant time only.
// They open only with a SecretAccess token, and tests/tidy lists the files that may name that type.
// Not locked in memory: a process that can be dumped or swapped can leak them.
#ifndef LORIKEET_COMMON_CRYPTO_SECRET_BYTES_H_
#define LORIKEET_COMMON_CRYPTO_SECRET_BYTES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/base/random.h"

namespace lorikeet {

// Naming this type is asking for permission: see tests/tidy.
class SecretAccess {
 public:
  explicit SecretAccess(std::string_view reason) : reason_(reason) {}
  std::string_view reason() const { return reason_; }

 private:
  std::string_view reason_;
};

class SecretBytes {
 public:
  SecretBytes() = default;
  // `size_bytes` zero bytes, to be filled through OpenMutable.
  explicit SecretBytes(size_t size_bytes) : bytes_(size_bytes) {}
  static SecretBytes CopyOf(std::span<const uint8_t> bytes);
  static SecretBytes Random(size_t size_bytes, RandomSource* random);

  ~SecretBytes() { Wipe(); }
  SecretBytes(SecretBytes&& other) noexcept : bytes_(std::move(other.bytes_)) {
    other.bytes_.clear();
  }
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;

  // A deliberate copy.
  SecretBytes Clone() const { return CopyOf(bytes_); }
  // Overwrites with zeros and empties.
  void Wipe();

  size_t size_bytes() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }

  // The spans live as long as this object is neither moved, wiped nor destroyed.
  std::span<const uint8_t> Open(const SecretAccess&) const { return bytes_; }
  std::span<uint8_t> OpenMutable(const SecretAccess&) { return bytes_; }

  // Time depends on the sizes only.
  bool ConstantTimeEquals(const SecretBytes& other) const;

  friend bool operator==(const SecretBytes&, const SecretBytes&) = delete;
  template <typename Stream>
  friend Stream& operator<<(Stream&, const SecretBytes&) = delete;

 private:
  std::vector<uint8_t> bytes_;  // never resized, so no stale copy is left behind
};

// Overwrites memory in a way the compiler keeps.
void WipeMemory(std::span<uint8_t> bytes);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_CRYPTO_SECRET_BYTES_H_
