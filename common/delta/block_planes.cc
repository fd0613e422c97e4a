#include "common/delta/block_planes.h"

#include <bit>
#include <cstring>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

using Change = BlockLayout::Change;
using Field = BlockLayout::Field;

constexpr Field kPlainFields[] = {{0, 1, Change::kBytes, Plane::kPlain}};
constexpr Field kNumber2Fields[] = {{0, 2, Change::kNumber2, Plane::kNumber}};
constexpr Field kNumber4Fields[] = {{0, 4, Change::kNumber4, Plane::kNumber}};
constexpr Field kQ8_0Fields[] = {{0, 2, Change::kNumber2, Plane::kScale},
                                 {2, 32, Change::kBytes, Plane::kQuants8}};
constexpr Field kQ4_0Fields[] = {{0, 2, Change::kNumber2, Plane::kScale},
                                 {2, 16, Change::kNibbles, Plane::kQuants4}};
constexpr Field kQ4_1Fields[] = {{0, 2, Change::kNumber2, Plane::kScale},
                                 {2, 2, Change::kNumber2, Plane::kMinimum},
                                 {4, 16, Change::kNibbles, Plane::kQuants4}};
constexpr Field kQ5_0Fields[] = {{0, 2, Change::kNumber2, Plane::kScale},
                                 {2, 4, Change::kBits, Plane::kHighBits},
                                 {6, 16, Change::kNibbles, Plane::kQuants4}};
constexpr Field kQ5_1Fields[] = {{0, 2, Change::kNumber2, Plane::kScale},
                                 {2, 2, Change::kNumber2, Plane::kMinimum},
                                 {4, 4, Change::kBits, Plane::kHighBits},
                                 {8, 16, Change::kNibbles, Plane::kQuants4}};
constexpr Field kQ2KFields[] = {{0, 16, Change::kNibbles, Plane::kSubScales},
                                {16, 64, Change::kPairs, Plane::kQuants2},
                                {80, 2, Change::kNumber2, Plane::kScale},
                                {82, 2, Change::kNumber2, Plane::kMinimum}};
constexpr Field kQ3KFields[] = {{0, 32, Change::kBits, Plane::kHighBits},
                                {32, 64, Change::kPairs, Plane::kQuants2},
                                {96, 12, Change::kNibbles, Plane::kSubScales},
                                {108, 2, Change::kNumber2, Plane::kScale}};
constexpr Field kQ4KFields[] = {{0, 2, Change::kNumber2, Plane::kScale},
                                {2, 2, Change::kNumber2, Plane::kMinimum},
                                {4, 12, Change::kBytes, Plane::kSubScales},
                                {16, 128, Change::kNibbles, Plane::kQuants4}};
constexpr Field kQ5KFields[] = {{0, 2, Change::kNumber2, Plane::kScale},
                                {2, 2, Change::kNumber2, Plane::kMinimum},
                                {4, 12, Change::kBytes, Plane::kSubScales},
                                {16, 32, Change::kBits, Plane::kHighBits},
                                {48, 128, Change::kNibbles, Plane::kQuants4}};
constexpr Field kQ6KFields[] = {{0, 128, Change::kNibbles, Plane::kLow6},
                                {128, 64, Change::kPairs, Plane::kHigh6},
                                {192, 16, Change::kBytes, Plane::kSubScales},
                                {208, 2, Change::kNumber2, Plane::kScale}};

// The fields of each type, in the order of their numbers.
struct TypedLayout {
  TensorType type;
  BlockLayout layout;
};
constexpr TypedLayout kLayouts[] = {
    {TensorType::kF32, {4, kNumber4Fields}},  {TensorType::kF16, {2, kNumber2Fields}},
    {TensorType::kQ4_0, {18, kQ4_0Fields}},   {TensorType::kQ4_1, {20, kQ4_1Fields}},
    {TensorType::kQ5_0, {22, kQ5_0Fields}},   {TensorType::kQ5_1, {24, kQ5_1Fields}},
    {TensorType::kQ8_0, {34, kQ8_0Fields}},   {TensorType::kQ2_K, {84, kQ2KFields}},
    {TensorType::kQ3_K, {110, kQ3KFields}},   {TensorType::kQ4_K, {144, kQ4KFields}},
    {TensorType::kQ5_K, {176, kQ5KFields}},   {TensorType::kQ6_K, {210, kQ6KFields}},
    {TensorType::kIQ4_NL, {18, kQ4_0Fields}}, {TensorType::kI32, {4, kNumber4Fields}},
    {TensorType::kBF16, {2, kNumber2Fields}},
};

constexpr bool CoversItsBlock(const BlockLayout& layout) {
  uint32_t next = 0;
  for (const Field& field : layout.fields) {
    if (field.offset != next) return false;
    next += field.bytes;
  }
  return next == layout.block_bytes;
}
constexpr bool AllCoverTheirBlocks() {
  for (const TypedLayout& typed : kLayouts) {
    if (!CoversItsBlock(typed.layout)) return false;
  }
  return true;
}
static_assert(AllCoverTheirBlocks());

constexpr BlockLayout kPlain = {1, kPlainFields};

// Each of the 8 / kBits fields of a byte by itself: no borrow from one into the next.
template <int kBits>
constexpr uint8_t SubtractParts(uint8_t a, uint8_t b) {
  constexpr uint8_t kTops = kBits == 4 ? 0x88 : 0xAA;
  return static_cast<uint8_t>(((a | kTops) - (b & ~kTops)) ^ ((a ^ ~b) & kTops));
}
template <int kBits>
constexpr uint8_t AddParts(uint8_t a, uint8_t b) {
  constexpr uint8_t kTops = kBits == 4 ? 0x88 : 0xAA;
  return static_cast<uint8_t>(((a & ~kTops) + (b & ~kTops)) ^ ((a ^ b) & kTops));
}

// Floats by value as unsigned numbers: the order of negative ones is turned round.
template <typename T>
constexpr T Ordered(T bits) {
  constexpr T kSign = static_cast<T>(T{1} << (sizeof(T) * 8 - 1));
  return static_cast<T>((bits & kSign) != 0 ? ~bits : bits | kSign);
}
template <typename T>
constexpr T Unordered(T ordered) {
  constexpr T kSign = static_cast<T>(T{1} << (sizeof(T) * 8 - 1));
  return static_cast<T>((ordered & kSign) != 0 ? ordered & ~kSign : ~ordered);
}
// 0, -1, 1, -2, ... -> 0, 1, 2, 3, ...
template <typename T>
constexpr T Folded(T difference) {
  const T sign = static_cast<T>(difference >> (sizeof(T) * 8 - 1));
  return static_cast<T>((difference << 1) ^ static_cast<T>(-sign));
}
template <typename T>
constexpr T Unfolded(T folded) {
  return static_cast<T>((folded >> 1) ^ static_cast<T>(-(folded & 1)));
}

template <typename T>
void SplitNumbers(const uint8_t* from, const uint8_t* to, uint8_t** planes) {
  T a, b;
  std::memcpy(&a, from, sizeof(T));
  std::memcpy(&b, to, sizeof(T));
  const T change = Folded<T>(static_cast<T>(Ordered(b) - Ordered(a)));
  for (size_t i = 0; i < sizeof(T); ++i) *planes[i]++ = static_cast<uint8_t>(change >> (8 * i));
}

template <typename T>
void JoinNumbers(const uint8_t* from, uint8_t** planes, uint8_t* to) {
  T a, change = 0;
  std::memcpy(&a, from, sizeof(T));
  for (size_t i = 0; i < sizeof(T); ++i) {
    change = static_cast<T>(change | static_cast<T>(*planes[i]++) << (8 * i));
  }
  const T b = Unordered<T>(static_cast<T>(Ordered(a) + Unfolded(change)));
  std::memcpy(to, &b, sizeof(T));
}

template <typename Function>
void ForBytes(const Field& field, const uint8_t* a, const uint8_t* b, uint8_t* out,
              Function function) {
  for (int i = 0; i < field.bytes; ++i) out[i] = function(a[i], b[i]);
}

void SplitField(const Field& field, const uint8_t* from, const uint8_t* to, uint8_t** plane) {
  switch (field.change) {
    case Change::kNumber2:
      return SplitNumbers<uint16_t>(from, to, plane);
    case Change::kNumber4:
      return SplitNumbers<uint32_t>(from, to, plane);
    case Change::kBytes:
      ForBytes(field, to, from, *plane,
               [](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a - b); });
      break;
    case Change::kNibbles:
      ForBytes(field, to, from, *plane, SubtractParts<4>);
      break;
    case Change::kPairs:
      ForBytes(field, to, from, *plane, SubtractParts<2>);
      break;
    case Change::kBits:
      ForBytes(field, to, from, *plane,
               [](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a ^ b); });
      break;
  }
  *plane += field.bytes;
}

void JoinField(const Field& field, const uint8_t* from, uint8_t** plane, uint8_t* to) {
  switch (field.change) {
    case Change::kNumber2:
      return JoinNumbers<uint16_t>(from, plane, to);
    case Change::kNumber4:
      return JoinNumbers<uint32_t>(from, plane, to);
    case Change::kBytes:
      ForBytes(field, from, *plane, to,
               [](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a + b); });
      break;
    case Change::kNibbles:
      ForBytes(field, from, *plane, to, AddParts<4>);
      break;
    case Change::kPairs:
      ForBytes(field, from, *plane, to, AddParts<2>);
      break;
    case Change::kBits:
      ForBytes(field, from, *plane, to,
               [](uint8_t a, uint8_t b) { return static_cast<uint8_t>(a ^ b); });
      break;
  }
  *plane += field.bytes;
}

bool IsNumber(Change change) { return change == Change::kNumber2 || change == Change::kNumber4; }

}  // namespace

const BlockLayout& PlainLayout() { return kPlain; }

const BlockLayout& LayoutOf(TensorType type) {
  for (const TypedLayout& typed : kLayouts) {
    if (typed.type == type) return typed.layout;
  }
  LORIKEET_CHECK(false);  // kLayouts lacks a type: a test goes through all of them
  return kPlain;
}

void AddPlaneSizes(const BlockLayout& layout, uint64_t bytes, PlaneSizes* sizes) {
  const uint64_t blocks = bytes / layout.block_bytes;
  for (const Field& field : layout.fields) {
    const size_t plane = static_cast<size_t>(field.plane);
    if (!IsNumber(field.change)) {
      (*sizes)[plane] += blocks * field.bytes;
      continue;
    }
    for (int i = 0; i < field.bytes; ++i) (*sizes)[plane + i] += blocks;
  }
}

void SplitChange(const BlockLayout& layout, std::span<const uint8_t> from,
                 std::span<const uint8_t> to, PlaneCursors* planes) {
  for (const Field& field : layout.fields) {
    uint8_t** const plane = planes->data() + static_cast<size_t>(field.plane);
    for (size_t at = field.offset; at < to.size(); at += layout.block_bytes) {
      SplitField(field, from.data() + at, to.data() + at, plane);
    }
  }
}

void JoinChange(const BlockLayout& layout, std::span<const uint8_t> from, PlaneCursors* planes,
                std::span<uint8_t> to) {
  for (const Field& field : layout.fields) {
    uint8_t** const plane = planes->data() + static_cast<size_t>(field.plane);
    for (size_t at = field.offset; at < to.size(); at += layout.block_bytes) {
      JoinField(field, from.data() + at, plane, to.data() + at);
    }
  }
}

}  // namespace lorikeet
