#include "common/base/hash.h"

#include <sodium.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {

struct Hasher::State {
  crypto_generichash_state blake;
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  InitSodium();
  crypto_generichash_init(&state_->blake, nullptr, 0, sizeof(Hash256));
}

Hasher::~Hasher() = default;

Hasher& Hasher::Update(std::span<const uint8_t> bytes) {
  crypto_generichash_update(&state_->blake, bytes.data(), bytes.size());
  return *this;
}

Hasher& Hasher::Update(std::string_view bytes) { return Update(AsBytes(bytes)); }

Hasher& Hasher::UpdateUint64(uint64_t value) {
  std::array<uint8_t, 8> bytes;
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(value >> (8 * i));
  return Update(bytes);
}

Hasher& Hasher::UpdateSized(std::span<const uint8_t> bytes) {
  return UpdateUint64(bytes.size()).Update(bytes);
}

Hash256 Hasher::Finish() {
  Hash256 hash;
  crypto_generichash_final(&state_->blake, hash.data(), hash.size());
  return hash;
}

Hash256 Blake2b(std::span<const uint8_t> bytes) { return Hasher().Update(bytes).Finish(); }

std::string ToHex(std::span<const uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * bytes.size());
  for (uint8_t byte : bytes) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

namespace {

int Digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

absl::StatusOr<std::string> FromHex(std::string_view hex) {
  if (hex.size() % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("hex text: expected an even number of digits, got %d", hex.size()));
  }
  std::string bytes;
  bytes.reserve(hex.size() / 2);
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = Digit(hex[i]), low = Digit(hex[i + 1]);
    if (high < 0 || low < 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("hex text: expected digits 0-9 a-f at position %d", i));
    }
    bytes.push_back(static_cast<char>(high << 4 | low));
  }
  return bytes;
}

absl::StatusOr<Hash256> HashFromHex(std::string_view hex) {
  ASSIGN_OR_RETURN(const std::string bytes, FromHex(hex));
  Hash256 hash;
  if (bytes.size() != hash.size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("hash: expected 64 hex digits, got %d", hex.size()));
  }
  std::copy(bytes.begin(), bytes.end(), hash.begin());
  return hash;
}

}  // namespace lorikeet
