#include "kernels/matmul.h"

#include <tuple>

#include "common/base/thread_pool.h"
#include "tests/unit/kernels/kernel_test_util.h"

namespace lorikeet {
namespace {

constexpr TensorType kTypes[] = {
    TensorType::kF32,  TensorType::kF16,  TensorType::kBF16, TensorType::kQ8_0,  TensorType::kQ4_0,
    TensorType::kQ4_1, TensorType::kQ5_0, TensorType::kQ5_1, TensorType::kQ2_K,  TensorType::kQ3_K,
    TensorType::kQ4_K, TensorType::kQ5_K, TensorType::kQ6_K, TensorType::kIQ4_NL};

// A sum of n f32 products in any order is off by at most n/2 ulp of the sum of magnitudes; blocked
// sums far less.
constexpr double kSumTolerance = 4e-6;

// Double-precision element (i, j) of the product of accessors, and the sum of magnitudes.
template <typename A, typename B>
std::pair<double, double> DotOf(int64_t n, const A& a, const B& b) {
  double sum = 0;
  double magnitude = 0;
  for (int64_t k = 0; k < n; ++k) {
    const double product = static_cast<double>(a(k)) * b(k);
    sum += product;
    magnitude += std::fabs(product);
  }
  return {sum, magnitude};
}

class MatMulTest : public KernelTest {};

TEST_P(MatMulTest, ProductAndBackwardOfEveryTypeMatchDouble) {
  ThreadPool pool(2);
  for (const TensorType type : kTypes) {
    const int64_t c = TraitsOf(type).block_elements == 256 ? 768 : 288;
    const Weights w(type, 75, c, 7);
    for (const int64_t t_count : {1, 2, 5, 7, 40}) {
      const std::string name = std::string(TraitsOf(type).name) + " T=" + std::to_string(t_count);
      const Tensor x(t_count, c, 3, 1.0f, 5);
      Tensor y(t_count, 75, 4, 1.0f, 3);
      MatMul(x.view(), w.view, y.view(), &pool);
      for (int64_t t = 0; t < t_count; ++t) {
        for (int64_t o = 0; o < 75; ++o) {
          const auto [sum, bound] = DotOf(
              c, [&](int64_t k) { return x.at(t, k); },
              [&](int64_t k) { return w.values.at(o, k); });
          ExpectClose(y.at(t, o), sum, bound, kSumTolerance, name);
        }
      }
      Tensor d_x(t_count, c, 5, 1.0f, 5);
      const Tensor before = d_x;
      MatMulBackwardInput(y.view(), w.view, d_x.view(), &pool);
      for (int64_t t = 0; t < t_count; ++t) {
        for (int64_t k = 0; k < c; ++k) {
          const auto [sum, bound] = DotOf(
              75, [&](int64_t o) { return y.at(t, o); },
              [&](int64_t o) { return w.values.at(o, k); });
          ExpectClose(d_x.at(t, k), sum + before.at(t, k), bound + std::fabs(before.at(t, k)),
                      kSumTolerance, name + " backward");
        }
      }
    }
  }
}

TEST_P(MatMulTest, RaggedFloatWidths) {
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16}) {
    for (const int64_t c : {1, 3, 17, 33, 259}) {
      const Weights w(type, 5, c, 9);
      for (const int64_t t_count : {1, 3, 13}) {
        const Tensor x(t_count, c, 3);
        Tensor y(t_count, 5, 0);
        MatMul(x.view(), w.view, y.view(), nullptr);
        Tensor d_x(t_count, c, 0);
        MatMulBackwardInput(y.view(), w.view, d_x.view(), nullptr);
        for (int64_t t = 0; t < t_count; ++t) {
          for (int64_t o = 0; o < 5; ++o) {
            const auto [sum, bound] = DotOf(
                c, [&](int64_t k) { return x.at(t, k); },
                [&](int64_t k) { return w.values.at(o, k); });
            ExpectClose(y.at(t, o), sum, bound, kSumTolerance, "forward");
          }
          for (int64_t k = 0; k < c; ++k) {
            const auto [sum, bound] = DotOf(
                5, [&](int64_t o) { return y.at(t, o); },
                [&](int64_t o) { return w.values.at(o, k); });
            ExpectClose(d_x.at(t, k), sum, bound, kSumTolerance, "backward");
          }
        }
      }
    }
  }
}

TEST_P(MatMulTest, SameBitsForAnyNumberOfThreads) {
  const Weights w(TensorType::kQ8_0, 200, 512, 7);
  const Tensor x(37, 512, 3);
  Tensor y1(37, 200, 0);
  Tensor d1(37, 512, 0);
  MatMul(x.view(), w.view, y1.view(), nullptr);
  MatMulBackwardInput(y1.view(), w.view, d1.view(), nullptr);
  for (const int threads : {2, 3}) {
    ThreadPool pool(threads);
    Tensor y(37, 200, 0);
    Tensor d(37, 512, 0);
    MatMul(x.view(), w.view, y.view(), &pool);
    MatMulBackwardInput(y.view(), w.view, d.view(), &pool);
    EXPECT_EQ(y.data, y1.data);
    EXPECT_EQ(d.data, d1.data);
  }
}

TEST_P(MatMulTest, GemmVariantsMatchDouble) {
  ThreadPool pool(2);
  using Shape = std::tuple<int64_t, int64_t, int64_t>;
  for (const auto& [m, n, k] :
       {Shape{1, 1, 1}, Shape{8, 300, 70}, Shape{100, 8, 300}, Shape{13, 33, 17},
        Shape{61, 45, 530}, Shape{300, 100, 64}, Shape{4, 4, 4}}) {
    const Tensor a(m, k, 1, 1.0f, 2);
    const Tensor at(k, m, 2, 1.0f, 1);
    const Tensor b(k, n, 3, 1.0f, 3);
    const Tensor bt(n, k, 4, 1.0f, 2);
    for (const bool accumulate : {false, true}) {
      for (int variant = 0; variant < 3; ++variant) {
        Tensor c(m, n, 5, 1.0f, 4);
        const Tensor before = c;
        if (variant == 0) GemmNN(a.view(), b.view(), c.view(), 0.5f, accumulate, &pool);
        if (variant == 1) GemmNT(a.view(), bt.view(), c.view(), 0.5f, accumulate, &pool);
        if (variant == 2) GemmTN(at.view(), b.view(), c.view(), 0.5f, accumulate, &pool);
        for (int64_t i = 0; i < m; ++i) {
          for (int64_t j = 0; j < n; ++j) {
            const auto [sum, bound] = DotOf(
                k, [&](int64_t p) { return variant == 2 ? at.at(p, i) : a.at(i, p); },
                [&](int64_t p) { return variant == 1 ? bt.at(j, p) : b.at(p, j); });
            const double old = accumulate ? before.at(i, j) : 0.0;
            ExpectClose(c.at(i, j), 0.5 * sum + old, bound + std::fabs(old), kSumTolerance,
                        "variant " + std::to_string(variant));
          }
        }
        for (int64_t i = 0; i + 1 < m; ++i) {  // the gaps between rows are not ours
          for (int64_t j = n; j < c.stride; ++j) ASSERT_EQ(c.at(i, j), before.at(i, j));
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, MatMulTest, ::testing::ValuesIn(AvailableIsas()), IsaTestName);

}  // namespace
}  // namespace lorikeet
