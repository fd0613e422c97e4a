// Random tensors, double-precision products and numerical derivatives for the tests of kernels/.
#ifndef LORIKEET_TESTS_UNIT_KERNELS_KERNEL_TEST_UTIL_H_
#define LORIKEET_TESTS_UNIT_KERNELS_KERNEL_TEST_UTIL_H_

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "kernels/quant.h"
#include "kernels/views.h"

namespace lorikeet {

// Every test of the suite runs once for each instruction set of the machine.
class KernelTest : public ::testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    previous_ = CurrentIsa();
    ASSERT_TRUE(SetIsaForTest(GetParam()));
  }
  void TearDown() override { SetIsaForTest(previous_); }

 private:
  Isa previous_ = Isa::kReference;
};

inline std::string IsaTestName(const ::testing::TestParamInfo<Isa>& info) {
  return std::string(IsaName(info.param));
}

// An owned [rows, cols] tensor of Gaussian numbers (or zeros, seed 0), with unused elements between
// rows.
struct Tensor {
  Tensor(int64_t r, int64_t c, uint32_t seed, float deviation = 1.0f, int64_t gap = 0)
      : rows(r), cols(c), stride(c + gap), data(static_cast<size_t>(r * (c + gap)), 0.0f) {
    if (seed == 0) return;
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0.0f, deviation);
    for (float& x : data) x = normal(generator);
  }
  Matrix view() { return {data.data(), rows, cols, stride}; }
  ConstMatrix view() const { return {data.data(), rows, cols, stride}; }
  float at(int64_t r, int64_t c) const { return data[static_cast<size_t>(r * stride + c)]; }

  int64_t rows, cols, stride;
  std::vector<float> data;
};

// Where a quantized type's blocks keep half floats.
inline std::vector<int> HalvesOf(TensorType type) {
  switch (type) {
    case TensorType::kQ4_1:
    case TensorType::kQ5_1:
    case TensorType::kQ4_K:
    case TensorType::kQ5_K:
      return {0, 2};
    case TensorType::kQ2_K:
      return {80, 82};
    case TensorType::kQ3_K:
      return {108};
    case TensorType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

// A weight matrix in blocks of `type`, and the numbers it stands for.
struct Weights {
  Weights(TensorType type, int64_t rows, int64_t cols, uint32_t seed)
      : values(rows, cols, seed, 0.5f),
        blocks(static_cast<size_t>(rows * RowBytes(type, cols))),
        view{type, blocks.data(), rows, cols, RowBytes(type, cols)} {
    for (int64_t r = 0; r < rows; ++r) FillRow(type, r, seed);
  }

  Tensor values;
  std::vector<uint8_t> blocks;
  WeightView view;

 private:
  // Types we cannot write get random bytes, with finite scales.
  void FillRow(TensorType type, int64_t r, uint32_t seed) {
    uint8_t* row = blocks.data() + r * view.row_bytes;
    float* row_values = values.view().row(r);
    if (CanQuantize(type)) {
      QuantizeRow(type, row_values, values.cols, row);
    } else {
      std::mt19937 generator(seed + 1000 + static_cast<uint32_t>(r));
      for (int64_t i = 0; i < view.row_bytes; ++i) row[i] = static_cast<uint8_t>(generator());
      SetScales(type, row, generator);
    }
    DequantizeRow(type, row, values.cols, row_values);
  }

  // Overwrites the half-float fields of random blocks by numbers about 1e-3.
  void SetScales(TensorType type, uint8_t* row, std::mt19937& generator) const {
    std::uniform_real_distribution<float> uniform(0.0005f, 0.002f);
    for (int64_t block = 0; block < view.row_bytes; block += TraitsOf(type).block_bytes) {
      for (const int offset : HalvesOf(type)) {
        const uint16_t bits = FloatToHalf(uniform(generator));
        row[block + offset] = static_cast<uint8_t>(bits);
        row[block + offset + 1] = static_cast<uint8_t>(bits >> 8);
      }
    }
  }
};

// Expects |got - want| <= tolerance * bound, where bound is the sum of the magnitudes that were
// added up.
inline void ExpectClose(double got, double want, double bound, double tolerance,
                        const std::string& where) {
  EXPECT_LE(std::fabs(got - want), tolerance * bound + 1e-30)
      << where << ": got " << got << ", expected " << want;
}

// d f / d x[i] for every i by five-point differences; f reads x.
inline std::vector<double> NumericalGradient(std::vector<float>& x,
                                             const std::function<double()>& f, float step = 0.03f) {
  std::vector<double> gradient(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const float original = x[i];
    const auto at = [&](float multiple) {
      x[i] = original + multiple * step;
      return f();
    };
    const double outer = at(2) - at(-2);
    const double inner = at(1) - at(-1);
    gradient[i] = (8 * inner - outer) / (12.0 * static_cast<double>(step));
    x[i] = original;
  }
  return gradient;
}

inline void ExpectGradient(const std::vector<float>& got, const std::vector<double>& want,
                           const std::string& name, double tolerance = 1e-3) {
  ASSERT_EQ(got.size(), want.size());
  double difference = 0;
  double norm = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    norm += want[i] * want[i];
  }
  EXPECT_GT(norm, 0) << name;
  EXPECT_LE(std::sqrt(difference / norm), tolerance)
      << name << ": relative L2 to finite differences";
}

// sum of a * b over the used elements, in double: a scalar loss of output a with gradient b.
inline double Inner(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.cols; ++c) sum += static_cast<double>(a.at(r, c)) * b.at(r, c);
  }
  return sum;
}

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_KERNELS_KERNEL_TEST_UTIL_H_
