#include "common/adapter/half_floats.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

float FromHalf(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1Fu, fraction = half & 0x3FFu;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24, exact in a float
    const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
    return std::copysign(magnitude, sign != 0 ? -1.0f : 1.0f);
  }
  const uint32_t wide = exponent == 31 ? 0xFFu : exponent + (127 - 15);
  return std::bit_cast<float>(sign | (wide << 23) | (fraction << 13));
}

// value >> shift, to nearest, ties to even.
uint32_t ShiftRounded(uint32_t value, int shift) {
  const uint32_t half = uint32_t{1} << (shift - 1), odd = (value >> shift) & 1;
  return (value + half - 1 + odd) >> shift;
}

uint16_t ToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  constexpr uint32_t kInfinity = 0x7C00u, kQuietNan = 0x7E00u;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | kQuietNan);
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  if (exponent >= 16) return static_cast<uint16_t>(sign | kInfinity);
  if (exponent < -25) return static_cast<uint16_t>(sign);
  if (exponent < -14) {  // a multiple of 2^-24: the fraction with its leading one, shifted
    const uint32_t fraction = (magnitude & 0x7FFFFFu) | 0x800000u;
    return static_cast<uint16_t>(sign | ShiftRounded(fraction, -exponent - 1));
  }
  // Rounding up may carry into the exponent, and from the largest value to infinity: both right.
  const uint32_t rebased = magnitude - (uint32_t{127 - 15} << 23);
  return static_cast<uint16_t>(sign | ShiftRounded(rebased, 13));
}

float FromBf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  constexpr uint32_t kQuietBit = 0x40u;
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | kQuietBit);
  return static_cast<uint16_t>(ShiftRounded(bits & 0x7FFFFFFFu, 16) | ((bits >> 16) & 0x8000u));
}

template <typename Convert>
std::vector<float> Widen(std::span<const uint8_t> bytes, const Convert& convert) {
  std::vector<float> values(bytes.size() / sizeof(uint16_t));
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(stored), sizeof(stored));
    values[i] = convert(stored);
  }
  return values;
}

template <typename Convert>
std::string Narrow(std::span<const float> values, const Convert& convert) {
  std::string bytes(values.size() * sizeof(uint16_t), '\0');
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t stored = convert(values[i]);
    std::memcpy(bytes.data() + i * sizeof(stored), &stored, sizeof(stored));
  }
  return bytes;
}

}  // namespace

bool IsFloatType(TensorType type) {
  return type == TensorType::kF32 || type == TensorType::kF16 || type == TensorType::kBF16;
}

std::vector<float> WidenFloats(TensorType type, std::span<const uint8_t> bytes) {
  LORIKEET_CHECK(IsFloatType(type));
  if (type == TensorType::kF16) return Widen(bytes, FromHalf);
  if (type == TensorType::kBF16) return Widen(bytes, FromBf16);
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
  return values;
}

std::string NarrowFloats(TensorType type, std::span<const float> values) {
  LORIKEET_CHECK(IsFloatType(type));
  if (type == TensorType::kF16) return Narrow(values, ToHalf);
  if (type == TensorType::kBF16) return Narrow(values, ToBf16);
  return std::string(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

}  // namespace lorikeet
