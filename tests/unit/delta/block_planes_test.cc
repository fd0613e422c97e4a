#include "common/delta/block_planes.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "common/base/random.h"

namespace lorikeet {
namespace {

constexpr TensorType kTypes[] = {TensorType::kF32,  TensorType::kF16,    TensorType::kQ4_0,
                                 TensorType::kQ4_1, TensorType::kQ5_0,   TensorType::kQ5_1,
                                 TensorType::kQ8_0, TensorType::kQ2_K,   TensorType::kQ3_K,
                                 TensorType::kQ4_K, TensorType::kQ5_K,   TensorType::kQ6_K,
                                 TensorType::kI32,  TensorType::kIQ4_NL, TensorType::kBF16};

std::vector<uint8_t> RandomBytes(size_t count, uint64_t seed) {
  Rng rng(seed);
  std::vector<uint8_t> bytes(count);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(rng.Below(256));
  return bytes;
}

PlaneCursors CursorsInto(const PlaneSizes& sizes, std::vector<uint8_t>* memory) {
  PlaneCursors cursors = {};
  size_t at = 0;
  for (int i = 0; i < kPlanes; ++i) {
    cursors[i] = memory->data() + at;
    at += sizes[i];
  }
  return cursors;
}

TEST(BlockPlanesTest, EveryKnownTypeHasALayoutOfItsBlock) {
  int known = 0;
  for (uint32_t number = 0; number < 64; ++number) {
    const TensorTypeTraits* const traits = FindTensorType(number);
    if (traits == nullptr) continue;
    ++known;
    EXPECT_EQ(LayoutOf(traits->type).block_bytes, static_cast<uint32_t>(traits->block_bytes))
        << traits->name;
  }
  EXPECT_EQ(known, static_cast<int>(std::size(kTypes)));
}

TEST(BlockPlanesTest, AnyBytesComeBackFromTheirPlanes) {
  for (const TensorType type : kTypes) {
    const BlockLayout& layout = LayoutOf(type);
    const size_t bytes = layout.block_bytes * 97;
    const auto from = RandomBytes(bytes, 1), to = RandomBytes(bytes, 2);
    PlaneSizes sizes = {};
    AddPlaneSizes(layout, bytes, &sizes);
    ASSERT_EQ(std::accumulate(sizes.begin(), sizes.end(), uint64_t{0}), bytes);
    std::vector<uint8_t> planes(bytes), back(bytes);
    PlaneCursors cursors = CursorsInto(sizes, &planes);
    SplitChange(layout, from, to, &cursors);
    cursors = CursorsInto(sizes, &planes);
    JoinChange(layout, from, &cursors, back);
    EXPECT_EQ(back, to) << TraitsOf(type).name;
  }
}

TEST(BlockPlanesTest, EqualBytesGiveZeros) {
  for (const TensorType type : kTypes) {
    const BlockLayout& layout = LayoutOf(type);
    const auto bytes = RandomBytes(layout.block_bytes * 5, 3);
    PlaneSizes sizes = {};
    AddPlaneSizes(layout, bytes.size(), &sizes);
    std::vector<uint8_t> planes(bytes.size(), 1);
    PlaneCursors cursors = CursorsInto(sizes, &planes);
    SplitChange(layout, bytes, bytes, &cursors);
    EXPECT_EQ(planes, std::vector<uint8_t>(bytes.size(), 0)) << TraitsOf(type).name;
  }
}

// One step of one quant is one byte of one plane: nothing is borrowed from the quant beside it.
TEST(BlockPlanesTest, QuantsOfAByteChangeByThemselves) {
  const BlockLayout& layout = LayoutOf(TensorType::kQ4_0);
  std::vector<uint8_t> from(18, 0), to(18, 0), planes(18, 0);
  from[2] = 0x50;
  to[2] = 0x5F;  // the low quant goes from 0 to -1 modulo 16
  from[3] = 0x0F;
  to[3] = 0x10;  // both change by one
  PlaneSizes sizes = {};
  AddPlaneSizes(layout, 18, &sizes);
  PlaneCursors cursors = CursorsInto(sizes, &planes);
  SplitChange(layout, from, to, &cursors);
  EXPECT_EQ(planes[2], 0x0F);
  EXPECT_EQ(planes[3], 0x11);
}

// The next float up or down is one step, also across zero; the sign is in the lowest bit.
TEST(BlockPlanesTest, FloatsChangeByTheirOrder) {
  const BlockLayout& layout = LayoutOf(TensorType::kF16);
  const auto change = [&](uint16_t a, uint16_t b) {
    std::vector<uint8_t> from = {static_cast<uint8_t>(a), static_cast<uint8_t>(a >> 8)};
    std::vector<uint8_t> to = {static_cast<uint8_t>(b), static_cast<uint8_t>(b >> 8)};
    std::vector<uint8_t> planes(2);
    PlaneSizes sizes = {};
    AddPlaneSizes(layout, 2, &sizes);
    PlaneCursors cursors = CursorsInto(sizes, &planes);
    SplitChange(layout, from, to, &cursors);
    return planes[0] | planes[1] << 8;
  };
  EXPECT_EQ(change(0x3C00, 0x3C01), 2);  // up from 1
  EXPECT_EQ(change(0x3C00, 0x3BFF), 1);  // down from 1, into another exponent
  EXPECT_EQ(change(0xBC00, 0xBC01), 1);  // down from -1
  EXPECT_EQ(change(0x8001, 0x0001), 6);  // from the smallest negative over both zeros
}

}  // namespace
}  // namespace lorikeet
