#include "kernels/vocabulary_loss.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <thread>

#include "kernels/kernel_table.h"
#include "tests/unit/kernels/kernel_test_util.h"
#ifdef LORIKEET_KERNELS_X86
#include "tests/unit/kernels/amx_emulator.h"
#endif

namespace lorikeet {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr TensorType kTypes[] = {TensorType::kF32,  TensorType::kF16,  TensorType::kBF16,
                                 TensorType::kQ8_0, TensorType::kQ4_0, TensorType::kQ4_K,
                                 TensorType::kQ6_K};

bool IsFloat(TensorType type) { return TraitsOf(type).block_elements == 1; }

// Hidden states, output weights, targets and factors of some rows.
struct Problem {
  Problem(TensorType type, int64_t rows, int64_t vocabulary, int64_t width)
      : w(type, vocabulary, width, 7),
        x(rows, width, 5, 0.3f, 3),
        targets(static_cast<size_t>(rows)),
        weights(static_cast<size_t>(rows)) {
    std::mt19937 generator(11);
    for (int64_t s = 0; s < rows; ++s) {
      targets[static_cast<size_t>(s)] =
          static_cast<int32_t>(generator() % static_cast<uint32_t>(vocabulary));
      weights[static_cast<size_t>(s)] = s % 5 == 3 ? 0.0f : 0.1f * static_cast<float>(1 + s % 7);
    }
    // Both ends of the vocabulary.
    targets[0] = static_cast<int32_t>(vocabulary) - 1;
    if (rows > 1) targets[1] = 0;
  }
  std::string name() const {
    return std::string(TraitsOf(w.view.type).name) + " S=" + std::to_string(x.rows) +
           " V=" + std::to_string(w.view.rows) + " C=" + std::to_string(x.cols);
  }
  Weights w;
  Tensor x;
  std::vector<int32_t> targets;
  std::vector<float> weights;
};

struct Result {
  explicit Result(const Problem& p)
      : nll(static_cast<size_t>(p.x.rows), kNan), d_x(p.x.rows, p.x.cols, 0, 0, 2) {
    std::fill(d_x.data.begin(), d_x.data.end(), kNan);
  }
  std::vector<float> nll;
  Tensor d_x;
};

// In scratch of exactly the promised length, at an odd address.
Result Compute(const Problem& p, bool backward, ThreadPool* pool = nullptr,
               const std::function<void()>* between = nullptr) {
  constexpr size_t kGuard = 128;
  const auto bytes =
      static_cast<size_t>(VocabularyLossBytes(p.x.rows, p.x.cols, p.w.view.rows, backward));
  std::vector<uint8_t> scratch(bytes + 2 * kGuard + 1, 0xa5);
  Result result(p);
  VocabularyLoss({.x = p.x.view(),
                  .output = p.w.view,
                  .targets = p.targets.data(),
                  .weights = backward ? p.weights.data() : nullptr,
                  .nll = result.nll.data(),
                  .d_x = backward ? result.d_x.view() : Matrix{},
                  .scratch = scratch.data() + kGuard + 1,
                  .between = between},
                 pool);
  const auto untouched = [](uint8_t byte) { return byte == 0xa5; };
  EXPECT_TRUE(std::all_of(scratch.begin(), scratch.begin() + kGuard + 1, untouched)) << p.name();
  EXPECT_TRUE(std::all_of(scratch.end() - kGuard, scratch.end(), untouched)) << p.name();
  for (int64_t s = 0; s < p.x.rows; ++s) {
    for (int64_t c = p.x.cols; c < result.d_x.stride; ++c) {
      EXPECT_TRUE(std::isnan(result.d_x.at(s, c))) << p.name() << ": writes between rows";
    }
  }
  return result;
}

struct Exact {
  std::vector<double> nll;
  std::vector<std::vector<double>> d_x;
};

Exact RunExactly(const Problem& p) {
  const int64_t v_count = p.w.view.rows;
  Exact exact;
  std::vector<double> logits(static_cast<size_t>(v_count));
  for (int64_t s = 0; s < p.x.rows; ++s) {
    for (int64_t v = 0; v < v_count; ++v) {
      double sum = 0;
      for (int64_t c = 0; c < p.x.cols; ++c) {
        sum += static_cast<double>(p.x.at(s, c)) * p.w.values.at(v, c);
      }
      logits[static_cast<size_t>(v)] = sum;
    }
    const auto target = static_cast<size_t>(p.targets[static_cast<size_t>(s)]);
    // Relative to the target, so that what is tiny beside it is exact.
    double others = 0;
    double largest = 0;
    for (const double logit : logits) largest = std::max(largest, logit - logits[target]);
    for (size_t v = 0; v < logits.size(); ++v) {
      logits[v] -= v == target ? 0 : logits[target];
      if (v != target) others += std::exp(logits[v] - largest);
    }
    const double total = others + std::exp(-largest);
    exact.nll.push_back(largest == 0 ? std::log1p(others) : largest + std::log(total));
    std::vector<double> d_x(static_cast<size_t>(p.x.cols), 0.0);
    const double weight = p.weights[static_cast<size_t>(s)];
    for (size_t v = 0; v < logits.size(); ++v) {
      const double share = weight * (v == target ? -others : std::exp(logits[v] - largest)) / total;
      for (int64_t c = 0; c < p.x.cols; ++c) {
        d_x[static_cast<size_t>(c)] += share * p.w.values.at(static_cast<int64_t>(v), c);
      }
    }
    exact.d_x.push_back(std::move(d_x));
  }
  return exact;
}

struct Bounds {
  double nll;       // nats
  double gradient;  // relative L2, of all rows
  double row;       // of the worst row
};

// Float weights: sums in f32.  Quantized ones: x and the probabilities rounded to 8 bit, and the
// weights once more on the way back.
Bounds BoundsFor(TensorType type) {
  if (Kernels().wants_bf16 && (type == TensorType::kBF16 || !IsFloat(type))) {
    return {0.03, 0.01, 0.02};
  }
  if (IsFloat(type)) return {1e-5, 1e-5, 2e-5};
  return {0.05, 0.015, 0.03};
}

void ExpectRight(const Problem& p, const Result& got, const Bounds& bounds) {
  const Exact want = RunExactly(p);
  double all_error = 0, all_norm = 0;
  for (int64_t s = 0; s < p.x.rows; ++s) {
    const auto i = static_cast<size_t>(s);
    EXPECT_NEAR(got.nll[i], want.nll[i], bounds.nll) << p.name() << " row " << s;
    double error = 0, norm = 0;
    for (int64_t c = 0; c < p.x.cols; ++c) {
      const double exact = want.d_x[i][static_cast<size_t>(c)];
      error += std::pow(got.d_x.at(s, c) - exact, 2);
      norm += exact * exact;
    }
    EXPECT_LE(std::sqrt(error), bounds.row * std::sqrt(norm)) << p.name() << " row " << s;
    all_error += error;
    all_norm += norm;
  }
  EXPECT_LE(std::sqrt(all_error), bounds.gradient * std::sqrt(all_norm)) << p.name();
  EXPECT_GT(all_norm, 0);
}

class VocabularyLossTest : public KernelTest {};

TEST_P(VocabularyLossTest, EveryTypeMatchesDouble) {
  for (const TensorType type : kTypes) {
    for (const auto& [rows, vocabulary] :
         {std::pair<int64_t, int64_t>{1, 257}, {8, 1000}, {20, 257}, {9, 5000}}) {
      const Problem p(type, rows, vocabulary, 256);
      ExpectRight(p, Compute(p, /*backward=*/true), BoundsFor(type));
    }
  }
}

// Many slabs, the largest logit in any of them.
TEST_P(VocabularyLossTest, ManyRowsInManySlabsMatchDouble) {
  for (const TensorType type : {TensorType::kF32, TensorType::kQ8_0}) {
    const Problem p(type, 600, 1601, 32);
    ExpectRight(p, Compute(p, /*backward=*/true), BoundsFor(type));
  }
}

TEST_P(VocabularyLossTest, OddWidthOfFloatsMatchesDouble) {
  const Problem p(TensorType::kF32, 11, 300, 45);
  ExpectRight(p, Compute(p, /*backward=*/true), BoundsFor(TensorType::kF32));
}

// A row whose target is almost certain has a tiny gradient: of the others, and of the target as
// much as of the others, which 1 - p would have lost.
TEST_P(VocabularyLossTest, CertainTargetsKeepTheirTinyGradient) {
  for (const TensorType type : kTypes) {
    Problem p(type, 12, 1000, 256);
    for (int64_t s = 0; s < p.x.rows; ++s) {
      const int32_t target = p.targets[static_cast<size_t>(s)];
      double square = 0;
      for (int64_t c = 0; c < p.x.cols; ++c) square += std::pow(p.w.values.at(target, c), 2);
      // The target's logit grows row by row, to where 1 - p is nothing in f32.
      const double factor = (12.0 + 2.0 * static_cast<double>(s)) / square;
      for (int64_t c = 0; c < p.x.cols; ++c) {
        p.x.view().row(s)[c] =
            static_cast<float>(factor * p.w.values.at(target, c)) + 0.3f * p.x.at(s, c);
      }
    }
    const Exact want = RunExactly(p);
    ASSERT_LT(*std::min_element(want.nll.begin(), want.nll.end()), 1e-8);
    const bool rounded = BoundsFor(type).gradient > 1e-4;
    ExpectRight(p, Compute(p, /*backward=*/true),
                rounded ? Bounds{0.02, 0.05, 0.1} : Bounds{1e-5, 3e-5, 1e-4});
  }
}

// What all rows of weights have in common does not count, however much it is.
TEST_P(VocabularyLossTest, MeanOfTheWeightsCancels) {
  for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_0}) {
    Problem p(type, 10, 1000, 256);
    for (int64_t v = 0; v < p.w.view.rows; ++v) {
      float* row = p.w.values.view().row(v);
      for (int64_t c = 0; c < p.x.cols; ++c) row[c] += c % 2 == 0 ? 1.0f : -1.0f;
      uint8_t* blocks = p.w.blocks.data() + v * p.w.view.row_bytes;
      QuantizeRow(type, row, p.x.cols, blocks);
      DequantizeRow(type, blocks, p.x.cols, row);
    }
    ExpectRight(p, Compute(p, /*backward=*/true), {0.1, 0.01, 0.02});
  }
}

TEST_P(VocabularyLossTest, HugeLogitsStayFinite) {
  for (const TensorType type : {TensorType::kF32, TensorType::kQ8_0, TensorType::kQ4_K}) {
    Problem p(type, 10, 700, 256);
    for (float& x : p.x.data) x *= 2000;
    const Exact want = RunExactly(p);
    ASSERT_GT(*std::max_element(want.nll.begin(), want.nll.end()), 1e4);
    const Result got = Compute(p, /*backward=*/true);
    for (size_t s = 0; s < want.nll.size(); ++s) {
      EXPECT_NEAR(got.nll[s], want.nll[s], IsFloat(type) ? 0.05 : 200) << p.name();
      for (int64_t c = 0; c < p.x.cols; ++c) {
        ASSERT_TRUE(std::isfinite(got.d_x.at(static_cast<int64_t>(s), c))) << p.name();
      }
    }
  }
}

TEST_P(VocabularyLossTest, LossAloneIsTheSameLoss) {
  for (const TensorType type : {TensorType::kF16, TensorType::kQ4_0}) {
    const Problem p(type, 13, 5000, 64);
    EXPECT_EQ(Compute(p, /*backward=*/false).nll, Compute(p, /*backward=*/true).nll) << p.name();
  }
}

// Callers take scratch once and pass what rows are left; Compute checks each number of rows.
TEST_P(VocabularyLossTest, FewerRowsNeedNoMoreScratch) {
  for (const bool backward : {false, true}) {
    int64_t before = 0;
    for (int64_t rows = 0; rows <= 2200; ++rows) {
      const int64_t bytes = VocabularyLossBytes(rows, 896, 151936, backward);
      ASSERT_GE(bytes, before) << rows;
      before = bytes;
    }
  }
  for (const int64_t rows : {127, 129, 257, 600}) {
    Compute(Problem(TensorType::kQ8_0, rows, 4200, 32), /*backward=*/true);
  }
}

TEST_P(VocabularyLossTest, ThreadsChangeNoBit) {
  for (const TensorType type : {TensorType::kF32, TensorType::kQ8_0, TensorType::kQ6_K}) {
    const Problem p(type, 140, 1500, 256);
    const Result alone = Compute(p, /*backward=*/true);
    for (const int threads : {2, 3}) {
      ThreadPool pool(threads);
      const Result together = Compute(p, /*backward=*/true, &pool);
      EXPECT_EQ(alone.nll, together.nll) << p.name();
      EXPECT_EQ(std::memcmp(alone.d_x.data.data(), together.d_x.data.data(),
                            alone.d_x.data.size() * sizeof(float)),
                0)
          << p.name();
    }
  }
}

TEST_P(VocabularyLossTest, CallsBetweenSlabsOnTheCallingThread) {
  const Problem p(TensorType::kQ8_0, 9, 9000, 32);  // three slabs
  ThreadPool pool(2);
  for (const bool backward : {false, true}) {
    int calls = 0;
    const std::function<void()> between = [&, caller = std::this_thread::get_id()] {
      EXPECT_EQ(std::this_thread::get_id(), caller);
      ++calls;
    };
    Compute(p, backward, &pool, &between);
    EXPECT_EQ(calls, backward ? 6 : 3);
  }
}

// In 8 bit, what is not finite could vanish: the trainer must see it.
TEST_P(VocabularyLossTest, NumbersThatAreNotFiniteShowInTheirRows) {
  for (const TensorType type : {TensorType::kF32, TensorType::kQ8_0, TensorType::kQ4_K}) {
    Problem p(type, 12, 600, 256);
    p.x.view().row(2)[17] = kNan;
    p.x.view().row(9)[40] = std::numeric_limits<float>::infinity();
    const Result got = Compute(p, /*backward=*/true);
    for (int64_t s = 0; s < p.x.rows; ++s) {
      EXPECT_EQ(std::isnan(got.nll[static_cast<size_t>(s)]), s == 2 || s == 9) << p.name();
      EXPECT_EQ(std::isnan(got.d_x.at(s, 100)), s == 2 || s == 9) << p.name();
    }
  }
  for (const float bad : {kNan, std::numeric_limits<float>::infinity()}) {
    Problem p(TensorType::kF32, 12, 600, 32);
    reinterpret_cast<float*>(p.w.blocks.data())[300 * 32 + 5] = bad;
    for (float& x : p.x.data) x = std::fabs(x);
    for (const float nll : Compute(p, /*backward=*/true).nll) EXPECT_TRUE(std::isnan(nll)) << bad;
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, VocabularyLossTest, ::testing::ValuesIn(AvailableIsas()),
                         IsaTestName);

#ifdef LORIKEET_KERNELS_X86
// Probabilities as bfloat16.  Where the machine has AMX, the suite above has tested it.
TEST(VocabularyLossAmxTest, MatchesDoubleUnderTheEmulator) {
  const auto isas = AvailableIsas();
  if (std::find(isas.begin(), isas.end(), Isa::kAmx) != isas.end()) {
    GTEST_SKIP() << "AMX itself is tested";
  }
  if (std::find(isas.begin(), isas.end(), Isa::kAvx512) == isas.end() ||
      !__builtin_cpu_supports("avx512bf16")) {
    GTEST_SKIP() << "needs AVX-512 with BF16, beside which the AMX kernels run";
  }
  const Isa previous = CurrentIsa();
  {
    AmxEmulator emulator;
    UseKernelsForTest(AmxKernels());
    for (const TensorType type : kTypes) {
      const Problem p(type, 20, 300, 256);
      ExpectRight(p, Compute(p, /*backward=*/true), BoundsFor(type));
    }
    const Problem few(TensorType::kQ8_0, 3, 300, 256);
    ExpectRight(few, Compute(few, /*backward=*/true), {0.05, 0.015, 0.03});
  }
  SetIsaForTest(previous);
}
#endif

}  // namespace
}  // namespace lorikeet
