// Differences of tensor data, field by field: blocks of quantized tensors are taken apart into
// planes of like fields (scales, quants, high bits, ...), each the difference of two versions.
//
// Fields of one kind change alike, and fields of different kinds do not: a plane has few symbols
// where the interleaved bytes have many.  The map is one to one: from the old bytes and the planes
// come the new bytes.  Fields of blocks: kernels/quant.h says what each byte means.
#ifndef LORIKEET_COMMON_DELTA_BLOCK_PLANES_H_
#define LORIKEET_COMMON_DELTA_BLOCK_PLANES_H_

#include <array>
#include <cstdint>
#include <span>

#include "common/base/tensor_type.h"

namespace lorikeet {

// Numbers of two or four bytes have a plane for each of their bytes.  The numbers stand in deltas:
// do not change them.
inline constexpr int kPlanes = 16;
enum class Plane : uint8_t {
  kPlain = 0,
  kScale = 1,      // and 2: the high byte
  kMinimum = 3,    // and 4
  kSubScales = 5,  // packed scales of the groups of a k-quant block
  kQuants4 = 6,    // two of 4 bits a byte
  kQuants2 = 7,    // four of 2 bits a byte
  kQuants8 = 8,
  kLow6 = 9,       // low 4 bits of 6-bit quants
  kHigh6 = 10,     // high 2 bits of 6-bit quants
  kHighBits = 11,  // one bit a quant
  kNumber = 12,    // up to 15: bytes of floats and integers, the lowest first
};

// How the bytes of one stretch are laid out.
struct BlockLayout {
  enum class Change : uint8_t {
    kBytes,    // difference modulo 256
    kNibbles,  // of each 4 bits modulo 16
    kPairs,    // of each 2 bits modulo 4
    kBits,     // exclusive or
    kNumber2,  // of 16-bit numbers in the order of floats, sign in the lowest bit
    kNumber4,  // of 32-bit numbers likewise
  };
  struct Field {
    uint16_t offset = 0;  // in the block
    uint16_t bytes = 0;
    Change change = Change::kBytes;
    Plane plane = Plane::kPlain;
  };
  uint32_t block_bytes = 1;
  std::span<const Field> fields;  // cover the block, each byte once
};

// Of bytes about which nothing is known.
const BlockLayout& PlainLayout();
const BlockLayout& LayoutOf(TensorType type);

// Bytes that `bytes` of a layout add to each plane.  REQUIRES: a multiple of block_bytes.
using PlaneSizes = std::array<uint64_t, kPlanes>;
void AddPlaneSizes(const BlockLayout& layout, uint64_t bytes, PlaneSizes* sizes);

// Where the next byte of each plane goes to or comes from.
using PlaneCursors = std::array<uint8_t*, kPlanes>;
// Appends the change from `from` to `to` to the planes.  REQUIRES: both of one size, a multiple of
// block_bytes.
void SplitChange(const BlockLayout& layout, std::span<const uint8_t> from,
                 std::span<const uint8_t> to, PlaneCursors* planes);
// The inverse: `to` from `from` and the planes.
void JoinChange(const BlockLayout& layout, std::span<const uint8_t> from, PlaneCursors* planes,
                std::span<uint8_t> to);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DELTA_BLOCK_PLANES_H_
