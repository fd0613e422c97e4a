#include "device/trainer/gradient_basis.h"

#include <gtest/gtest.h>

#include <Eigen/Core>
#include <Eigen/SVD>
#include <cmath>
#include <numeric>

#include "tests/unit/trainer/trainer_fixture.h"

namespace lorikeet {
namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

class GradientBasisTest : public ::testing::Test {
 protected:
  void SetUp() override {
    model_ = LoadTiny();
    groups_ = {RandomSequences(3, 20, 1), RandomSequences(3, 20, 2)};
  }

  // With alpha = rank, so that s = 1.
  Adapter Basis(int rank, std::span<const std::vector<Sequence>> groups) {
    auto adapter = MakeGradientBasisAdapter(
        model_, &pool_, groups,
        {.kind = AdapterKind::kCore, .rank = rank, .alpha = static_cast<float>(rank)});
    EXPECT_TRUE(adapter.ok()) << adapter.status();
    return *std::move(adapter);
  }

  std::vector<MatrixGradient> Gradients(const Adapter& adapter, std::span<const Sequence> text) {
    std::vector<MatrixGradient> gradients;
    auto engine = GradientEngine::Create(model_, &pool_).value();
    const auto result = engine->Compute(adapter, {}, text, &gradients);
    EXPECT_TRUE(result.ok()) << result.status();
    return gradients;
  }

  // |B^T G A^T|^2 over all matrices: what a step along the cores can use of the gradient.
  double Energy(const Adapter& core, std::span<const Sequence> text) {
    double energy = 0;
    for (const MatrixGradient& gradient : Gradients(core, text)) {
      for (const float value : gradient.core) energy += double(value) * value;
    }
    return energy;
  }

  // The gradient of W_q of layer 0 itself, from A = identity.
  Eigen::MatrixXf DenseGradient(std::span<const Sequence> text) {
    Adapter identity =
        MakeAdapter(*model_, {.rank = 64, .alpha = 64, .modules = {Module::kQ}}).value();
    for (AdapterMatrix& matrix : identity.matrices) {
      Eigen::Map<RowMajor>(matrix.a.data(), 64, 64).setIdentity();
    }
    return Eigen::Map<const RowMajor>(Gradients(identity, text)[0].b.data(), 64, 64);
  }

  ThreadPool pool_{2};
  std::shared_ptr<const Model> model_;
  std::vector<std::vector<Sequence>> groups_;
};

TEST_F(GradientBasisTest, FactorsAreOrthonormalAndHaveNoEffectYet) {
  AdapterSpec spec = *ParseAdapterSpec("4,down=6", "all");
  spec.kind = AdapterKind::kCore;
  const auto adapter = MakeGradientBasisAdapter(model_, &pool_, groups_, spec);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->info.kind, AdapterKind::kCore);
  EXPECT_EQ(adapter->info.alpha, 16);
  EXPECT_TRUE(model_->CheckAdapter(*adapter).ok());
  for (const AdapterMatrix& matrix : adapter->matrices) {
    const int r = matrix.rank;
    EXPECT_EQ(r, matrix.target.module == Module::kDown ? 6 : 4);
    const Eigen::Map<const RowMajor> a(matrix.a.data(), r, matrix.in_features);
    const Eigen::Map<const RowMajor> b(matrix.b.data(), matrix.out_features, r);
    EXPECT_LT((a * a.transpose() - RowMajor::Identity(r, r)).norm(), 1e-4);
    EXPECT_LT((b.transpose() * b - RowMajor::Identity(r, r)).norm(), 1e-4);
    for (const float value : matrix.core) EXPECT_EQ(value, 0);
  }
}

TEST_F(GradientBasisTest, EqualsTheLeadingSubspacesOfADenseSvd) {
  // 2 x 28 + 8 columns are the whole space of 64, so nothing is left to chance.
  const Adapter adapter = Basis(28, {groups_.data(), 1});
  const AdapterMatrix& matrix = adapter.matrices[0];
  ASSERT_EQ(matrix.target.module, Module::kQ);
  const Eigen::JacobiSVD<Eigen::MatrixXf> svd(DenseGradient(groups_[0]),
                                              Eigen::ComputeFullU | Eigen::ComputeFullV);
  const Eigen::Map<const RowMajor> a(matrix.a.data(), 28, 64), b(matrix.b.data(), 64, 28);
  for (const int k : {1, 4, 12}) {
    ASSERT_GT(svd.singularValues()[k - 1], 1.02f * svd.singularValues()[k]) << "no gap to find";
    EXPECT_NEAR((svd.matrixU().leftCols(k).transpose() * b.leftCols(k)).squaredNorm(), k, 1e-3);
    EXPECT_NEAR((svd.matrixV().leftCols(k).transpose() * a.topRows(k).transpose()).squaredNorm(), k,
                1e-3);
  }
}

TEST_F(GradientBasisTest, ASketchFindsNearlyAllThatTheBestFactorsHold) {
  const Adapter adapter = Basis(4, {groups_.data(), 1});
  const Eigen::MatrixXf dense = DenseGradient(groups_[0]);
  const AdapterMatrix& matrix = adapter.matrices[0];
  const Eigen::Map<const RowMajor> a(matrix.a.data(), 4, 64), b(matrix.b.data(), 64, 4);
  const double held = (b.transpose() * dense * a.transpose()).squaredNorm();
  const Eigen::JacobiSVD<Eigen::MatrixXf> svd(dense);
  const double best = svd.singularValues().head(4).squaredNorm();
  EXPECT_LE(held, best * (1 + 1e-4));
  EXPECT_GT(held, 0.85 * best);
}

TEST_F(GradientBasisTest, HoldsMoreOfTheGradientOfOtherTextThanRandomFactors) {
  // Text with something in common: the same few tokens in other orders.
  Rng rng(5);
  const auto text = [&](int length) {
    Sequence sequence;
    for (int i = 0; i < length; ++i) {
      sequence.tokens.push_back(static_cast<TokenId>(97 + rng.Below(6)));
    }
    return sequence;
  };
  const std::vector<std::vector<Sequence>> groups = {{text(60)}, {text(60)}};
  const std::vector<Sequence> other = {text(80)};
  const auto random = MakeAdapter(*model_, {.kind = AdapterKind::kCore, .rank = 4, .alpha = 4});
  EXPECT_GT(Energy(Basis(4, groups), other), 5 * Energy(*random, other));
}

TEST_F(GradientBasisTest, RefusesWhatMakeAdapterRefuses) {
  EXPECT_EQ(
      MakeGradientBasisAdapter(model_, &pool_, groups_, {.kind = AdapterKind::kCore, .rank = 100})
          .status()
          .code(),
      absl::StatusCode::kInvalidArgument);
}

TEST(GroupForBasisTest, TakesEvenlyUpToTheLimit) {
  const std::vector<Sequence> sequences = RandomSequences(30, 11, 1);
  const auto count = [](const std::vector<std::vector<Sequence>>& groups) {
    return std::accumulate(groups.begin(), groups.end(), size_t{0},
                           [](size_t n, const auto& group) { return n + group.size(); });
  };
  const auto all = GroupForBasis(sequences, {.group_count = 4});
  EXPECT_EQ(all.size(), 4u);
  EXPECT_EQ(count(all), 30u);
  const auto some = GroupForBasis(sequences, {.group_count = 2, .max_tokens = 500});
  EXPECT_LE(some.size(), 2u);
  EXPECT_GE(count(some), 5u);
  EXPECT_LE(count(some), 11u);
  EXPECT_EQ(count(GroupForBasis({sequences[0]}, {.max_tokens = 1})), 1u);
}

}  // namespace
}  // namespace lorikeet
