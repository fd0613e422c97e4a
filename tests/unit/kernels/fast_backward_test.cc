// MatMulFastBackward: to the precision of float sums the product of both factors as they are
// rounded, and so the exact product within what rounding to 8 bit costs.
#include <algorithm>
#include <limits>

#include "common/base/thread_pool.h"
#include "kernels/fast_matmul.h"
#include "kernels/kernel_table.h"
#include "kernels/matmul.h"
#include "tests/unit/kernels/kernel_test_util.h"

namespace lorikeet {
namespace {

constexpr TensorType kQuantized[] = {TensorType::kQ8_0, TensorType::kQ4_0,  TensorType::kQ4_1,
                                     TensorType::kQ5_0, TensorType::kQ5_1,  TensorType::kQ2_K,
                                     TensorType::kQ3_K, TensorType::kQ4_K,  TensorType::kQ5_K,
                                     TensorType::kQ6_K, TensorType::kIQ4_NL};

// Gradients [t, oc], zeros up to the next multiple of 32, and what they are rounded to.
struct Gradients {
  Gradients(int64_t t, int64_t oc, uint32_t seed)
      : values(t, (oc + 31) / 32 * 32, seed, 1.0f, 3),
        scratch(static_cast<size_t>(RoundedBytes(t, values.cols)) + 1) {
    for (int64_t i = 0; i < t; ++i)
      std::fill(values.view().row(i) + oc, values.view().row(i + 1), 0.0f);
    Round();
  }
  void Round() {
    rounded = RoundActivations(std::as_const(values).view(), scratch.data() + 1, nullptr);
  }
  Gradients(Gradients&&) = default;  // the views stay right; after a copy they would not

  Tensor values;
  std::vector<uint8_t> scratch;
  RoundedActivations rounded;
};

// The largest weights of 32 rows become +-127.
Tensor RoundedColumns(const Tensor& w) {
  Tensor rounded = w;
  for (int64_t o = 0; o < w.rows; o += 32) {
    const int64_t end = std::min(w.rows, o + 32);
    for (int64_t c = 0; c < w.cols; ++c) {
      float largest = 0;
      for (int64_t r = o; r < end; ++r) largest = std::max(largest, std::fabs(w.at(r, c)));
      const float inverse = std::min(127.0f / largest, std::numeric_limits<float>::max());
      for (int64_t r = o; r < end; ++r) {
        rounded.view().row(r)[c] = largest / 127.0f * std::nearbyint(w.at(r, c) * inverse);
      }
    }
  }
  return rounded;
}

// The product of rounded factors differs by the rounding of scales (2^-22 of each term) and of
// OC / 32 sums.
void ExpectRoundedProduct(const RoundedActivations& d_y, const Tensor& w, const Tensor& before,
                          bool accumulate, const Tensor& d_x, const std::string& name) {
  const Tensor rounded = RoundedColumns(w);
  const double tolerance = std::ldexp(static_cast<double>(w.rows / 32 + 8), -24);
  for (int64_t t = 0; t < d_x.rows; ++t) {
    for (int64_t c = 0; c < d_x.cols; ++c) {
      double want = accumulate ? static_cast<double>(before.at(t, c)) : 0.0;
      double bound = std::fabs(want);
      for (int64_t o = 0; o < w.rows; ++o) {
        const double term = static_cast<double>(d_y.scales[t * d_y.scale_stride + o / 32]) *
                            d_y.q[t * d_y.q_stride + o] * rounded.at(o, c);
        want += term;
        bound += std::fabs(term);
      }
      ASSERT_LE(std::fabs(d_x.at(t, c) - want), tolerance * bound + 1e-30)
          << name << " row " << t << " column " << c << ": got " << d_x.at(t, c) << ", expected "
          << want;
    }
  }
}

void FillNan(Tensor& x) {
  for (int64_t t = 0; t < x.rows; ++t) {
    std::fill_n(x.view().row(t), x.cols, std::numeric_limits<float>::quiet_NaN());
  }
}

std::string NameOf(TensorType type, int64_t t, int64_t oc, int64_t c) {
  return std::string(TraitsOf(type).name) + " T=" + std::to_string(t) +
         " OC=" + std::to_string(oc) + " C=" + std::to_string(c);
}

class FastBackwardTest : public KernelTest {};

TEST_P(FastBackwardTest, IsTheProductOfRoundedFactors) {
  if (Kernels().wants_bf16) GTEST_SKIP() << "batches are not of bytes here";
  for (const TensorType type : kQuantized) {
    for (const int64_t c : {32, 96, 256, 288, 512}) {
      if (c % TraitsOf(type).block_elements != 0) continue;
      for (const auto& [t, oc] : {std::pair{1, 1}, std::pair{5, 33}, std::pair{33, 100},
                                  std::pair{7, 128}, std::pair{2, 600}}) {
        const Weights w(type, oc, c, 7);
        const Gradients d_y(t, oc, 3);
        const bool accumulate = t == 5 || oc == 600;
        Tensor d_x(t, c, 11, 1.0f, 5);
        const Tensor before = d_x;
        if (!accumulate) FillNan(d_x);
        const FastBackwardProduct product{.d_y = d_y.rounded, .w = w.view};
        MatMulFastBackward({&product, 1}, d_x.view(), accumulate, nullptr);
        ExpectRoundedProduct(d_y.rounded, w.values, before, accumulate, d_x,
                             NameOf(type, t, oc, c));
        for (int64_t i = 0; i < t; ++i) {
          for (int64_t j = c; j < d_x.stride; ++j) ASSERT_EQ(d_x.at(i, j), before.at(i, j));
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Each factor is off by at most largest / 254, evenly spread: for Gaussian numbers, of which the
// largest of 32 is about 2.1 (and seldom 3.5) deviations, that is about 0.5 % for each, 0.7 %
// together.
TEST_P(FastBackwardTest, StaysNearTheExactProduct) {
  ThreadPool pool(2);
  for (const TensorType type : kQuantized) {
    for (const auto& [t, oc] : {std::pair{1, 100}, std::pair{5, 33}, std::pair{33, 160}}) {
      const int64_t c = 512;
      const Weights w(type, oc, c, 7);
      const Gradients d_y(t, oc, 3);
      Tensor d_x(t, c, 0);
      const FastBackwardProduct product{.d_y = d_y.rounded, .w = w.view};
      MatMulFastBackward({&product, 1}, d_x.view(), /*accumulate=*/false, &pool);
      double difference = 0;
      double norm = 0;
      for (int64_t i = 0; i < t; ++i) {
        for (int64_t j = 0; j < c; ++j) {
          double want = 0;
          for (int64_t o = 0; o < oc; ++o) {
            want += static_cast<double>(d_y.values.at(i, o)) * w.values.at(o, j);
          }
          difference += (d_x.at(i, j) - want) * (d_x.at(i, j) - want);
          norm += want * want;
        }
      }
      EXPECT_GT(norm, 0);
      EXPECT_LE(std::sqrt(difference / norm), 0.015) << NameOf(type, t, oc, c);
    }
  }
}

// Several products, one of float weights, the same bits for any number of threads.
TEST_P(FastBackwardTest, SumsProductsAlikeForAnyNumberOfThreads) {
  const int64_t c = 1280;
  const std::pair<TensorType, int64_t> kinds[] = {{TensorType::kQ4_0, 1000},
                                                  {TensorType::kF16, 40},
                                                  {TensorType::kQ8_0, 33},
                                                  {TensorType::kQ6_K, 70}};
  std::vector<Weights> weights;
  for (const auto& [type, rows] : kinds) weights.emplace_back(type, rows, c, 7);
  for (const int64_t t : {3, 40}) {
    for (const bool accumulate : {false, true}) {
      std::vector<Gradients> d_y;
      std::vector<FastBackwardProduct> products;
      for (const Weights& w : weights) d_y.emplace_back(t, w.view.rows, 4 + d_y.size());
      for (size_t i = 0; i < d_y.size(); ++i) products.push_back({d_y[i].rounded, weights[i].view});
      Tensor want(t, c, 9);
      const Tensor before = want;
      for (size_t i = 0; i < products.size(); ++i) {
        MatMulFastBackward({&products[i], 1}, want.view(), accumulate || i > 0, nullptr);
      }
      for (const int threads : {1, 2, 3, 5}) {
        ThreadPool pool(threads);
        Tensor d_x = before;
        MatMulFastBackward(products, d_x.view(), accumulate, &pool);
        EXPECT_EQ(d_x.data, want.data) << threads << " threads, T=" << t;
      }
      EXPECT_NE(want.data, before.data);
    }
  }
}

TEST_P(FastBackwardTest, FloatWeightsAndOddWidthsUseTheFloats) {
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16}) {
    const Weights w(type, 50, 45, 7);
    const Tensor d_y(6, 50, 3);
    std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(6, 50)));
    const FastBackwardProduct product{RoundActivations(d_y.view(), scratch.data(), nullptr),
                                      w.view};
    Tensor d_x(6, 45, 5);
    Tensor want = d_x;
    MatMulFastBackward({&product, 1}, d_x.view(), /*accumulate=*/true, nullptr);
    MatMulBackwardInput(d_y.view(), w.view, want.view(), nullptr);
    EXPECT_EQ(d_x.data, want.data) << TraitsOf(type).name;
  }
  // 50 columns are not whole groups of 32: quantized weights with the floats, too.
  const Weights w(TensorType::kQ4_0, 50, 64, 7);
  const Tensor d_y(6, 50, 3);
  std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(6, 50)));
  const RoundedActivations rounded = RoundActivations(d_y.view(), scratch.data(), nullptr);
  if (rounded.bf16 != nullptr) return;
  const FastBackwardProduct product{rounded, w.view};
  Tensor d_x(6, 64, 5);
  Tensor want(6, 64, 0);
  MatMulFastBackward({&product, 1}, d_x.view(), /*accumulate=*/false, nullptr);
  MatMulBackwardInput(d_y.view(), w.view, want.view(), nullptr);
  EXPECT_EQ(d_x.data, want.data);
}

TEST_P(FastBackwardTest, ARangeOfColumnsLeavesTheOthersAlone) {
  const Weights w(TensorType::kQ4_0, 100, 320, 7);
  const Gradients d_y(8, 100, 3);
  Tensor whole(8, 320, 0);
  Kernels().mat_mul_batch_backward(d_y.rounded, w.view, whole.view(), 0, 320, false);
  for (const auto& [begin, end] : {std::pair{32, 64}, std::pair{64, 320}, std::pair{0, 288}}) {
    Tensor d_x(8, 320, 9);
    const Tensor before = d_x;
    Kernels().mat_mul_batch_backward(d_y.rounded, w.view, d_x.view(), begin, end, false);
    for (int64_t t = 0; t < 8; ++t) {
      for (int64_t c = 0; c < 320; ++c) {
        const bool inside = c >= begin && c < end;
        ASSERT_EQ(d_x.at(t, c), inside ? whole.at(t, c) : before.at(t, c)) << t << " " << c;
        ASSERT_EQ(d_x.at(t, c) != before.at(t, c), inside) << t << " " << c;
      }
    }
  }
}

TEST_P(FastBackwardTest, TakesZerosExtremesAndNothing) {
  // Blocks of zeros, of equal numbers of either sign, and one number among zeros.
  Tensor values(64, 64, 0);
  for (int64_t o = 0; o < 32; ++o) {
    for (int64_t c = 0; c < 32; ++c) values.view().row(o)[c] = o % 2 == 0 ? 1e4f : -1e4f;
  }
  values.view().row(40)[63] = 1e-3f;
  Weights w(TensorType::kQ8_0, 64, 64, 7);
  for (int64_t o = 0; o < 64; ++o) {
    uint8_t* row = w.blocks.data() + o * w.view.row_bytes;
    QuantizeRow(TensorType::kQ8_0, values.view().row(o), 64, row);
    DequantizeRow(TensorType::kQ8_0, row, 64, w.values.view().row(o));
  }
  Gradients d_y(10, 64, 3);
  for (int64_t o = 0; o < 64; ++o) {
    d_y.values.view().row(0)[o] = 0;
    d_y.values.view().row(1)[o] = o % 2 == 0 ? 1.0f : -1.0f;
    d_y.values.view().row(2)[o] = -1.0f;
  }
  d_y.Round();
  const FastBackwardProduct product{d_y.rounded, w.view};
  Tensor d_x(10, 64, 1);
  MatMulFastBackward({&product, 1}, d_x.view(), /*accumulate=*/false, nullptr);
  for (int64_t c = 0; c < 64; ++c) {
    EXPECT_EQ(d_x.at(0, c), 0.0f);
    const double want = c < 32    ? 32 * 1e4
                        : c == 63 ? static_cast<double>(w.values.at(40, 63))
                                  : 0.0;
    EXPECT_NEAR(d_x.at(1, c), want, 1e-3 * std::fabs(want)) << c;
    EXPECT_NEAR(d_x.at(2, c), c == 63 ? -want : 0.0, 1e-3 * std::fabs(want)) << c;
  }
  MatMulFastBackward({}, d_x.view(), /*accumulate=*/true, nullptr);
  EXPECT_NE(d_x.at(1, 0), 0.0f);
  MatMulFastBackward({}, d_x.view(), /*accumulate=*/false, nullptr);
  EXPECT_EQ(d_x.data, std::vector<float>(d_x.data.size(), 0.0f));
}

INSTANTIATE_TEST_SUITE_P(Isas, FastBackwardTest, ::testing::ValuesIn(AvailableIsas()), IsaTestName);

}  // namespace
}  // namespace lorikeet
