// Block formats of quantized tensors, as llama.cpp's GGUF files hold them, and conversions from and
// to f32.
//
// All numbers are little-endian; `d`, `dmin`, `m` are IEEE half floats.  What each byte means is
// stated at the struct. Source: the GGML quantization formats (ggml-common.h and ggml-quants.c of
// llama.cpp describe the same bytes).
#ifndef LORIKEET_KERNELS_QUANT_H_
#define LORIKEET_KERNELS_QUANT_H_

#include <cstdint>

#include "common/base/tensor_type.h"

namespace lorikeet {

// IEEE half <-> float; to half rounds to nearest even, overflows to infinity.
float HalfToFloat(uint16_t half);
uint16_t FloatToHalf(float value);
// bfloat16 <-> float; to bfloat16 rounds to nearest even.
float Bf16ToFloat(uint16_t bits);
uint16_t FloatToBf16(float value);

// 32 values: y = d * q.
struct BlockQ8_0 {
  uint16_t d;
  int8_t q[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

// 32 values: y = d * (q - 8).  Byte j holds value j (low half) and value j + 16 (high half); so
// below.
struct BlockQ4_0 {
  uint16_t d;
  uint8_t q[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

// 32 values: y = d * q + m.
struct BlockQ4_1 {
  uint16_t d;
  uint16_t m;
  uint8_t q[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

// 32 values: y = d * (q - 16); bit j of `high` (little-endian) is the fifth bit of value j.
struct BlockQ5_0 {
  uint16_t d;
  uint8_t high[4];
  uint8_t q[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

// 32 values: y = d * q + m.
struct BlockQ5_1 {
  uint16_t d;
  uint16_t m;
  uint8_t high[4];
  uint8_t q[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

// 32 values: y = d * kIq4NlValues[q].
struct BlockIq4Nl {
  uint16_t d;
  uint8_t q[16];
};
static_assert(sizeof(BlockIq4Nl) == 18);
inline constexpr int8_t kIq4NlValues[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                            1,    13,   25,  38,  53,  69,  89,  113};

// 256 values in 16 groups of 16: y = d * (scales[g] & 15) * q - dmin * (scales[g] >> 4).
struct BlockQ2_K {
  uint8_t scales[16];
  uint8_t q[64];
  uint16_t d;
  uint16_t dmin;
};
static_assert(sizeof(BlockQ2_K) == 84);

// 256 values in 16 groups of 16: y = d * (scale6[g] - 32) * (q - 4), the third bit of q in `high`.
struct BlockQ3_K {
  uint8_t high[32];
  uint8_t q[64];
  uint8_t scales[12];
  uint16_t d;
};
static_assert(sizeof(BlockQ3_K) == 110);

// 256 values in 8 groups of 32: y = d * scale6[g] * q - dmin * min6[g].
struct BlockQ4_K {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t q[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

// As Q4_K with a fifth bit in `high`.
struct BlockQ5_K {
  uint16_t d;
  uint16_t dmin;
  uint8_t scales[12];
  uint8_t high[32];
  uint8_t q[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

// 256 values in 16 groups of 16: y = d * scales[g] * (q - 32), two high bits of q in `high`.
struct BlockQ6_K {
  uint8_t low[128];
  uint8_t high[64];
  int8_t scales[16];
  uint16_t d;
};
static_assert(sizeof(BlockQ6_K) == 210);

// dst[0..n) = the numbers that `src` stands for, to the bit what llama.cpp gives.  `src` needs no
// alignment. REQUIRES: n % block_elements == 0; type is not kI32.  Thread-safe.
void DequantizeRow(TensorType type, const uint8_t* src, int64_t n, float* dst);

// True for the types QuantizeRow can write.
bool CanQuantize(TensorType type);
// The inverse, rounding; without importance weights.  dst has RowBytes(type, n) bytes.
// Deterministic.  REQUIRES: CanQuantize(type), n % block_elements == 0, finite values; up to 65504
// for types with half floats in them.  Thread-safe.
void QuantizeRow(TensorType type, const float* src, int64_t n, uint8_t* dst);

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_QUANT_H_
