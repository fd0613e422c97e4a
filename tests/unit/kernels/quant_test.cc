#include "kernels/quant.h"

#include <gmock/gmock.h>

#include <bit>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/support/shared_data.h"
#include "tests/unit/kernels/kernel_test_util.h"

namespace lorikeet {
namespace {

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<float> ReadFloats(const std::string& path) {
  const std::string bytes = ReadAll(path);
  std::vector<float> floats(bytes.size() / sizeof(float));
  std::memcpy(floats.data(), bytes.data(), floats.size() * sizeof(float));
  return floats;
}

double RowRmse(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(sum / static_cast<double>(n));
}

class QuantTest : public KernelTest {};

TEST_P(QuantTest, DequantizesGoldenBlocksToTheBit) {
  LORIKEET_SHARED_OR_SKIP(directory, "golden/quant");
  const auto description = nlohmann::json::parse(ReadAll(directory + "/quant.json"));
  int compared = 0;
  for (const auto& [name, entry] : description["types"].items()) {
    const auto type = ParseTensorType(name);
    if (!type) continue;  // a type this version does not read
    const std::string blocks = ReadAll(directory + "/" + entry["blocks"].get<std::string>());
    const auto want = ReadFloats(directory + "/" + entry["dequant"].get<std::string>());
    std::vector<float> got(want.size());
    DequantizeRow(*type, reinterpret_cast<const uint8_t*>(blocks.data()),
                  static_cast<int64_t>(got.size()), got.data());
    EXPECT_EQ(0, std::memcmp(got.data(), want.data(), got.size() * sizeof(float))) << name;
    ++compared;
  }
  EXPECT_GE(compared, 13);
}

TEST_P(QuantTest, QuantizationErrorIsNoWorseThanGolden) {
  LORIKEET_SHARED_OR_SKIP(directory, "golden/quant");
  const auto description = nlohmann::json::parse(ReadAll(directory + "/quant.json"));
  const auto source = ReadFloats(directory + "/source.f32");
  const int64_t cols = description["shape"][1];
  for (const auto& [name, entry] : description["types"].items()) {
    const auto type = ParseTensorType(name);
    if (!type || !CanQuantize(*type)) continue;
    const auto rmse = entry["rmse_per_row"].get<std::vector<double>>();
    std::vector<uint8_t> blocks(static_cast<size_t>(RowBytes(*type, cols)));
    std::vector<float> back(static_cast<size_t>(cols));
    for (size_t row = 0; row < rmse.size(); ++row) {
      const float* values = source.data() + static_cast<int64_t>(row) * cols;
      QuantizeRow(*type, values, cols, blocks.data());
      DequantizeRow(*type, blocks.data(), cols, back.data());
      EXPECT_LE(RowRmse(values, back.data(), cols), 1.03 * rmse[row] + 1e-12)
          << name << " row " << row;
    }
  }
}

TEST_P(QuantTest, HalfRowsMatchTheScalarConversion) {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  std::vector<float> got(halves.size());
  DequantizeRow(TensorType::kF16, reinterpret_cast<const uint8_t*>(halves.data()), 65536,
                got.data());
  for (size_t i = 0; i < halves.size(); ++i) {
    const float want = HalfToFloat(halves[i]);
    if (std::isnan(want)) {
      EXPECT_TRUE(std::isnan(got[i])) << i;
    } else {
      EXPECT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(want)) << i;
    }
  }
}

// Both nearest levels are at most half a step away, plus the rounding of the half-float scale
// (2^-11 of a value).
TEST_P(QuantTest, RoundTripStaysWithinHalfAStep) {
  struct Case {
    TensorType type;
    double step;  // as a part of the largest magnitude (symmetric) or of the range (affine)
  };
  for (const auto& [type, step] :
       {Case{TensorType::kQ8_0, 1.0 / 127}, Case{TensorType::kQ4_0, 1.0 / 8},
        Case{TensorType::kQ5_0, 1.0 / 16}, Case{TensorType::kQ4_1, 2.0 / 15},
        Case{TensorType::kQ5_1, 2.0 / 31}}) {
    const Tensor x(40, 32, 11);
    std::vector<uint8_t> block(static_cast<size_t>(RowBytes(type, 32)));
    float back[32];
    for (int64_t r = 0; r < x.rows; ++r) {
      const float* row = x.view().row(r);
      double largest = 0;
      for (int i = 0; i < 32; ++i)
        largest = std::max(largest, std::fabs(static_cast<double>(row[i])));
      QuantizeRow(type, row, 32, block.data());
      DequantizeRow(type, block.data(), 32, back);
      // The level next to the opposite extreme may be missing in symmetric types: a whole step
      // there.
      for (int i = 0; i < 32; ++i) {
        EXPECT_NEAR(back[i], row[i], largest * (step + 1.0 / 1024)) << TraitsOf(type).name;
      }
    }
  }
}

double GaussianRmse(TensorType type, float scale) {
  constexpr int64_t kValues = 64 * 256;
  const Tensor x(64, 256, 12);
  std::vector<float> values(x.view().row(0), x.view().row(0) + kValues);
  for (float& value : values) value *= scale;
  std::vector<uint8_t> blocks(static_cast<size_t>(RowBytes(type, kValues)));
  std::vector<float> back(static_cast<size_t>(kValues));
  QuantizeRow(type, values.data(), kValues, blocks.data());
  DequantizeRow(type, blocks.data(), kValues, back.data());
  return RowRmse(values.data(), back.data(), kValues) / scale;
}

// The searches earn what the shared scales cost: fewer bits a weight, and no larger error than
// formats that span each block's range.
TEST_P(QuantTest, SearchedTypesLoseNoMoreThanLargerPlainOnes) {
  for (const float scale : {1e-3f, 1.0f, 1e3f}) {
    EXPECT_LT(GaussianRmse(TensorType::kQ4_K, scale), GaussianRmse(TensorType::kQ4_1, scale));
    EXPECT_LT(GaussianRmse(TensorType::kQ5_K, scale), GaussianRmse(TensorType::kQ5_1, scale));
    EXPECT_LT(GaussianRmse(TensorType::kQ6_K, scale), 0.6 * GaussianRmse(TensorType::kQ5_K, scale));
  }
}

TEST_P(QuantTest, SearchedTypesKeepOddRows) {
  std::vector<std::pair<const char*, std::vector<float>>> rows;
  rows.emplace_back("zeros", std::vector<float>(256, 0.0f));
  rows.emplace_back("constant", std::vector<float>(256, 0.37f));
  rows.emplace_back("negative constant", std::vector<float>(256, -0.37f));
  rows.emplace_back("smallest normal", std::vector<float>(256, 1e-38f));
  rows.emplace_back("largest half", std::vector<float>(256, 65504.0f));
  rows.emplace_back("one value", std::vector<float>(256, 0.0f)).second[77] = -5.0f;
  for (const TensorType type : {TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K}) {
    for (const auto& [name, row] : rows) {
      std::vector<uint8_t> block(static_cast<size_t>(RowBytes(type, 256)));
      float back[256];
      QuantizeRow(type, row.data(), 256, block.data());
      DequantizeRow(type, block.data(), 256, back);
      for (int i = 0; i < 256; ++i) {
        EXPECT_NEAR(back[i], row[i], 0.002 * std::fabs(row[77]) + 1e-7)
            << TraitsOf(type).name << " " << name << " value " << i;
      }
    }
  }
}

// Values near the smallest step of a half float: rounding them must not make them worse than zeros.
TEST_P(QuantTest, SearchedTypesNeverLoseMoreThanEverything) {
  for (const TensorType type : {TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K}) {
    for (const float scale : {1e-9f, 1e-8f, 3e-8f, 1e-7f, 1e-6f}) {
      EXPECT_LE(GaussianRmse(type, scale), 1.1) << TraitsOf(type).name << " " << scale;
    }
  }
}

TEST(HalfTest, ConvertsBackAndForth) {
  for (uint32_t i = 0; i < 65536; ++i) {
    const auto half = static_cast<uint16_t>(i);
    const float value = HalfToFloat(half);
    if (!std::isnan(value)) {
      EXPECT_EQ(FloatToHalf(value), half);
    }
    const float wide = Bf16ToFloat(half);
    if (!std::isnan(wide)) {
      EXPECT_EQ(FloatToBf16(wide), half);
    }
  }
}

TEST(HalfTest, RoundsToNearestEven) {
  EXPECT_EQ(FloatToHalf(1.0f + 0x1p-11f), 0x3c00);      // tie: down to even
  EXPECT_EQ(FloatToHalf(1.0f + 3 * 0x1p-11f), 0x3c02);  // tie: up to even
  EXPECT_EQ(FloatToHalf(1.0f + 0x1p-11f + 0x1p-20f), 0x3c01);
  EXPECT_EQ(FloatToHalf(65519.0f), 0x7bff);
  EXPECT_EQ(FloatToHalf(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToHalf(-1e30f), 0xfc00);
  EXPECT_EQ(FloatToHalf(0x1p-25f), 0);  // tie with zero
  EXPECT_EQ(FloatToHalf(0x1.8p-25f), 1);
  EXPECT_EQ(FloatToBf16(1.0f + 0x1p-8f), 0x3f80);
  EXPECT_EQ(FloatToBf16(1.0f + 3 * 0x1p-8f), 0x3f82);
  EXPECT_TRUE(std::isnan(HalfToFloat(FloatToHalf(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(Bf16ToFloat(FloatToBf16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(IsaTest, NamesAndChoice) {
  const auto isas = AvailableIsas();
  ASSERT_FALSE(isas.empty());
  EXPECT_EQ(isas.front(), Isa::kReference);
  for (const Isa isa : isas) {
    EXPECT_EQ(ParseIsa(IsaName(isa)), isa);
    EXPECT_TRUE(SetIsaForTest(isa));
    EXPECT_EQ(CurrentIsa(), isa);
  }
  EXPECT_EQ(ParseIsa("mmx"), std::nullopt);
  SetIsaForTest(isas.back());
}

INSTANTIATE_TEST_SUITE_P(Isas, QuantTest, ::testing::ValuesIn(AvailableIsas()), IsaTestName);

}  // namespace
}  // namespace lorikeet
