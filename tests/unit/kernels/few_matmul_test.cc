// Products of one to eight rows of rounded activations with weights of every quantized type,
// against sums in double of the same integers; and of float activations with float weights.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "kernels/fast_matmul.h"
#include "kernels/kernel_table.h"
#include "tests/unit/kernels/kernel_test_util.h"

namespace lorikeet {
namespace {

constexpr TensorType kQuantized[] = {TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kQ4_1,
                                     TensorType::kQ5_0, TensorType::kQ5_1, TensorType::kIQ4_NL,
                                     TensorType::kQ2_K, TensorType::kQ3_K, TensorType::kQ4_K,
                                     TensorType::kQ5_K, TensorType::kQ6_K};
constexpr TensorType kFloats[] = {TensorType::kF32, TensorType::kF16, TensorType::kBF16};

std::vector<int64_t> WidthsOf(TensorType type) {
  if (TraitsOf(type).block_elements == 256) return {256, 512, 1024, 4864};
  return {32, 64, 96, 224, 256, 288, 512, 896, 1024, 4864};
}

// Bytes that end (or begin) where the process must not read.
class GuardedBytes {
 public:
  enum class Side { kBefore, kAfter };
  GuardedBytes(int64_t size, Side forbidden) {
    const int64_t page = sysconf(_SC_PAGESIZE);
    const int64_t inner = (size + page - 1) / page * page;
    mapped_ = inner + 2 * page;
    base_ = static_cast<uint8_t*>(mmap(nullptr, static_cast<size_t>(mapped_),
                                       PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(base_, MAP_FAILED);
    EXPECT_EQ(mprotect(base_, static_cast<size_t>(page), PROT_NONE), 0);
    EXPECT_EQ(mprotect(base_ + page + inner, static_cast<size_t>(page), PROT_NONE), 0);
    data_ = base_ + page + (forbidden == Side::kAfter ? inner - size : 0);
  }
  ~GuardedBytes() { munmap(base_, static_cast<size_t>(mapped_)); }
  GuardedBytes(const GuardedBytes&) = delete;
  GuardedBytes& operator=(const GuardedBytes&) = delete;
  uint8_t* data() const { return data_; }

 private:
  uint8_t* base_;
  uint8_t* data_;
  int64_t mapped_;
};

enum class Bytes { kRandom, kExtreme };

// Blocks of random bytes (or of bytes with all bits set or none), with scales of either sign.
void FillBlocks(TensorType type, Bytes bytes, int64_t size, uint32_t seed, uint8_t* data) {
  std::mt19937 generator(seed);
  for (int64_t i = 0; i < size; ++i) {
    const uint32_t bits = generator();
    data[i] = static_cast<uint8_t>(bytes == Bytes::kRandom ? bits : (bits & 1 ? 0xff : 0));
  }
  std::uniform_real_distribution<float> magnitude(0.0005f, 0.002f);
  for (int64_t block = 0; block < size; block += TraitsOf(type).block_bytes) {
    for (const int offset : HalvesOf(type)) {
      const uint16_t half = FloatToHalf(magnitude(generator) * (generator() & 1 ? 1.0f : -1.0f));
      std::memcpy(data + block + offset, &half, sizeof(half));
    }
  }
}

struct Case {
  TensorType type;
  int64_t t, rows, cols;
  Bytes bytes = Bytes::kRandom;
  GuardedBytes::Side forbidden = GuardedBytes::Side::kAfter;
  bool accumulate = false;
  bool extreme_x = false;  // rounded activations are -127, 127 or 0
};

std::string NameOf(const Case& c) {
  return std::string(TraitsOf(c.type).name) + " T=" + std::to_string(c.t) + " [" +
         std::to_string(c.rows) + ", " + std::to_string(c.cols) + "]" +
         (c.accumulate ? " accumulate" : "");
}

Tensor InputOf(const Case& c) {
  Tensor x(c.t, c.cols, 3, 1.0f, 5);
  if (c.extreme_x) {
    for (float& v : x.data) v = v > 0.5f ? 2.0f : v < -0.5f ? -2.0f : 0.0f;
  }
  std::fill_n(x.view().row(c.t - 1) + c.cols / 32 / 2 * 32, 32, 0.0f);  // a block of zeros
  return x;
}

// What the product is in double, and the sum of magnitudes to which float sums are exact: of the
// largest weight of 256, since what a format adds up (d * q and a minimum) may cancel in a weight.
std::pair<double, double> Expected(const RoundedActivations& x, int64_t t,
                                   const std::vector<float>& w) {
  double sum = 0;
  double bound = 0;
  double largest = 0;
  for (size_t k = 0; k < w.size(); ++k) {
    if (k % 256 == 0) {
      const auto first = w.begin() + static_cast<int64_t>(k);
      largest = 0;
      for (auto it = first; it != w.end() && it != first + 256; ++it) {
        largest = std::max(largest, std::fabs(static_cast<double>(*it)));
      }
    }
    const int64_t i = static_cast<int64_t>(k);
    const double value =
        static_cast<double>(x.scales[t * x.scale_stride + i / 32]) * x.q[t * x.q_stride + i];
    sum += value * w[k];
    bound += std::fabs(value) * largest;
  }
  return {sum, bound};
}

// Sums of at most 160 floats a lane, each off by half an ulp, in random directions.
constexpr double kTolerance = 1e-6;

void RunCase(const Case& c) {
  const int64_t row_bytes = RowBytes(c.type, c.cols);
  const GuardedBytes blocks(c.rows * row_bytes, c.forbidden);
  FillBlocks(c.type, c.bytes, c.rows * row_bytes, 11, blocks.data());
  const WeightView w{c.type, blocks.data(), c.rows, c.cols, row_bytes};
  const Tensor x = InputOf(c);
  std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(c.t, c.cols)));
  const RoundedActivations rounded = RoundActivations(x.view(), scratch.data(), nullptr);
  Tensor y(c.t, c.rows, 4, 0.1f, 3);
  const Tensor before = y;
  // Two ranges, as two threads have them.
  const int64_t middle = std::min(c.rows, kPanelColumns);
  Kernels().mat_mul_few(rounded, w, y.view(), 0, middle, c.accumulate);
  Kernels().mat_mul_few(rounded, w, y.view(), middle, c.rows, c.accumulate);
  std::vector<float> row(static_cast<size_t>(c.cols));
  for (int64_t o = 0; o < c.rows; ++o) {
    DequantizeRow(c.type, w.row(o), c.cols, row.data());
    for (int64_t t = 0; t < c.t; ++t) {
      const auto [sum, bound] = Expected(rounded, t, row);
      const double old = c.accumulate ? before.at(t, o) : 0.0;
      ASSERT_LE(std::fabs(y.at(t, o) - (sum + old)), kTolerance * (bound + std::fabs(old)) + 1e-30)
          << NameOf(c) << " row " << o << " of x " << t << ": got " << y.at(t, o) << ", expected "
          << sum + old;
    }
  }
  for (int64_t t = 0; t < c.t; ++t) {  // the gaps between rows are not ours
    for (int64_t o = c.rows; o < y.stride; ++o) ASSERT_EQ(y.at(t, o), before.at(t, o)) << NameOf(c);
  }
}

class FewMatMulTest : public KernelTest {};

TEST_P(FewMatMulTest, EveryTypeAndWidth) {
  for (const TensorType type : kQuantized) {
    for (const int64_t cols : WidthsOf(type)) {
      for (const int64_t t : {1, 2, 4}) {
        RunCase({.type = type, .t = t, .rows = 35, .cols = cols});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(FewMatMulTest, EveryNumberOfRows) {
  for (const TensorType type : kQuantized) {
    const int64_t cols = TraitsOf(type).block_elements == 256 ? 768 : 416;
    for (int64_t t = 1; t <= 8; ++t) {
      for (const int64_t rows : {1, 2, 33}) {
        RunCase({.type = type, .t = t, .rows = rows, .cols = cols, .accumulate = t % 2 == 0});
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Rows too long to be prepared at once.
TEST_P(FewMatMulTest, LongRows) {
  for (const TensorType type : {TensorType::kQ4_0, TensorType::kQ5_1, TensorType::kQ4_K}) {
    const int64_t extra = TraitsOf(type).block_elements == 256 ? 256 : 96;
    for (const bool accumulate : {false, true}) {
      for (const int64_t t : {1, 3, 8}) {
        RunCase({.type = type, .t = t, .rows = 3, .cols = 32768 + extra, .accumulate = accumulate});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(FewMatMulTest, ExtremeWeightsAndActivations) {
  for (const TensorType type : kQuantized) {
    for (const bool extreme_x : {false, true}) {
      for (const int64_t t : {1, 5, 8}) {
        RunCase({.type = type,
                 .t = t,
                 .rows = 7,
                 .cols = 512,
                 .bytes = Bytes::kExtreme,
                 .extreme_x = extreme_x});
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(FewMatMulTest, NothingIsReadBesideTheWeights) {
  for (const TensorType type : kQuantized) {
    for (const int64_t cols : WidthsOf(type)) {
      for (const auto side : {GuardedBytes::Side::kBefore, GuardedBytes::Side::kAfter}) {
        for (const int64_t rows : {1, 2, 3}) {
          RunCase({.type = type, .t = 1, .rows = rows, .cols = cols, .forbidden = side});
          RunCase({.type = type, .t = 6, .rows = rows, .cols = cols, .forbidden = side});
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// What follows the last block of a row is the next row's: its numbers must not get in, whatever
// they are.
TEST_P(FewMatMulTest, InfinitiesOfOneRowStayThere) {
  for (const TensorType type : kQuantized) {
    const int64_t cols = TraitsOf(type).block_elements == 256 ? 256 : 96;
    const int64_t row_bytes = RowBytes(type, cols);
    std::vector<uint8_t> blocks(static_cast<size_t>(9 * row_bytes));
    FillBlocks(type, Bytes::kRandom, 9 * row_bytes, 5, blocks.data());
    for (int64_t block = 1; block < 9; block += 2) {
      for (int64_t at = block * row_bytes; at < (block + 1) * row_bytes;
           at += TraitsOf(type).block_bytes) {
        for (const int offset : HalvesOf(type)) {
          const uint16_t infinity = 0x7c00;
          std::memcpy(blocks.data() + at + offset, &infinity, sizeof(infinity));
        }
      }
    }
    const WeightView w{type, blocks.data(), 9, cols, row_bytes};
    const Tensor x(1, cols, 3);
    std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(1, cols)));
    Tensor y(1, 9, 0);
    Kernels().mat_mul_few(RoundActivations(x.view(), scratch.data(), nullptr), w, y.view(), 0, 9,
                          false);
    for (int64_t o = 0; o < 9; ++o) {
      EXPECT_EQ(std::isfinite(y.at(0, o)), o % 2 == 0) << TraitsOf(type).name << " row " << o;
    }
  }
}

// Tokens that are verified together have the logits that they have one by one, to the bit.
TEST_P(FewMatMulTest, SameBitsForAnyNumberOfRows) {
  std::vector<TensorType> types(std::begin(kQuantized), std::end(kQuantized));
  types.insert(types.end(), std::begin(kFloats), std::end(kFloats));
  for (const TensorType type : types) {
    const int64_t cols = TraitsOf(type).block_elements == 256 ? 5120 : 5120 + 96;
    const Weights w(type, 5, cols, 7);
    const Tensor x(8, cols, 3);
    const bool quantized = TraitsOf(type).block_elements > 1;
    const auto multiply = [&](int64_t begin, int64_t end) {
      Tensor y(end - begin, 5, 0);
      const ConstMatrix rows = x.view().Rows(begin, end);
      std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(end - begin, cols)));
      if (quantized) {
        Kernels().mat_mul_few(RoundActivations(rows, scratch.data(), nullptr), w.view, y.view(), 0,
                              5, false);
      } else {
        Kernels().mat_mul(rows, w.view, y.view(), 0, 5, false);
      }
      return y;
    };
    for (int64_t t = 2; t <= 8; ++t) {
      const Tensor together = multiply(0, t);
      const Tensor alone = multiply(t - 1, t);
      for (int64_t o = 0; o < 5; ++o) {
        EXPECT_EQ(together.at(t - 1, o), alone.at(0, o)) << TraitsOf(type).name << " T=" << t;
      }
    }
  }
}

TEST_P(FewMatMulTest, FloatWeightsMatchDouble) {
  for (const TensorType type : kFloats) {
    for (const int64_t cols : {1, 7, 16, 31, 32, 33, 63, 100, 257, 896, 1024}) {
      const int64_t row_bytes = RowBytes(type, cols);
      for (int64_t t = 1; t <= 8; ++t) {
        const int64_t rows = t % 2 == 0 ? 37 : 5;
        const Weights source(type, rows, cols, 7);
        const GuardedBytes bytes(rows * row_bytes, t % 3 == 0 ? GuardedBytes::Side::kBefore
                                                              : GuardedBytes::Side::kAfter);
        std::memcpy(bytes.data(), source.blocks.data(), source.blocks.size());
        const WeightView w{type, bytes.data(), rows, cols, row_bytes};
        const Tensor x(t, cols, 3, 1.0f, 5);
        Tensor y(t, rows, 4, 1.0f, 3);
        const Tensor before = y;
        const bool accumulate = t > 4;
        Kernels().mat_mul(x.view(), w, y.view(), 0, rows, accumulate);
        for (int64_t o = 0; o < rows; ++o) {
          for (int64_t r = 0; r < t; ++r) {
            double sum = accumulate ? before.at(r, o) : 0.0;
            double bound = std::fabs(sum);
            for (int64_t k = 0; k < cols; ++k) {
              const double product = static_cast<double>(x.at(r, k)) * source.values.at(o, k);
              sum += product;
              bound += std::fabs(product);
            }
            ExpectClose(y.at(r, o), sum, bound, kTolerance, TraitsOf(type).name);
          }
        }
        for (int64_t r = 0; r < t; ++r) {
          for (int64_t o = rows; o < y.stride; ++o) ASSERT_EQ(y.at(r, o), before.at(r, o));
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, FewMatMulTest, ::testing::ValuesIn(AvailableIsas()), IsaTestName);

}  // namespace
}  // namespace lorikeet
