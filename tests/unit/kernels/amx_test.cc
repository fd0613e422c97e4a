// The AMX kernels: natively where the machine has them, otherwise their very code under
// AmxEmulator.
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <string>

#include "common/base/thread_pool.h"
#include "kernels/amx_support.h"
#include "kernels/fast_matmul.h"
#include "kernels/kernel_table.h"
#include "tests/unit/kernels/amx_emulator.h"
#include "tests/unit/kernels/kernel_test_util.h"

namespace lorikeet {
namespace {

constexpr TensorType kTypes[] = {TensorType::kBF16, TensorType::kQ8_0, TensorType::kQ4_0,
                                 TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1,
                                 TensorType::kQ2_K, TensorType::kQ3_K, TensorType::kQ4_K,
                                 TensorType::kQ5_K, TensorType::kQ6_K, TensorType::kIQ4_NL};

// As in MatMulTest: sums of f32 products against double.
constexpr double kSumTolerance = 4e-6;

// Products of factors rounded to 8 significant bits each: either is off by at most 2^-9 of itself
// (2^-8 apart), so a product by 2^-8 and a little.
constexpr double kBf16Tolerance = 1.01 / 256;

bool Has(Isa isa) {
  for (const Isa have : AvailableIsas()) {
    if (have == isa) return true;
  }
  return false;
}

// A copy of `bytes` bytes that ends where memory ends: one byte more read or written is a crash.
class GuardedCopy {
 public:
  GuardedCopy(const void* from, size_t bytes) : pages_((bytes + kPage - 1) / kPage * kPage) {
    base_ = static_cast<uint8_t*>(
        mmap(nullptr, pages_ + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base_ + pages_, kPage, PROT_NONE);
    data_ = base_ + pages_ - bytes;
    std::memcpy(data_, from, bytes);
  }
  ~GuardedCopy() { munmap(base_, pages_ + kPage); }
  GuardedCopy(const GuardedCopy&) = delete;
  GuardedCopy& operator=(const GuardedCopy&) = delete;
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }

 private:
  static constexpr size_t kPage = 4096;
  size_t pages_;
  uint8_t* base_;
  uint8_t* data_;
};

class AmxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!Has(Isa::kAvx512) || !__builtin_cpu_supports("avx512bf16")) {
      GTEST_SKIP() << "needs AVX-512 with BF16, beside which the AMX kernels run";
    }
    if (!IsaNote().empty()) GTEST_SKIP() << IsaNote();
    previous_ = CurrentIsa();
    if (!Has(Isa::kAmx)) emulator_ = std::make_unique<AmxEmulator>();
    UseKernelsForTest(AmxKernels());
  }
  void TearDown() override {
    EXPECT_FALSE(AmxEmulator::Configured());
    SetIsaForTest(previous_);
  }

 private:
  std::unique_ptr<AmxEmulator> emulator_;
  Isa previous_ = Isa::kReference;
};

// x rounded as AmxKernels() does, in a buffer that ends with its last row.
struct Rounded {
  explicit Rounded(const Tensor& x)
      : cols((x.cols + 31) / 32 * 32),
        // Anything, to see that all is written.
        buffer(std::vector<uint16_t>(static_cast<size_t>(x.rows * cols), 0x7fc0).data(),
               static_cast<size_t>(2 * x.rows * cols)),
        view{.x = x.view(), .bf16 = buffer.as<uint16_t>(), .bf16_stride = cols} {
    AmxKernels().round_activations(view, 0, x.rows);
  }
  int64_t cols;
  GuardedCopy buffer;
  RoundedActivations view;
};

TEST_F(AmxTest, RoundsActivationsToNearestEvenAndPads) {
  for (const int64_t c : {1, 15, 16, 17, 31, 32, 33, 100}) {
    const Tensor x(3, c, 11, 1.0f, 2);
    const Rounded rounded(x);
    for (int64_t t = 0; t < 3; ++t) {
      for (int64_t k = 0; k < rounded.cols; ++k) {
        const uint16_t want = k < c ? FloatToBf16(x.at(t, k)) : uint16_t{0};
        ASSERT_EQ(rounded.view.bf16[t * rounded.cols + k], want) << "C=" << c << " k=" << k;
      }
    }
  }
}

// y (+)= x W^T over rows [begin, end) of w, and that nothing else of y changes.  The factors are
// taken as rounded, so that only sums in f32 remain as a difference.
void ExpectProduct(const Weights& w, const Tensor& x, int64_t begin, int64_t end, bool accumulate,
                   const std::string& name) {
  const int64_t oc = w.view.rows;
  const int64_t c = w.view.cols;
  const Rounded rounded(x);
  WeightView view = w.view;
  GuardedCopy blocks(w.blocks.data(), w.blocks.size());
  view.data = blocks.as<uint8_t>();
  const Tensor before(x.rows, oc, 4, 1.0f, 3);
  // The last row ends with its last column.
  GuardedCopy out(before.data.data(), sizeof(float) * (before.data.size() - 3));
  const Matrix y(out.as<float>(), x.rows, oc, oc + 3);
  AmxKernels().mat_mul_batch(rounded.view, view, y, begin, end, accumulate);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t o = 0; o < (t + 1 < x.rows ? oc + 3 : oc); ++o) {
      const double old = before.data[static_cast<size_t>(t * (oc + 3) + o)];
      if (o < begin || o >= end) {
        ASSERT_EQ(y.row(t)[o], old) << name << ": writes outside its range";
        continue;
      }
      double sum = accumulate ? old : 0;
      double bound = std::fabs(sum);
      for (int64_t k = 0; k < c; ++k) {
        const double product = static_cast<double>(Bf16ToFloat(FloatToBf16(x.at(t, k)))) *
                               Bf16ToFloat(FloatToBf16(w.values.at(o, k)));
        sum += product;
        bound += std::fabs(product);
      }
      ExpectClose(y.row(t)[o], sum, bound, kSumTolerance, name);
    }
  }
}

// d_x (+)= d_y W over columns [begin, end) of w, likewise.
void ExpectBackward(const Weights& w, const Tensor& d_y, int64_t begin, int64_t end,
                    bool accumulate, const std::string& name) {
  const int64_t c = w.view.cols;
  const Rounded rounded(d_y);
  WeightView view = w.view;
  GuardedCopy blocks(w.blocks.data(), w.blocks.size());
  view.data = blocks.as<uint8_t>();
  const Tensor before(d_y.rows, c, 4, 1.0f, 3);
  GuardedCopy out(before.data.data(), sizeof(float) * (before.data.size() - 3));
  const Matrix d_x(out.as<float>(), d_y.rows, c, c + 3);
  AmxKernels().mat_mul_batch_backward(rounded.view, view, d_x, begin, end, accumulate);
  for (int64_t t = 0; t < d_y.rows; ++t) {
    for (int64_t k = 0; k < (t + 1 < d_y.rows ? c + 3 : c); ++k) {
      const double old = before.data[static_cast<size_t>(t * (c + 3) + k)];
      if (k < begin || k >= end) {
        ASSERT_EQ(d_x.row(t)[k], old) << name << ": writes outside its range";
        continue;
      }
      double sum = accumulate ? old : 0;
      double bound = std::fabs(sum);
      for (int64_t o = 0; o < w.view.rows; ++o) {
        const double product = static_cast<double>(Bf16ToFloat(FloatToBf16(d_y.at(t, o)))) *
                               Bf16ToFloat(FloatToBf16(w.values.at(o, k)));
        sum += product;
        bound += std::fabs(product);
      }
      ExpectClose(d_x.row(t)[k], sum, bound, kSumTolerance, name);
    }
  }
}

TEST_F(AmxTest, GradientOfEveryTypeMatchesDouble) {
  for (const TensorType type : kTypes) {
    if (type == TensorType::kBF16) continue;  // floats are multiplied as such
    const bool wide = TraitsOf(type).block_elements == 256;
    const int64_t c = wide ? 512 : 288;
    const Weights w(type, 75, c, 7);
    for (const int64_t t : {9, 16, 37}) {
      ExpectBackward(w, Tensor(t, 75, 3, 1.0f, 5), wide ? 256 : 32, c, t != 16,
                     std::string(TraitsOf(type).name) + " T=" + std::to_string(t));
    }
  }
}

TEST_F(AmxTest, GradientsOverAllCountsOfRows) {
  for (const int64_t rows : {1, 2, 31, 32, 33, 64, 511, 512, 513, 1030}) {
    ExpectBackward(Weights(TensorType::kQ8_0, rows, 64, 7), Tensor(17, rows, 3), 0, 64,
                   rows % 2 == 0, "rows=" + std::to_string(rows));
  }
}

// Through fast_matmul.h, with threads: two terms, one of them of floats.
TEST_F(AmxTest, MatMulFastBackwardWithinTheRoundingToBf16) {
  const int64_t c = 512;
  const Weights q4(TensorType::kQ4_K, 75, c, 7);
  const Weights f32(TensorType::kF32, 33, c, 9);
  const Tensor first_d_y(40, 75, 3), second_d_y(40, 33, 4);
  std::vector<float> one_thread;
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    Tensor d_x(40, c, 5);
    std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(40, 75)));
    const FastBackwardProduct products[] = {
        {.d_y = RoundActivations(first_d_y.view(), scratch.data(), &pool), .w = q4.view},
        {.d_y = {.x = second_d_y.view()}, .w = f32.view}};
    MatMulFastBackward(products, d_x.view(), /*accumulate=*/false, &pool);
    if (threads == 1) one_thread = d_x.data;
    EXPECT_EQ(d_x.data, one_thread) << "with " << threads << " threads";
    for (int64_t t = 0; t < 40; ++t) {
      for (int64_t k = 0; k < c; ++k) {
        double want = 0;
        double bound = 0;
        const auto add = [&](double product) {
          want += product;
          bound += std::fabs(product);
        };
        for (int64_t o = 0; o < 75; ++o) {
          add(static_cast<double>(first_d_y.at(t, o)) * q4.values.at(o, k));
        }
        for (int64_t o = 0; o < 33; ++o) {
          add(static_cast<double>(second_d_y.at(t, o)) * f32.values.at(o, k));
        }
        ExpectClose(d_x.at(t, k), want, bound, kBf16Tolerance, "d_x");
      }
    }
  }
}

TEST_F(AmxTest, ProductOfEveryTypeMatchesDouble) {
  for (const TensorType type : kTypes) {
    const int64_t c = TraitsOf(type).block_elements == 256 ? 768 : 352;
    const Weights w(type, 75, c, 7);
    for (const int64_t t : {1, 7, 16, 17, 37}) {
      for (const bool accumulate : {false, true}) {
        ExpectProduct(w, Tensor(t, c, 3, 1.0f, 5), 0, 75, accumulate,
                      std::string(TraitsOf(type).name) + " T=" + std::to_string(t));
      }
    }
  }
}

TEST_F(AmxTest, EveryEdgeOfTokensAndColumns) {
  const Weights w(TensorType::kQ8_0, 97, 32, 7);
  for (int64_t t = 1; t <= 34; ++t) {
    for (const int64_t end : {1, 15, 16, 17, 31, 32, 33, 49, 97}) {
      ExpectProduct(w, Tensor(t, 32, 3), 0, end, t % 2 == 0,
                    "T=" + std::to_string(t) + " end=" + std::to_string(end));
    }
  }
  for (const int64_t begin : {32, 64, 96}) {
    ExpectProduct(w, Tensor(33, 32, 3), begin, 97, false, "begin=" + std::to_string(begin));
  }
}

TEST_F(AmxTest, RaggedBf16Widths) {
  for (const int64_t c : {1, 2, 3, 17, 31, 33, 64, 259, 513, 1030}) {
    ExpectProduct(Weights(TensorType::kBF16, 35, c, 9), Tensor(18, c, 3), 0, 35, false,
                  "C=" + std::to_string(c));
  }
}

// So many activations that k is cut where sums have to wait in y.
TEST_F(AmxTest, LongRowsInSlabs) {
  for (const TensorType type : {TensorType::kQ4_0, TensorType::kQ4_K}) {
    const Weights w(type, 33, 2816, 7);
    ExpectProduct(w, Tensor(330, 2816, 3), 0, 33, false, "overwrite");
    ExpectProduct(w, Tensor(330, 2816, 3), 0, 33, true, "accumulate");
  }
}

// Through fast_matmul.h: what is used for few rows, for a batch and for floats, with threads.
TEST_F(AmxTest, MatMulFastWithinTheRoundingToBf16) {
  const int64_t c = 256;
  const Weights q4(TensorType::kQ4_K, 75, c, 7);
  const Weights bf16(TensorType::kBF16, 64, c, 8);
  const Weights f16(TensorType::kF16, 33, c, 9);
  const Weights* const weights[] = {&q4, &bf16, &f16};
  const Tensor bias(1, 75, 6);
  for (const int64_t t_count : {9, 40}) {
    const Tensor x(t_count, c, 3);
    Tensor first[3] = {{t_count, 75, 0}, {t_count, 64, 0}, {t_count, 33, 0}};
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      Tensor y[3] = {{t_count, 75, 0}, {t_count, 64, 0}, {t_count, 33, 0}};
      std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(t_count, c)) + 1);
      const FastProduct products[] = {
          {.w = q4.view, .y = y[0].view(), .bias = bias.data.data()},
          {.w = bf16.view, .y = y[1].view()},
          {.w = f16.view, .y = y[2].view()},
      };
      MatMulFast(RoundActivations(x.view(), scratch.data() + 1, &pool), products, &pool);
      for (int i = 0; i < 3; ++i) {
        if (threads == 1) first[i].data = y[i].data;
        EXPECT_EQ(y[i].data, first[i].data) << "with " << threads << " threads";
        for (int64_t t = 0; t < t_count; ++t) {
          for (int64_t o = 0; o < weights[i]->values.rows; ++o) {
            double want = i == 0 ? bias.at(0, o) : 0.0f;
            double bound = std::fabs(want);
            for (int64_t k = 0; k < c; ++k) {
              const double product = static_cast<double>(x.at(t, k)) * weights[i]->values.at(o, k);
              want += product;
              bound += std::fabs(product);
            }
            ExpectClose(y[i].at(t, o), want, bound, kBf16Tolerance, "product " + std::to_string(i));
          }
        }
      }
    }
  }
}

TEST_F(AmxTest, FewRowsTakeTheRoomTheyAsk) {
  for (const int64_t c : {7, 32, 512}) {
    for (const int64_t t : {1, 6, 7, 40}) {
      const Tensor x(t, c, 3);
      const auto bytes = static_cast<size_t>(RoundedBytes(40, c));
      const std::vector<uint8_t> zeros(bytes);
      GuardedCopy scratch(zeros.data(), bytes);
      const RoundedActivations rounded = RoundActivations(x.view(), scratch.as<uint8_t>(), nullptr);
      const bool batch = t > AmxKernels().few_rows;
      EXPECT_EQ(rounded.bf16 != nullptr, batch);
      EXPECT_EQ(rounded.q != nullptr, !batch && c % 32 == 0);
    }
  }
}

// A processor with AMX whose products are wrong would otherwise only be slower.
TEST(AmxSupportTest, ProductsAreRightWhereTheyCanBeTried) {
  EXPECT_EQ(IsaNote().find("wrong"), std::string_view::npos) << IsaNote();
}

TEST_F(AmxTest, SelfTestTellsRightFromWrong) {
  EXPECT_TRUE(BatchProductIsRight(AmxKernels(), Avx512Kernels()));
  KernelTable wrong = AmxKernels();
  wrong.mat_mul_batch = [](const RoundedActivations& x, const WeightView& w, const Matrix& y,
                           int64_t begin, int64_t end, bool accumulate) {
    AmxKernels().mat_mul_batch(x, w, y, begin, end, accumulate);
    y.row(y.rows - 1)[end - 1] += 0.1f;
  };
  EXPECT_FALSE(BatchProductIsRight(wrong, Avx512Kernels()));
  wrong.mat_mul_batch = [](const RoundedActivations& x, const WeightView& w, const Matrix& y,
                           int64_t begin, int64_t end, bool) {
    AmxKernels().mat_mul_batch(x, w, y, begin, end, /*accumulate=*/false);
  };
  EXPECT_FALSE(BatchProductIsRight(wrong, Avx512Kernels()));
  wrong = AmxKernels();
  wrong.mat_mul_batch_backward = [](const RoundedActivations& d_y, const WeightView& w,
                                    const Matrix& d_x, int64_t begin, int64_t end,
                                    bool accumulate) {
    AmxKernels().mat_mul_batch_backward(d_y, w, d_x, begin, end, accumulate);
    d_x.row(d_x.rows - 1)[end - 1] += 0.1f;
  };
  EXPECT_FALSE(BatchProductIsRight(wrong, Avx512Kernels()));
}

// What is said of the emulator: nothing to test where the processor does the work.
class AmxEmulatorDeathTest : public AmxTest {
 protected:
  void SetUp() override {
    if (Has(Isa::kAmx)) GTEST_SKIP() << "this processor has AMX";
    AmxTest::SetUp();
  }
};

TEST_F(AmxEmulatorDeathTest, TilesDoTheWork) {
  const AmxEmulator::Counts before = AmxEmulator::counts();
  ExpectProduct(Weights(TensorType::kQ4_0, 64, 96, 7), Tensor(64, 96, 3), 0, 64, false, "full");
  const AmxEmulator::Counts after = AmxEmulator::counts();
  EXPECT_EQ(after.dots - before.dots, 4 * 4 * 3);    // 4 x 4 tiles of sums, 3 tiles of k
  EXPECT_EQ(after.loads - before.loads, 4 * 4 * 3);  // 2 x 2 tiles at a time: one load a product
  EXPECT_EQ(after.stores - before.stores, 4 * 4);
  EXPECT_EQ(after.configurations - before.configurations, 1);
  EXPECT_EQ(after.releases - before.releases, 1);
}

struct alignas(64) Config {
  uint8_t bytes[64] = {};
};

__attribute__((target("amx-tile,amx-bf16"))) void ConfigureAndDot(const Config& config) {
  asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
  asm volatile("tdpbf16ps %%tmm2, %%tmm1, %%tmm0" : :);
  asm volatile("tilerelease" : :);
}

// Tile 0 = 2 x 3 floats, tile 1 = 2 x 4 pairs, tile 2 = 4 x 3 pairs.
Config GoodConfig() {
  Config config;
  config.bytes[0] = 1;
  config.bytes[16] = 12;
  config.bytes[48] = 2;
  config.bytes[18] = 16;
  config.bytes[49] = 2;
  config.bytes[20] = 12;
  config.bytes[50] = 4;
  return config;
}

TEST_F(AmxEmulatorDeathTest, RefusesWhatAProcessorRefuses) {
  ConfigureAndDot(GoodConfig());
  struct Change {
    int byte;
    uint8_t value;
  };
  for (const auto& [byte, value] : {Change{0, 0}, Change{0, 2}, Change{2, 1}, Change{34, 1},
                                    Change{57, 1}, Change{16, 16}, Change{48, 3}, Change{18, 12},
                                    Change{50, 3}, Change{50, 0}, Change{48, 17}, Change{20, 68}}) {
    Config config = GoodConfig();
    config.bytes[byte] = value;
    EXPECT_DEATH(ConfigureAndDot(config), "AMX fault") << "byte " << byte << " = " << int{value};
  }
}

}  // namespace
}  // namespace lorikeet
