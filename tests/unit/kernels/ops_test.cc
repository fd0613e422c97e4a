// Normalization, rotation, gate, token loss and low-rank updates: values against double, gradients
// against finite differences.
#include <numeric>

#include "common/base/thread_pool.h"
#include "kernels/lora.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/softmax_xent.h"
#include "kernels/swiglu.h"
#include "tests/unit/kernels/kernel_test_util.h"

namespace lorikeet {
namespace {

class OpsTest : public KernelTest {};

TEST_P(OpsTest, RmsNormMatchesDouble) {
  for (const int64_t c : {1, 15, 64, 77}) {
    const Tensor x(3, c, 1);
    const Tensor weight(1, c, 2);
    Tensor y(3, c, 0);
    RmsNorm(x.view(), weight.data.data(), 1e-5f, y.view(), nullptr);
    for (int64_t t = 0; t < 3; ++t) {
      double squares = 0;
      for (int64_t i = 0; i < c; ++i) squares += std::pow(x.at(t, i), 2);
      for (int64_t i = 0; i < c; ++i) {
        const double want =
            x.at(t, i) / std::sqrt(squares / static_cast<double>(c) + 1e-5) * weight.at(0, i);
        EXPECT_NEAR(y.at(t, i), want, 2e-6 * std::fabs(want) + 1e-9);
      }
    }
  }
}

TEST_P(OpsTest, RmsNormGradients) {
  Tensor x(3, 21, 1);
  Tensor weight(1, 21, 2);
  const Tensor d_y(3, 21, 3);
  const auto loss = [&] {
    Tensor y(3, 21, 0);
    RmsNorm(x.view(), weight.data.data(), 1e-5f, y.view(), nullptr);
    return Inner(y, d_y);
  };
  Tensor d_x(3, 21, 0);
  Tensor d_weight(1, 21, 0);
  RmsNormBackward(x.view(), weight.data.data(), 1e-5f, d_y.view(), d_x.view(), nullptr);
  RmsNormBackwardWeight(x.view(), 1e-5f, d_y.view(), d_weight.data.data());
  ExpectGradient(d_x.data, NumericalGradient(x.data, loss), "d_x");
  ExpectGradient(d_weight.data, NumericalGradient(weight.data, loss), "d_weight");
}

TEST_P(OpsTest, RopeRotatesPairsByTheirAngles) {
  const int32_t positions[] = {0, 1, 1000};
  const float frequencies[] = {1.0f, 0.1f, 0.001f};
  for (const bool half_split : {false, true}) {
    Tensor x(3, 16, 1);  // two heads of 8, of which 6 dimensions rotate
    const Tensor before = x;
    Tensor table(3, 6, 0);
    FillRopeTable(positions, frequencies, table.view());
    Rope(x.view(), 8, half_split, table.view(), nullptr);
    for (int64_t t = 0; t < 3; ++t) {
      for (int head = 0; head < 2; ++head) {
        for (int i = 0; i < 3; ++i) {
          const int first = 8 * head + (half_split ? i : 2 * i);
          const int second = first + (half_split ? 3 : 1);
          const double angle = positions[t] * static_cast<double>(frequencies[i]);
          const double a = before.at(t, first);
          const double b = before.at(t, second);
          EXPECT_NEAR(x.at(t, first), a * std::cos(angle) - b * std::sin(angle), 1e-6);
          EXPECT_NEAR(x.at(t, second), a * std::sin(angle) + b * std::cos(angle), 1e-6);
        }
        EXPECT_EQ(x.at(t, 8 * head + 6), before.at(t, 8 * head + 6));
        EXPECT_EQ(x.at(t, 8 * head + 7), before.at(t, 8 * head + 7));
      }
    }
    RopeBackward(x.view(), 8, half_split, table.view(), nullptr);
    for (size_t i = 0; i < x.data.size(); ++i) EXPECT_NEAR(x.data[i], before.data[i], 1e-6);
  }
}

TEST_P(OpsTest, SwiGluValuesAndGradients) {
  Tensor gate(2, 37, 1, 3.0f);
  Tensor up(2, 37, 2);
  const Tensor d_y(2, 37, 3);
  gate.view().row(0)[0] = 100.0f;
  gate.view().row(0)[1] = -100.0f;
  Tensor y(2, 37, 0);
  SwiGlu(gate.view(), up.view(), y.view(), nullptr);
  for (size_t i = 0; i < y.data.size(); ++i) {
    const double g = gate.data[i];
    const double want = g / (1 + std::exp(-g)) * up.data[i];
    EXPECT_NEAR(y.data[i], want, 1e-6 * std::fabs(want) + 1e-30);
  }
  const auto loss = [&] {
    Tensor out(2, 37, 0);
    SwiGlu(gate.view(), up.view(), out.view(), nullptr);
    return Inner(out, d_y);
  };
  Tensor d_gate(2, 37, 0);
  Tensor d_up(2, 37, 0);
  SwiGluBackward(gate.view(), up.view(), d_y.view(), d_gate.view(), d_up.view(), nullptr);
  ExpectGradient(d_gate.data, NumericalGradient(gate.data, loss), "d_gate");
  ExpectGradient(d_up.data, NumericalGradient(up.data, loss), "d_up");
  // In place: gradients where gate and up were.
  SwiGluBackward(gate.view(), up.view(), d_y.view(), gate.view(), up.view(), nullptr);
  EXPECT_EQ(gate.data, d_gate.data);
  EXPECT_EQ(up.data, d_up.data);
}

TEST_P(OpsTest, CrossEntropyIsStableAndItsGradientRight) {
  Tensor logits(3, 41, 1, 2.0f);
  const int32_t targets[] = {0, 40, 17};
  const float weights[] = {0.5f, 0.0f, 2.0f};
  const auto loss = [&] {
    float nll[3];
    CrossEntropy(logits.view(), targets, nll, nullptr);
    return 0.5 * nll[0] + 2.0 * nll[2];
  };
  const auto want = NumericalGradient(logits.data, loss);
  Tensor d_logits = logits;
  float nll[3];
  CrossEntropyBackward(d_logits.view(), targets, weights, nll, nullptr);
  ExpectGradient(d_logits.data, want, "d_logits");
  for (int t = 0; t < 3; ++t) {
    double sum = 0;
    for (int64_t i = 0; i < 41; ++i) sum += std::exp(static_cast<double>(logits.at(t, i)));
    EXPECT_NEAR(nll[t], std::log(sum) - logits.at(t, targets[t]), 1e-5);
  }
  Tensor large(1, 41, 0);
  large.data[5] = 3e4f;
  large.data[6] = -3e4f;
  const int32_t target = 5;
  CrossEntropy(large.view(), &target, nll, nullptr);
  EXPECT_NEAR(nll[0], 0.0f, 1e-6);
}

TEST_P(OpsTest, SoftmaxMatchesDouble) {
  Tensor p(1, 100, 1, 5.0f);
  const Tensor x = p;
  Softmax(p.data.data(), 100);
  double sum = 0;
  for (const float v : x.data) sum += std::exp(static_cast<double>(v));
  for (size_t i = 0; i < 100; ++i) {
    const double want = std::exp(static_cast<double>(x.data[i])) / sum;
    EXPECT_NEAR(p.data[i], want, 4e-6 * want);
  }
}

TEST_P(OpsTest, LoraGradients) {
  ThreadPool pool(2);
  Tensor x(5, 19, 1);
  Tensor a(4, 19, 2);
  Tensor b(23, 4, 3);
  const Tensor d_y(5, 23, 4);
  Tensor h(5, 4, 0);
  const auto loss = [&] {
    Tensor y(5, 23, 0);
    LoraForward(x.view(), a.view(), b.view(), 0.25f, h.view(), y.view(), &pool);
    return Inner(y, d_y);
  };
  loss();
  Tensor d_h(5, 4, 0), d_a(4, 19, 0), d_b(23, 4, 0), d_x(5, 19, 0);
  LoraBackward({.x = x.view(),
                .a = a.view(),
                .b = b.view(),
                .h = h.view(),
                .d_y = d_y.view(),
                .scale = 0.25f,
                .d_h = d_h.view(),
                .d_a = d_a.view(),
                .d_b = d_b.view(),
                .d_x = d_x.view()},
               &pool);
  ExpectGradient(d_x.data, NumericalGradient(x.data, loss), "d_x");
  ExpectGradient(d_a.data, NumericalGradient(a.data, loss), "d_a");
  ExpectGradient(d_b.data, NumericalGradient(b.data, loss), "d_b");
}

// Everything a low-rank update computes, one after the other, for `learners` of t_count rows each:
// every one has rows of the common x, y, d_y, d_x and factors of its own.
struct LowRankShape {
  int64_t t_count, c, oc, rank;
  int learners = 1;
};
std::vector<float> RunLowRank(const LowRankShape& s, int threads) {
  ThreadPool pool(threads);
  const int64_t rows = s.t_count * s.learners;
  const Tensor x(rows, s.c, 1, 1.0f, 3), d_y(rows, s.oc, 2, 1.0f, 5);
  Tensor y(rows, s.oc, 3, 1.0f, 1), d_x(rows, s.c, 4, 1.0f, 2);
  std::vector<float> all;
  for (int i = 0; i < s.learners; ++i) {
    const auto seed = static_cast<uint32_t>(10 * i);
    const Tensor a(s.rank, s.c, seed + 5, 0.3f), b(s.oc, s.rank, seed + 6, 0.3f);
    Tensor h(s.t_count, s.rank, 0, 1.0f, 2), d_h(s.t_count, s.rank, 0, 1.0f, 1);
    Tensor d_a(s.rank, s.c, 7), d_b(s.oc, s.rank, 8);
    const int64_t begin = i * s.t_count;
    const int64_t end = begin + s.t_count;
    LoraForward(x.view().Rows(begin, end), a.view(), b.view(), 0.5f, h.view(),
                y.view().Rows(begin, end), &pool);
    LoraBackward({.x = x.view().Rows(begin, end),
                  .a = a.view(),
                  .b = b.view(),
                  .h = h.view(),
                  .d_y = d_y.view().Rows(begin, end),
                  .scale = 0.5f,
                  .d_h = d_h.view(),
                  .d_a = d_a.view(),
                  .d_b = d_b.view(),
                  .d_x = d_x.view().Rows(begin, end)},
                 &pool);
    for (const Tensor* tensor : {&h, &d_h, &d_a, &d_b}) {
      all.insert(all.end(), tensor->data.begin(), tensor->data.end());
    }
  }
  // With the gaps between rows, which nobody may touch.
  for (const Tensor* tensor : {&y, &d_x}) {
    all.insert(all.end(), tensor->data.begin(), tensor->data.end());
  }
  return all;
}

TEST_P(OpsTest, LowRankUpdatesOfAllShapesMatchTheReference) {
  for (const LowRankShape& shape :
       {LowRankShape{1, 64, 96, 1}, LowRankShape{5, 33, 71, 3}, LowRankShape{50, 700, 130, 17},
        LowRankShape{60, 100, 2100, 8}, LowRankShape{13, 1300, 48, 4, 3},
        LowRankShape{7, 40, 700, 6, 2}, LowRankShape{260, 80, 1500, 70}}) {
    SCOPED_TRACE(shape.rank);
    const auto got = RunLowRank(shape, 2);
    SetIsaForTest(Isa::kReference);
    const auto want = RunLowRank(shape, 1);
    SetIsaForTest(GetParam());
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_NEAR(got[i], want[i], 1e-5 * std::fabs(want[i]) + 2e-4) << "element " << i;
    }
    EXPECT_EQ(RunLowRank(shape, 1), got);
    EXPECT_EQ(RunLowRank(shape, 5), got);
  }
}

TEST_P(OpsTest, LowRankGradientsThatAreNotWantedChangeNoOther) {
  const int64_t t_count = 60, c = 100, oc = 300, rank = 9;
  const Tensor x(t_count, c, 1), a(rank, c, 2), b(oc, rank, 3), h(t_count, rank, 4);
  const Tensor d_y(t_count, oc, 5);
  const auto run = [&](bool with_a, bool with_b, bool with_x) {
    Tensor d_h(t_count, rank, 0), d_a(rank, c, 0), d_b(oc, rank, 0), d_x(t_count, c, 0);
    LoraBackward({.x = x.view(),
                  .a = a.view(),
                  .b = b.view(),
                  .h = h.view(),
                  .d_y = d_y.view(),
                  .scale = 0.5f,
                  .d_h = d_h.view(),
                  .d_a = with_a ? d_a.view() : Matrix{},
                  .d_b = with_b ? d_b.view() : Matrix{},
                  .d_x = with_x ? d_x.view() : Matrix{}},
                 nullptr);
    return std::vector<std::vector<float>>{d_a.data, d_b.data, d_x.data};
  };
  const auto all = run(true, true, true);
  for (int wanted = 0; wanted < 8; ++wanted) {
    const auto some = run((wanted & 1) != 0, (wanted & 2) != 0, (wanted & 4) != 0);
    for (size_t i = 0; i < 3; ++i) {
      const std::vector<float> none(all[i].size(), 0.0f);
      EXPECT_EQ(some[i], (wanted >> i & 1) != 0 ? all[i] : none) << "wanted " << wanted;
    }
  }
}

TEST_P(OpsTest, CoreGradients) {
  Tensor x(5, 19, 1);
  const Tensor a(4, 19, 2);
  Tensor core(4, 4, 5);
  const Tensor b(23, 4, 3);
  const Tensor d_y(5, 23, 4);
  Tensor h(5, 4, 0), g(5, 4, 0);
  const auto loss = [&] {
    Tensor y(5, 23, 0);
    CoreForward(x.view(), a.view(), core.view(), b.view(), 0.25f, h.view(), g.view(), y.view(),
                nullptr);
    return Inner(y, d_y);
  };
  loss();
  Tensor d_g(5, 4, 0), d_h(5, 4, 0), d_core(4, 4, 0), d_x(5, 19, 0);
  CoreBackward({.a = a.view(),
                .core = core.view(),
                .b = b.view(),
                .h = h.view(),
                .d_y = d_y.view(),
                .scale = 0.25f,
                .d_g = d_g.view(),
                .d_h = d_h.view(),
                .d_core = d_core.view(),
                .d_x = d_x.view()},
               nullptr);
  ExpectGradient(d_x.data, NumericalGradient(x.data, loss), "d_x");
  ExpectGradient(d_core.data, NumericalGradient(core.data, loss), "d_core");
}

INSTANTIATE_TEST_SUITE_P(Isas, OpsTest, ::testing::ValuesIn(AvailableIsas()), IsaTestName);

}  // namespace
}  // namespace lorikeet
