// Gradients of weights: against finite differences of the forward operations, and the same bits on
// any number of threads.
#include "kernels/weight_gradients.h"

#include <numeric>

#include "common/base/thread_pool.h"
#include "kernels/matmul.h"
#include "kernels/rmsnorm.h"
#include "kernels/softmax_xent.h"
#include "tests/unit/kernels/kernel_test_util.h"

namespace lorikeet {
namespace {

class WeightGradientsTest : public KernelTest {};

WeightView View(const Tensor& w) {
  return {.type = TensorType::kF32,
          .data = reinterpret_cast<const uint8_t*>(w.data.data()),
          .rows = w.rows,
          .cols = w.cols,
          .row_bytes = w.stride * int64_t{sizeof(float)}};
}

// y = x W^T + bias.
TEST_P(WeightGradientsTest, LinearMatchesFiniteDifferences) {
  const Tensor x(5, 19, 1);
  Tensor w(13, 19, 2), bias(1, 13, 3);
  const Tensor d_y(5, 13, 4);
  const auto loss = [&] {
    Tensor y(5, 13, 0);
    MatMul(x.view(), View(w), y.view(), nullptr);
    for (int64_t t = 0; t < 5; ++t) {
      for (int64_t c = 0; c < 13; ++c) y.view().row(t)[c] += bias.data[c];
    }
    return Inner(y, d_y);
  };
  Tensor d_w(13, 19, 0), d_bias(1, 13, 0);
  GemmTN(d_y.view(), x.view(), d_w.view(), 1.0f, true, nullptr);
  BiasBackward(d_y.view(), d_bias.data.data(), nullptr);
  ExpectGradient(d_w.data, NumericalGradient(w.data, loss), "d_w");
  ExpectGradient(d_bias.data, NumericalGradient(bias.data, loss), "d_bias");
}

TEST_P(WeightGradientsTest, EmbeddingMatchesFiniteDifferences) {
  Tensor table(4, 21, 1);
  const int32_t tokens[] = {2, 0, 2, 2, 3};
  const Tensor d_x(5, 21, 2);
  const auto loss = [&] {
    Tensor x(5, 21, 0);
    for (int64_t t = 0; t < 5; ++t) std::copy_n(table.view().row(tokens[t]), 21, x.view().row(t));
    return Inner(x, d_x);
  };
  Tensor d_table(4, 21, 0);
  EmbeddingBackward(tokens, d_x.view(), d_table.view(), nullptr);
  ExpectGradient(d_table.data, NumericalGradient(table.data, loss), "d_table");
  for (int64_t c = 0; c < 21; ++c) EXPECT_EQ(d_table.at(1, c), 0) << "a token that is not there";
}

// Loss of x W^T, in two chunks of rows as training takes it.
TEST_P(WeightGradientsTest, VocabularyProjectionMatchesFiniteDifferences) {
  const Tensor x(6, 17, 1, 0.5f);
  Tensor w(23, 17, 2, 0.5f);
  const int32_t targets[] = {0, 22, 7, 7, 9, 1};
  const float weights[] = {1, 0.5f, 2, 1, 0, 1};
  const auto loss = [&] {
    Tensor logits(6, 23, 0);
    float nll[6];
    MatMul(x.view(), View(w), logits.view(), nullptr);
    CrossEntropy(logits.view(), targets, nll, nullptr);
    return std::inner_product(nll, nll + 6, weights, 0.0);
  };
  Tensor d_w(23, 17, 0);
  for (int64_t begin = 0; begin < 6; begin += 4) {
    const int64_t end = std::min<int64_t>(6, begin + 4);
    Tensor logits(end - begin, 23, 0);
    float nll[6];
    MatMul(x.view().Rows(begin, end), View(w), logits.view(), nullptr);
    CrossEntropyBackward(logits.view(), targets + begin, weights + begin, nll, nullptr);
    GemmTN(logits.view(), x.view().Rows(begin, end), d_w.view(), 1.0f, true, nullptr);
  }
  ExpectGradient(d_w.data, NumericalGradient(w.data, loss), "d_w");
}

// Large enough to be split; what was there is added to.
TEST_P(WeightGradientsTest, DoNotDependOnThreads) {
  const int64_t rows = 700, cols = 333;
  const Tensor x(rows, cols, 1), d_y(rows, 70, 2, 1.0f, 3);
  std::vector<int32_t> tokens(rows);
  for (int64_t t = 0; t < rows; ++t) tokens[t] = static_cast<int32_t>(t * t % 11);
  const auto run = [&](ThreadPool* pool) {
    Tensor d_w(70, cols, 3), d_bias(1, 70, 4), d_table(11, cols, 5);
    GemmTN(d_y.view(), x.view(), d_w.view(), 1.0f, true, pool);
    BiasBackward(d_y.view(), d_bias.data.data(), pool);
    EmbeddingBackward(tokens.data(), x.view(), d_table.view(), pool);
    std::vector<float> all = d_w.data;
    all.insert(all.end(), d_bias.data.begin(), d_bias.data.end());
    all.insert(all.end(), d_table.data.begin(), d_table.data.end());
    return all;
  };
  const std::vector<float> alone = run(nullptr);
  const Tensor start(1, 70, 4);
  double first = start.data[0];
  for (int64_t t = 0; t < rows; ++t) first += d_y.at(t, 0);
  EXPECT_NEAR(alone[70 * cols], first, 1e-5 * rows);
  for (const int threads : {2, 3}) {
    ThreadPool pool(threads);
    EXPECT_EQ(run(&pool), alone) << threads;
  }
}

INSTANTIATE_TEST_SUITE_P(Isas, WeightGradientsTest, ::testing::ValuesIn(AvailableIsas()),
                         IsaTestName);

}  // namespace
}  // namespace lorikeet
