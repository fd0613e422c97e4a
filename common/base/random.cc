#include "common/base/random.h"

#include <sodium.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>

#include "common/base/status_macros.h"

namespace lorikeet {

void InitSodium() {
  static const int result = sodium_init();
  LORIKEET_CHECK(result >= 0);
}

uint64_t RandomSource::Uint64() {
  std::array<uint8_t, 8> bytes;
  Fill(bytes);
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | bytes[i];
  return value;
}

uint64_t RandomSource::UniformUint64(uint64_t bound) {
  LORIKEET_CHECK(bound > 0);
  const uint64_t threshold = (0 - bound) % bound;  // 2^64 mod bound
  for (;;) {
    const uint64_t value = Uint64();
    if (value >= threshold) return value % bound;
  }
}

void SystemRandom::Fill(std::span<uint8_t> out) {
  InitSodium();
  randombytes_buf(out.data(), out.size());
}

SeededRandom::SeededRandom(std::span<const uint8_t, 32> seed) {
  InitSodium();
  std::copy(seed.begin(), seed.end(), key_.begin());
}

SeededRandom::SeededRandom(std::string_view label, uint64_t seed) {
  InitSodium();
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, key_.size());
  crypto_generichash_update(&state, reinterpret_cast<const uint8_t*>(label.data()), label.size());
  std::array<uint8_t, 8> bytes;
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<uint8_t>(seed >> (8 * i));
  crypto_generichash_update(&state, bytes.data(), bytes.size());
  crypto_generichash_final(&state, key_.data(), key_.size());
}

SeededRandom::~SeededRandom() {
  sodium_memzero(key_.data(), key_.size());
  sodium_memzero(buffer_.data(), buffer_.size());
}

void SeededRandom::Refill() {
  std::array<uint8_t, crypto_stream_chacha20_NONCEBYTES> nonce;
  for (size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<uint8_t>(block_ >> (8 * i));
  ++block_;
  crypto_stream_chacha20(buffer_.data(), buffer_.size(), nonce.data(), key_.data());
  used_ = 0;
}

void SeededRandom::Fill(std::span<uint8_t> out) {
  while (!out.empty()) {
    if (used_ == buffer_.size()) Refill();
    const size_t take = std::min(out.size(), buffer_.size() - used_);
    std::memcpy(out.data(), buffer_.data() + used_, take);
    used_ += take;
    out = out.subspan(take);
  }
}

Rng::Rng(uint64_t seed) {
  for (auto& word : state_) {
    seed += 0x9e3779b97f4a7c15ull;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    word = z ^ (z >> 31);
  }
}

uint64_t Rng::Next() {
  auto& s = state_;
  const uint64_t result = std::rotl(s[0] + s[3], 23) + s[0];
  const uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = std::rotl(s[3], 45);
  return result;
}

double Rng::Uniform() { return static_cast<double>(Next() >> 11) * 0x1.0p-53; }

uint64_t Rng::Below(uint64_t bound) {
  LORIKEET_CHECK(bound > 0);
  const uint64_t threshold = (0 - bound) % bound;
  for (;;) {
    const uint64_t value = Next();
    if (value >= threshold) return value % bound;
  }
}

double Rng::Normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - Uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * Uniform());
}

}  // namespace lorikeet
