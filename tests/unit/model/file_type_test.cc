#include "device/model/file_type.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace lorikeet {
namespace {

constexpr int kLayers = 24;

TensorType Choose(FileType type, std::string_view name, int64_t columns = 1024, bool tied = true) {
  return ChooseTensorType(type, {.layer_count = kLayers, .tied_output = tied}, name, {columns, 512},
                          TensorType::kF16);
}

TEST(FileTypeTest, NamesGoBothWays) {
  for (const char* name : {"F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K_S",
                           "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K"}) {
    const auto type = ParseFileType(name);
    ASSERT_TRUE(type.has_value()) << name;
    EXPECT_EQ(FileTypeName(*type), name);
    EXPECT_NE(FileTypeNames().find(name), std::string::npos);
  }
  EXPECT_EQ(ParseFileType("q4_k"), FileType::kQ4_K_M);
  EXPECT_FALSE(ParseFileType("Q4").has_value());
  EXPECT_FALSE(ParseFileType("").has_value());
}

TEST(FileTypeTest, NormsVectorsAndBiasesKeepTheirType) {
  const ModelOutline model = {.layer_count = kLayers};
  for (const char* name : {"blk.0.attn_norm.weight", "blk.0.attn_q_norm.weight"}) {
    EXPECT_EQ(ChooseTensorType(FileType::kQ4_0, model, name, {64, 2}, TensorType::kF32),
              TensorType::kF32);
  }
  EXPECT_EQ(ChooseTensorType(FileType::kF16, model, "rope_freqs.weight", {32}, TensorType::kF32),
            TensorType::kF32);
  EXPECT_EQ(
      ChooseTensorType(FileType::kQ8_0, model, "blk.0.attn_q.bias", {64, 1}, TensorType::kF32),
      TensorType::kF32);
}

// The first three and the last three of 24 layers, and every third between.
TEST(FileTypeTest, MediumMixesGiveSomeLayersMoreBits) {
  const std::vector<int> more = {0, 1, 2, 5, 8, 11, 14, 17, 20, 21, 22, 23};
  for (int layer = 0; layer < kLayers; ++layer) {
    const bool wants = std::find(more.begin(), more.end(), layer) != more.end();
    for (const char* suffix : {"attn_v.weight", "ffn_down.weight"}) {
      const std::string name = absl::StrCat("blk.", layer, ".", suffix);
      EXPECT_EQ(Choose(FileType::kQ4_K_M, name), wants ? TensorType::kQ6_K : TensorType::kQ4_K)
          << name;
      EXPECT_EQ(Choose(FileType::kQ5_K_M, name), wants ? TensorType::kQ6_K : TensorType::kQ5_K)
          << name;
      EXPECT_EQ(Choose(FileType::kQ5_K_S, name), TensorType::kQ5_K) << name;
      EXPECT_EQ(Choose(FileType::kQ4_0, name), TensorType::kQ4_0) << name;
    }
    EXPECT_EQ(Choose(FileType::kQ4_K_S, absl::StrCat("blk.", layer, ".attn_v.weight")),
              layer < 4 ? TensorType::kQ5_K : TensorType::kQ4_K);
    EXPECT_EQ(Choose(FileType::kQ4_K_S, absl::StrCat("blk.", layer, ".ffn_down.weight")),
              layer < 3 ? TensorType::kQ5_K : TensorType::kQ4_K);
    EXPECT_EQ(Choose(FileType::kQ4_K_M, absl::StrCat("blk.", layer, ".attn_q.weight")),
              TensorType::kQ4_K);
  }
}

TEST(FileTypeTest, TheOutputKeepsSixBits) {
  EXPECT_EQ(Choose(FileType::kQ4_0, "token_embd.weight"), TensorType::kQ6_K);
  EXPECT_EQ(Choose(FileType::kQ4_0, "token_embd.weight", 1024, false), TensorType::kQ4_0);
  EXPECT_EQ(Choose(FileType::kQ4_0, "output.weight", 1024, false), TensorType::kQ6_K);
  EXPECT_EQ(Choose(FileType::kQ8_0, "output.weight", 1024, false), TensorType::kQ8_0);
  EXPECT_EQ(Choose(FileType::kF16, "output.weight", 1024, false), TensorType::kF16);
  // Rows of 896: no K-quant fits.
  EXPECT_EQ(Choose(FileType::kQ4_0, "token_embd.weight", 896), TensorType::kQ8_0);
  EXPECT_EQ(Choose(FileType::kQ4_K_M, "token_embd.weight", 896), TensorType::kQ8_0);
}

TEST(FileTypeTest, LargeModelsWithSharedValuesGiveThemMoreBits) {
  const ModelOutline model = {.layer_count = 80, .grouped_heads = true};
  EXPECT_EQ(ChooseTensorType(FileType::kQ4_K_M, model, "blk.11.attn_v.weight", {8192, 1024},
                             TensorType::kF16),
            TensorType::kQ5_K);
}

}  // namespace
}  // namespace lorikeet
