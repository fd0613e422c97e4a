#include "kernels/quant.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "common/base/status_macros.h"
#include "kernels/kernel_table.h"
#include "kernels/quantize_k.h"

namespace lorikeet {
namespace {

// Value of largest magnitude, with its sign.
float Extreme(const float* x, int n) {
  return *std::max_element(x, x + n, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
}

int Round(float value, int low, int high) {
  return std::clamp(static_cast<int>(std::nearbyint(value)), low, high);
}

void Quantize(const float* x, BlockQ8_0* block) {
  const float d = std::fabs(Extreme(x, 32)) / 127.0f;
  const float inverse = d > 0 ? 1.0f / d : 0.0f;
  block->d = FloatToHalf(d);
  for (int j = 0; j < 32; ++j) {
    block->q[j] = static_cast<int8_t>(Round(x[j] * inverse, -127, 127));
  }
}

void PackHalves(const int (&q)[32], uint8_t* packed) {
  for (int j = 0; j < 16; ++j)
    packed[j] = static_cast<uint8_t>((q[j] & 15) | (q[j + 16] & 15) << 4);
}

void PackHighBits(const int (&q)[32], uint8_t (&high)[4]) {
  uint32_t bits = 0;
  for (int j = 0; j < 32; ++j) bits |= static_cast<uint32_t>((q[j] >> 4) & 1) << j;
  for (int i = 0; i < 4; ++i) high[i] = static_cast<uint8_t>(bits >> (8 * i));
}

// Integers of x around zero point `levels` / 2, the value of largest magnitude being the lowest
// level; returns d.
float QuantizeSymmetric(const float* x, int levels, int (&q)[32]) {
  const float d = Extreme(x, 32) / static_cast<float>(-levels / 2);
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  for (int j = 0; j < 32; ++j)
    q[j] = Round(x[j] * inverse + static_cast<float>(levels / 2), 0, levels - 1);
  return d;
}

// Integers of x between its minimum and maximum; returns d, sets *m.
float QuantizeAffine(const float* x, int levels, int (&q)[32], float* m) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float d = (*high - *low) / static_cast<float>(levels - 1);
  const float inverse = d > 0 ? 1.0f / d : 0.0f;
  *m = *low;
  for (int j = 0; j < 32; ++j) q[j] = Round((x[j] - *low) * inverse, 0, levels - 1);
  return d;
}

void Quantize(const float* x, BlockQ4_0* block) {
  int q[32];
  block->d = FloatToHalf(QuantizeSymmetric(x, 16, q));
  PackHalves(q, block->q);
}

void Quantize(const float* x, BlockQ5_0* block) {
  int q[32];
  block->d = FloatToHalf(QuantizeSymmetric(x, 32, q));
  PackHalves(q, block->q);
  PackHighBits(q, block->high);
}

void Quantize(const float* x, BlockQ4_1* block) {
  int q[32];
  float m;
  block->d = FloatToHalf(QuantizeAffine(x, 16, q, &m));
  block->m = FloatToHalf(m);
  PackHalves(q, block->q);
}

void Quantize(const float* x, BlockQ5_1* block) {
  int q[32];
  float m;
  block->d = FloatToHalf(QuantizeAffine(x, 32, q, &m));
  block->m = FloatToHalf(m);
  PackHalves(q, block->q);
  PackHighBits(q, block->high);
}

template <typename Block, int kElements>
void QuantizeBlocks(const float* src, int64_t n, uint8_t* dst) {
  for (int64_t i = 0; i < n / kElements; ++i) {
    Block block;
    Quantize(src + i * kElements, &block);
    std::memcpy(dst + i * static_cast<int64_t>(sizeof(block)), &block, sizeof(block));
  }
}

template <uint16_t (*kConvert)(float)>
void ConvertEach(const float* src, int64_t n, uint8_t* dst) {
  for (int64_t i = 0; i < n; ++i) {
    const uint16_t bits = kConvert(src[i]);
    std::memcpy(dst + 2 * i, &bits, sizeof(bits));
  }
}

}  // namespace

float HalfToFloat(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 31;
  const uint32_t mantissa = half & 0x3ff;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

uint16_t FloatToHalf(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);  // NaN
  if (magnitude >= 0x47800000) return static_cast<uint16_t>(sign | 0x7c00);
  if (magnitude <
      0x38800000) {  // subnormal half: adding 0.5 leaves multiples of 2^-24, rounded to even
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1) - (112u << 23);
  return static_cast<uint16_t>(sign | rounded >> 13);
}

float Bf16ToFloat(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

uint16_t FloatToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 64);  // quiet NaN
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void DequantizeRow(TensorType type, const uint8_t* src, int64_t n, float* dst) {
  LORIKEET_CHECK(n % TraitsOf(type).block_elements == 0 && type != TensorType::kI32);
  Kernels().dequantize_row(type, src, n, dst);
}

bool CanQuantize(TensorType type) {
  switch (type) {
    case TensorType::kF32:
    case TensorType::kF16:
    case TensorType::kBF16:
    case TensorType::kQ8_0:
    case TensorType::kQ4_0:
    case TensorType::kQ4_1:
    case TensorType::kQ5_0:
    case TensorType::kQ5_1:
    case TensorType::kQ4_K:
    case TensorType::kQ5_K:
    case TensorType::kQ6_K:
      return true;
    default:
      return false;
  }
}

void QuantizeRow(TensorType type, const float* src, int64_t n, uint8_t* dst) {
  LORIKEET_CHECK(CanQuantize(type) && n % TraitsOf(type).block_elements == 0);
  switch (type) {
    case TensorType::kF32:
      std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
      return;
    case TensorType::kF16:
      return ConvertEach<FloatToHalf>(src, n, dst);
    case TensorType::kBF16:
      return ConvertEach<FloatToBf16>(src, n, dst);
    case TensorType::kQ8_0:
      return QuantizeBlocks<BlockQ8_0, 32>(src, n, dst);
    case TensorType::kQ4_0:
      return QuantizeBlocks<BlockQ4_0, 32>(src, n, dst);
    case TensorType::kQ4_1:
      return QuantizeBlocks<BlockQ4_1, 32>(src, n, dst);
    case TensorType::kQ5_0:
      return QuantizeBlocks<BlockQ5_0, 32>(src, n, dst);
    case TensorType::kQ5_1:
      return QuantizeBlocks<BlockQ5_1, 32>(src, n, dst);
    case TensorType::kQ4_K:
      return QuantizeBlocks<BlockQ4_K, 256>(src, n, dst);
    case TensorType::kQ5_K:
      return QuantizeBlocks<BlockQ5_K, 256>(src, n, dst);
    case TensorType::kQ6_K:
      return QuantizeBlocks<BlockQ6_K, 256>(src, n, dst);
    default:
      return;
  }
}

}  // namespace lorikeet
