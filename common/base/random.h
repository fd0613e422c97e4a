// Randomness as a dependency.
//
// RandomSource gives bytes fit for keys.  SystemRandom asks the operating system through libsodium;
// SeededRandom is a ChaCha20 stream of a 32-byte seed, for simulations, tests and public randomness
// that every party must derive alike. Rng is a small fast generator for training and sampling:
// reproducible, never for keys.
#ifndef LORIKEET_COMMON_BASE_RANDOM_H_
#define LORIKEET_COMMON_BASE_RANDOM_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace lorikeet {

class RandomSource {
 public:
  virtual ~RandomSource() = default;
  virtual void Fill(std::span<uint8_t> out) = 0;

  uint64_t Uint64();
  // Uniform in [0, bound).  REQUIRES: bound > 0.
  uint64_t UniformUint64(uint64_t bound);
};

// Thread-safe.
class SystemRandom final : public RandomSource {
 public:
  void Fill(std::span<uint8_t> out) override;
};

// Not thread-safe.
class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(std::span<const uint8_t, 32> seed);
  // Seed = BLAKE2b-256(label | seed), for tests and simulations.
  SeededRandom(std::string_view label, uint64_t seed);
  ~SeededRandom() override;
  void Fill(std::span<uint8_t> out) override;

 private:
  void Refill();
  std::array<uint8_t, 32> key_;
  uint64_t block_ = 0;
  std::array<uint8_t, 4096> buffer_;
  size_t used_ = 4096;
};

// xoshiro256++ (Blackman and Vigna 2019) seeded by splitmix64.  Not for keys, not for privacy
// noise.
class Rng {
 public:
  explicit Rng(uint64_t seed);
  uint64_t Next();
  // Uniform in [0, 1).
  double Uniform();
  // Uniform in [0, bound).  REQUIRES: bound > 0.
  uint64_t Below(uint64_t bound);
  // Standard normal, by Box and Muller.
  double Normal();

  // The whole state, so that training can stop and resume.
  std::array<uint64_t, 4> state() const { return state_; }
  void set_state(const std::array<uint64_t, 4>& state) { state_ = state; }

 private:
  std::array<uint64_t, 4> state_;
};

// Must be called once before any use of libsodium; safe to repeat, thread-safe.
void InitSodium();

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_RANDOM_H_
