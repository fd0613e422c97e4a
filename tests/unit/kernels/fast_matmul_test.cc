#include "kernels/fast_matmul.h"

#include <cstring>
#include <limits>

#include "common/base/thread_pool.h"
#include "kernels/kernel_table.h"
#include "tests/unit/kernels/kernel_test_util.h"

namespace lorikeet {
namespace {

constexpr TensorType kQuantized[] = {TensorType::kQ8_0, TensorType::kQ4_0,  TensorType::kQ4_1,
                                     TensorType::kQ5_0, TensorType::kQ5_1,  TensorType::kQ2_K,
                                     TensorType::kQ3_K, TensorType::kQ4_K,  TensorType::kQ5_K,
                                     TensorType::kQ6_K, TensorType::kIQ4_NL};

constexpr float kLargestScale = 0.002f;  // of a block of random weights

// Blocks whose bytes come from `next_byte`, with scales of either sign, and what they stand for.
struct Blocks {
  template <typename NextByte>
  Blocks(TensorType type, int64_t rows, int64_t cols, NextByte next_byte)
      : bytes(static_cast<size_t>(rows * RowBytes(type, cols))),
        view{type, bytes.data(), rows, cols, RowBytes(type, cols)},
        values(rows, cols, 0) {
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(next_byte());
    std::mt19937 generator(3);
    std::uniform_real_distribution<float> uniform(0.0005f, kLargestScale);
    for (size_t at = 0; at < bytes.size(); at += static_cast<size_t>(TraitsOf(type).block_bytes)) {
      for (const int offset : HalvesOf(type)) {
        const uint16_t bits =
            FloatToHalf(generator() % 4 == 0 ? -uniform(generator) : uniform(generator));
        std::memcpy(bytes.data() + at + offset, &bits, sizeof(bits));
      }
    }
    for (int64_t r = 0; r < rows; ++r) DequantizeRow(type, view.row(r), cols, values.view().row(r));
  }
  Blocks(Blocks&&) = default;  // the view stays right; after a copy it would not

  std::vector<uint8_t> bytes;
  WeightView view;
  Tensor values;
};

Blocks RandomBlocks(TensorType type, int64_t rows, int64_t cols) {
  return {type, rows, cols, std::mt19937(static_cast<uint32_t>(rows * 1000 + cols))};
}

// x rounded, with the scratch it lies in.
struct Rounded {
  explicit Rounded(const Tensor& x, ThreadPool* pool = nullptr)
      : scratch(static_cast<size_t>(RoundedBytes(x.rows, x.cols)) + 1),
        view(RoundActivations(x.view(), scratch.data() + 1, pool)) {}
  double at(int64_t t, int64_t k) const {
    return static_cast<double>(view.scales[t * view.scale_stride + k / 32]) *
           view.q[t * view.q_stride + k];
  }
  std::vector<uint8_t> scratch;
  RoundedActivations view;
};

// The integer part is exact, so only K / 16 sums of floats and the rounding of scales are off, each
// by 2^-24 of what is summed up; of which the largest weight gives a bound, since kernels may add
// a constant to the weights of a row and take it off again.
void ExpectProduct(const Rounded& x, const Blocks& w, const Tensor& before, bool accumulate,
                   const Tensor& y, const std::string& name) {
  const int64_t columns = w.view.cols;
  const double tolerance = std::ldexp(static_cast<double>(columns / 16 + 4), -24);
  std::vector<double> row(static_cast<size_t>(columns));
  for (int64_t t = 0; t < y.rows; ++t) {
    double total = 0;
    for (int64_t k = 0; k < columns; ++k) {
      row[static_cast<size_t>(k)] = x.at(t, k);
      total += std::fabs(x.at(t, k));
    }
    for (int64_t o = 0; o < y.cols; ++o) {
      double want = accumulate ? static_cast<double>(before.at(t, o)) : 0.0;
      double largest = 8 * kLargestScale;
      for (int64_t k = 0; k < columns; ++k) {
        want += row[static_cast<size_t>(k)] * static_cast<double>(w.values.at(o, k));
        largest = std::max(largest, std::fabs(static_cast<double>(w.values.at(o, k))));
      }
      const double got = y.at(t, o);
      const double bound = tolerance * (largest * total + std::fabs(want)) + 1e-30;
      ASSERT_LE(std::fabs(got - want), bound)
          << name << " row " << t << " column " << o << ": got " << got << ", expected " << want;
    }
  }
}

// y is NaN (or random, with `accumulate`) before; of the gaps between its rows nothing may change.
void RunBatch(const Rounded& x, const Blocks& w, bool accumulate, const std::string& name) {
  const int64_t t_count = x.view.x.rows;
  Tensor y(t_count, w.view.rows, 11, 1.0f, 5);
  if (!accumulate) {
    for (int64_t t = 0; t < t_count; ++t) {
      std::fill_n(y.view().row(t), y.cols, std::numeric_limits<float>::quiet_NaN());
    }
  }
  const Tensor before = y;
  Kernels().mat_mul_batch(x.view, w.view, y.view(), 0, w.view.rows, accumulate);
  ExpectProduct(x, w, before, accumulate, y, name);
  for (int64_t t = 0; t < t_count; ++t) {
    for (int64_t o = y.cols; o < y.stride; ++o) ASSERT_EQ(y.at(t, o), before.at(t, o)) << name;
  }
}

class FastMatMulTest : public KernelTest {
 protected:
  void SetUp() override {
    KernelTest::SetUp();
    if (Kernels().wants_bf16) GTEST_SKIP() << "batches are products of bfloat16 here";
  }
};

TEST_P(FastMatMulTest, BatchesOfEveryTypeAndShapeMatchDouble) {
  int shapes = 0;
  for (const TensorType type : kQuantized) {
    for (const int64_t columns : {32, 64, 96, 512, 768, 896, 1056, 1280}) {
      if (columns % TraitsOf(type).block_elements != 0) continue;
      const Blocks w = RandomBlocks(type, columns == 512 ? 70 : 33, columns);
      for (const int64_t t_count : {1, 5, 7, 13, 64, 130}) {
        if (t_count > 13 && columns != 96 && columns != 768) continue;
        const Tensor x(t_count, columns, 5, 1.0f, 3);
        const std::string name = std::string(TraitsOf(type).name) +
                                 " K=" + std::to_string(columns) + " T=" + std::to_string(t_count);
        RunBatch(Rounded(x), w, t_count % 2 == 0 || columns == 64, name);
        if (HasFatalFailure()) return;
        ++shapes;
      }
    }
  }
  EXPECT_EQ(shapes, 6 * 36 + 5 * 14);
}

// Sums of products at the ends of both ranges, which 16-bit sums could not hold.
TEST_P(FastMatMulTest, BatchesTakeTheEndsOfBothRanges) {
  for (const TensorType type : kQuantized) {
    for (const int pattern : {0x00, 0xff, 0x80, 0x7f, 0x88, 0x0f, 0xf0}) {
      const Blocks w(type, 33, 512, [&] { return pattern; });
      Tensor x(9, 512, 0);
      for (int64_t t = 0; t < 8; ++t) {  // row 8 stays zero
        for (int64_t k = 0; k < 512; ++k) {
          const bool negative = (t & 1) != 0 && ((t & 2) == 0 || k % 2 == 0);
          x.view().row(t)[k] = (negative ? -1.0f : 1.0f) * ((t & 4) != 0 && k % 32 != 0 ? 0.5f : 1);
        }
      }
      const Rounded rounded(x);
      ASSERT_EQ(rounded.view.q[0], 127);
      ASSERT_EQ(rounded.view.q[rounded.view.q_stride], -127);
      RunBatch(rounded, w, false, std::string(TraitsOf(type).name) + std::to_string(pattern));
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(FastMatMulTest, BatchOfARangeLeavesTheOthersAlone) {
  const Blocks w = RandomBlocks(TensorType::kQ4_0, 100, 64);
  const Tensor x(8, 64, 5);
  const Rounded rounded(x);
  Tensor whole(8, 100, 0);
  Kernels().mat_mul_batch(rounded.view, w.view, whole.view(), 0, 100, false);
  for (const auto& [begin, end] : {std::pair{32, 64}, std::pair{64, 100}, std::pair{32, 41}}) {
    Tensor y(8, 100, 9);
    const Tensor before = y;
    Kernels().mat_mul_batch(rounded.view, w.view, y.view(), begin, end, false);
    for (int64_t t = 0; t < 8; ++t) {
      for (int64_t o = 0; o < 100; ++o) {
        const bool inside = o >= begin && o < end;
        EXPECT_EQ(y.at(t, o), inside ? whole.at(t, o) : before.at(t, o)) << t << " " << o;
        if (inside) {
          EXPECT_NE(y.at(t, o), before.at(t, o));
        }
      }
    }
  }
}

// Bit for bit what portable code makes: the same operations in the same order.
TEST_P(FastMatMulTest, RoundsAsThePortableCodeDoes) {
  for (const int64_t columns : {32, 64, 96, 160, 896}) {
    Tensor x(6, columns, 5, 1.0f, 7);
    for (int64_t k = 0; k < columns; ++k) {
      x.view().row(1)[k] = 0;
      x.view().row(2)[k] *= 1e-42f;
      x.view().row(3)[k] *= 5e37f;
      x.view().row(4)[k] = k % 2 == 0 ? 63.5f : -127.0f;  // a tie
      x.view().row(5)[k] = k == 33 ? -1e30f : x.at(5, k);
    }
    const Rounded got(x);
    const Isa isa = CurrentIsa();
    ASSERT_TRUE(SetIsaForTest(Isa::kReference));
    const Rounded want(x);
    ASSERT_TRUE(SetIsaForTest(isa));
    for (int64_t t = 0; t < 6; ++t) {
      for (int64_t k = 0; k < columns; ++k) {
        ASSERT_EQ(got.view.q[t * got.view.q_stride + k], want.view.q[t * want.view.q_stride + k])
            << t << " " << k;
        ASSERT_LE(std::abs(got.view.q[t * got.view.q_stride + k]), 127);
        ASSERT_EQ(got.view.scales[t * got.view.scale_stride + k / 32],
                  want.view.scales[t * want.view.scale_stride + k / 32]);
        ASSERT_EQ(got.view.sums[t * got.view.sum_stride + k / 16],
                  want.view.sums[t * want.view.sum_stride + k / 16]);
        const double scale = want.view.scales[t * want.view.scale_stride + k / 32];
        if (t != 2) {
          ASSERT_NEAR(got.at(t, k), x.at(t, k), 0.5001 * scale);
        }
      }
    }
  }
}

TEST_P(FastMatMulTest, LowRankUpdatesMatchDouble) {
  for (const int64_t rank : {1, 3, 8, 16, 20, 64, 70}) {
    const int64_t rows = 75;
    const Tensor b(rows, rank, 6, 1.0f, 2);
    std::vector<uint16_t> halves(b.data.size());
    for (size_t i = 0; i < halves.size(); ++i) halves[i] = FloatToHalf(b.data[i]);
    for (const int64_t t_count : {1, 2, 6, 13, 130}) {
      const Tensor h(t_count, rank, 7, 1.0f, 3);
      Tensor y(t_count, rows, 8, 1.0f, 5);
      const Tensor before = y;
      Kernels().add_low_rank(h.view(), {halves.data(), rows, rank, b.stride}, y.view(), 32, rows);
      for (int64_t t = 0; t < t_count; ++t) {
        for (int64_t o = 0; o < y.stride; ++o) {
          if (o < 32 || o >= rows) {
            ASSERT_EQ(y.at(t, o), before.at(t, o)) << t << " " << o;
            continue;
          }
          double want = before.at(t, o);
          double bound = std::fabs(want);
          for (int64_t r = 0; r < rank; ++r) {
            const double product = static_cast<double>(h.at(t, r)) *
                                   HalfToFloat(halves[static_cast<size_t>(o * b.stride + r)]);
            want += product;
            bound += std::fabs(product);
          }
          ExpectClose(y.at(t, o), want, bound, std::ldexp(static_cast<double>(rank + 2), -24),
                      "rank " + std::to_string(rank) + " T=" + std::to_string(t_count));
        }
      }
    }
  }
}

// Several products of one input, one of them with bias and low-rank part, on any number of threads.
TEST_P(FastMatMulTest, ProductsHaveTheSameBitsForAnyNumberOfThreads) {
  const int64_t columns = 256, rank = 5, wide = 1000;
  const std::pair<TensorType, int64_t> kinds[] = {{TensorType::kQ4_0, wide},
                                                  {TensorType::kQ8_0, 33},
                                                  {TensorType::kQ4_K, 7},
                                                  {TensorType::kQ6_K, 300}};
  const Tensor bias(1, wide, 3);
  const std::vector<uint16_t> b(static_cast<size_t>(wide * rank), FloatToHalf(0.5f));
  for (const int64_t t_count : {9, 40}) {
    const Tensor x(t_count, columns, 4);
    const Tensor h(t_count, rank, 5);
    std::vector<std::vector<float>> first;
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      const Rounded rounded(x, &pool);
      std::vector<Blocks> weights;
      std::vector<Tensor> y;
      for (const auto& [type, rows] : kinds) {
        weights.push_back(RandomBlocks(type, rows, columns));
        y.emplace_back(t_count, rows, 9);
      }
      std::vector<FastProduct> products;
      for (size_t i = 0; i < y.size(); ++i) {
        products.push_back({.w = weights[i].view, .y = y[i].view(), .accumulate = i <= 1});
      }
      products[0].bias = bias.data.data();
      products[0].h = h.view();
      products[0].b = {b.data(), wide, rank};
      std::vector<Tensor> before = y;
      MatMulFast(rounded.view, products, &pool);
      for (int64_t t = 0; t < t_count; ++t) {
        for (int64_t r = 0; r < rank; ++r) {
          for (int64_t o = 0; o < wide; ++o) before[0].view().row(t)[o] += 0.5f * h.at(t, r);
        }
        for (int64_t o = 0; o < wide; ++o) before[0].view().row(t)[o] += bias.at(0, o);
      }
      for (size_t i = 0; i < y.size(); ++i) {
        ExpectProduct(rounded, weights[i], before[i], i <= 1, y[i], std::to_string(i));
      }
      if (HasFatalFailure()) return;
      for (const Tensor& m : y) first.push_back(m.data);
      for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i].data, first[i]) << threads << " " << i;
    }
  }
}

// What holds of any kernels, whatever they multiply.
class FastProductTest : public KernelTest {};

// Rounding activations to 8 bit per 32: each is off by at most largest / 254, uniformly, so the
// standard deviation of the sum's error is sqrt(sum_k (w_k largest_k / 127)^2 / 12).  Six of those,
// at a false-alarm rate of 2e-9 a number.
TEST_P(FastProductTest, StaysWithinTheRoundingOfActivations) {
  ThreadPool pool(2);
  for (const TensorType type : kQuantized) {
    const int64_t c = 512;
    const Weights w(type, 70, c, 7);
    for (const int64_t t_count : {1, 3, 6, 20}) {
      const Tensor x(t_count, c, 3);
      Tensor y(t_count, 70, 0);
      std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(t_count, c)) + 1);
      const FastProduct product{.w = w.view, .y = y.view()};
      MatMulFast(RoundActivations(x.view(), scratch.data() + 1, &pool), {&product, 1}, &pool);
      for (int64_t t = 0; t < t_count; ++t) {
        for (int64_t o = 0; o < 70; ++o) {
          double want = 0;
          double variance = 0;
          for (int64_t b = 0; b < c; b += 32) {
            double largest = 0;
            double squares = 0;
            for (int64_t k = b; k < b + 32; ++k) {
              want += static_cast<double>(x.at(t, k)) * w.values.at(o, k);
              largest = std::max(largest, std::fabs(static_cast<double>(x.at(t, k))));
              squares += std::pow(w.values.at(o, k), 2);
            }
            variance += squares * std::pow(largest / 127, 2) / 12;
          }
          EXPECT_LE(std::fabs(y.at(t, o) - want), 6 * std::sqrt(variance)) << TraitsOf(type).name;
        }
      }
    }
  }
}

TEST_P(FastProductTest, TakesZerosAndExtremes) {
  const Weights w(TensorType::kQ8_0, 32, 64, 7);
  Tensor x(2, 64, 0);
  x.view().row(1)[3] = -1000.0f;
  Tensor y(2, 32, 1);
  std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(2, 64)));
  const FastProduct product{.w = w.view, .y = y.view()};
  MatMulFast(RoundActivations(x.view(), scratch.data(), nullptr), {&product, 1}, nullptr);
  for (int64_t o = 0; o < 32; ++o) {
    EXPECT_EQ(y.at(0, o), 0.0f);
    EXPECT_NEAR(y.at(1, o), -1000.0 * w.values.at(o, 3), 1e-3);
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, FastMatMulTest, ::testing::ValuesIn(AvailableIsas()), IsaTestName);
INSTANTIATE_TEST_SUITE_P(Isas, FastProductTest, ::testing::ValuesIn(AvailableIsas()), IsaTestName);

}  // namespace
}  // namespace lorikeet
