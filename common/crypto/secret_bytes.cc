#include "common/crypto/secret_bytes.h"

#include <sodium.h>

#include <utility>

namespace lorikeet {

SecretBytes SecretBytes::CopyOf(std::span<const uint8_t> bytes) {
  SecretBytes copy;
  copy.bytes_.assign(bytes.begin(), bytes.end());
  return copy;
}

SecretBytes SecretBytes::Random(size_t size_bytes, RandomSource* random) {
  SecretBytes secret(size_bytes);
  random->Fill(secret.bytes_);
  return secret;
}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this != &other) {
    Wipe();
    bytes_ = std::move(other.bytes_);
    other.bytes_.clear();
  }
  return *this;
}

void SecretBytes::Wipe() {
  WipeMemory(bytes_);
  bytes_.clear();
}

bool SecretBytes::ConstantTimeEquals(const SecretBytes& other) const {
  if (bytes_.size() != other.bytes_.size()) return false;
  return bytes_.empty() || sodium_memcmp(bytes_.data(), other.bytes_.data(), bytes_.size()) == 0;
}

void WipeMemory(std::span<uint8_t> bytes) {
  if (!bytes.empty()) sodium_memzero(bytes.data(), bytes.size());
}

}  // namespace lorikeet
