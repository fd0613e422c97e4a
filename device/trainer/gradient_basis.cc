#include "device/trainer/gradient_basis.h"

#include <Eigen/Core>
#include <Eigen/Eigenvalues>
#include <Eigen/SVD>
#include <algorithm>
#include <utility>

#include "common/base/status_macros.h"
#include "device/trainer/packing.h"

namespace lorikeet {
namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ColumnMajor = Eigen::MatrixXf;

// The leading left singular vectors of everything added so far: at most `width` are kept, so memory
// does not grow with the number of groups (incremental SVD).
class LeadingColumns {
 public:
  explicit LeadingColumns(int width) : width_(width) {}

  void Add(const ColumnMajor& columns) {
    ColumnMajor joined(columns.rows(), vectors_.cols() + columns.cols());
    if (vectors_.cols() > 0) joined.leftCols(vectors_.cols()) = vectors_ * values_.asDiagonal();
    joined.rightCols(columns.cols()) = columns;
    const Eigen::BDCSVD<ColumnMajor> svd(joined, Eigen::ComputeThinU);
    const auto width = std::min<Eigen::Index>(width_, svd.matrixU().cols());
    vectors_ = svd.matrixU().leftCols(width);
    values_ = svd.singularValues().head(width);
  }
  // Orthonormal, by falling singular value.
  const ColumnMajor& vectors() const { return vectors_; }

 private:
  int width_;
  ColumnMajor vectors_;
  Eigen::VectorXf values_;
};

// A LoRA whose A rows are random and orthonormal, wider than `spec` asks, B = 0 and s = 1.
absl::StatusOr<Adapter> MakeSketch(const Model& model, AdapterSpec spec) {
  for (const Module module : spec.Modules()) {
    const WeightView& weight = model.layer(0).weight(module);
    const int rank = spec.RankOf(module);
    const int width = static_cast<int>(std::min<int64_t>(
        2 * rank + 8, std::min<int64_t>(weight.rows, weight.cols)));  // oversampling
    spec.module_ranks[static_cast<size_t>(module)] = std::max(width, rank);
  }
  spec.alpha = 0;
  ASSIGN_OR_RETURN(Adapter sketch, MakeAdapter(model, spec));
  sketch.info.kind = AdapterKind::kLora;
  for (AdapterMatrix& matrix : sketch.matrices) {
    matrix.core.clear();
    std::ranges::fill(matrix.b, 0.0f);
  }
  return sketch;
}

// What the two passes leave of one matrix.
struct Passes {
  explicit Passes(int width) : columns(width), gram(Eigen::MatrixXd::Zero(width, width)) {}
  LeadingColumns columns;
  Eigen::MatrixXd gram;  // second pass: sum of B^T G G^T B
};

// Gradients of B: G A^T.
absl::Status AddColumns(GradientEngine& engine, const Adapter& sketch,
                        std::span<const std::vector<Sequence>> groups,
                        std::vector<Passes>& passes) {
  std::vector<MatrixGradient> gradients;
  for (const std::vector<Sequence>& group : groups) {
    RETURN_IF_ERROR(engine.Compute(sketch, {}, group, &gradients).status());
    for (size_t i = 0; i < passes.size(); ++i) {
      const AdapterMatrix& matrix = sketch.matrices[i];
      passes[i].columns.Add(
          Eigen::Map<const RowMajor>(gradients[i].b.data(), matrix.out_features, matrix.rank));
    }
  }
  return absl::OkStatus();
}

// Gradients of A, transposed: G^T B.
absl::Status AddRows(GradientEngine& engine, const Adapter& sketch,
                     std::span<const std::vector<Sequence>> groups, std::vector<Passes>& passes) {
  std::vector<MatrixGradient> gradients;
  for (const std::vector<Sequence>& group : groups) {
    RETURN_IF_ERROR(engine.Compute(sketch, {}, group, &gradients).status());
    for (size_t i = 0; i < passes.size(); ++i) {
      const AdapterMatrix& matrix = sketch.matrices[i];
      const Eigen::Map<const RowMajor> rows(gradients[i].a.data(), matrix.rank, matrix.in_features);
      passes[i].columns.Add(rows.transpose());
      passes[i].gram += (rows * rows.transpose()).cast<double>();
    }
  }
  return absl::OkStatus();
}

// The sketch's matrix at the rank that was asked for.  The range that the first pass found is
// turned so that its first columns hold most of the gradient (the small singular value
// decomposition that ends a randomized one).
void Finish(AdapterMatrix& matrix, int rank, const Passes& second) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> turn(second.gram);  // by rising eigenvalue
  const ColumnMajor leading = turn.eigenvectors().rightCols(rank).rowwise().reverse().cast<float>();
  const RowMajor b =
      Eigen::Map<const RowMajor>(matrix.b.data(), matrix.out_features, matrix.rank) * leading;
  matrix.rank = rank;
  matrix.b.assign(b.data(), b.data() + b.size());
  matrix.a.resize(static_cast<size_t>(rank) * matrix.in_features);
  Eigen::Map<RowMajor>(matrix.a.data(), rank, matrix.in_features) =
      second.columns.vectors().leftCols(rank).transpose();
  matrix.core.assign(static_cast<size_t>(rank) * rank, 0.0f);
}

std::vector<Passes> EmptyPasses(const Adapter& sketch) {
  std::vector<Passes> passes;
  for (const AdapterMatrix& matrix : sketch.matrices) passes.emplace_back(matrix.rank);
  return passes;
}

}  // namespace

std::vector<std::vector<Sequence>> GroupForBasis(std::vector<Sequence> sequences,
                                                 const BasisText& options) {
  int64_t total = 0;
  for (const Sequence& sequence : sequences) total += BatchRows(sequence);
  const double keep =
      std::min(1.0, static_cast<double>(options.max_tokens) / static_cast<double>(total));
  std::vector<Sequence> kept;
  int64_t kept_rows = 0;
  double credit = 1.0;  // the first is always kept
  for (Sequence& sequence : sequences) {
    credit += keep;
    if (credit < 1) continue;
    credit -= 1;
    kept_rows += BatchRows(sequence);
    kept.push_back(std::move(sequence));
  }
  const int64_t per_group = kept_rows / std::max(1, options.group_count) + 1;
  std::vector<std::vector<Sequence>> groups(1);
  int64_t rows = 0;
  for (Sequence& sequence : kept) {
    if (rows >= per_group) {
      groups.emplace_back();
      rows = 0;
    }
    rows += BatchRows(sequence);
    groups.back().push_back(std::move(sequence));
  }
  return groups;
}

absl::StatusOr<Adapter> MakeGradientBasisAdapter(std::shared_ptr<const Model> model,
                                                 ThreadPool* pool,
                                                 std::span<const std::vector<Sequence>> groups,
                                                 const AdapterSpec& spec) {
  LORIKEET_CHECK(spec.kind == AdapterKind::kCore && !groups.empty());
  ASSIGN_OR_RETURN(Adapter sketch, MakeSketch(*model, spec));
  ASSIGN_OR_RETURN(const auto engine, GradientEngine::Create(model, pool));
  {
    // A random, B = 0: dB = G A^T shows the range of G, which becomes B.
    std::vector<Passes> first = EmptyPasses(sketch);
    RETURN_IF_ERROR(AddColumns(*engine, sketch, groups, first));
    for (size_t i = 0; i < first.size(); ++i) {
      AdapterMatrix& matrix = sketch.matrices[i];
      std::ranges::fill(matrix.a, 0.0f);
      Eigen::Map<RowMajor>(matrix.b.data(), matrix.out_features, matrix.rank) =
          first[i].columns.vectors();
    }
  }
  // A = 0: dA = B^T G shows the row space of G seen from there.
  std::vector<Passes> second = EmptyPasses(sketch);
  RETURN_IF_ERROR(AddRows(*engine, sketch, groups, second));
  for (size_t i = 0; i < second.size(); ++i) {
    AdapterMatrix& matrix = sketch.matrices[i];
    Finish(matrix, spec.RankOf(matrix.target.module), second[i]);
  }
  sketch.info.kind = AdapterKind::kCore;
  sketch.info.alpha = spec.alpha;
  return sketch;
}

}  // namespace lorikeet
