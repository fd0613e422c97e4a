#include "device/personalization/basis.h"

#include <Eigen/Core>
#include <Eigen/SVD>
#include <algorithm>
#include <utility>

#include "common/base/status_macros.h"
#include "device/trainer/trainer.h"

namespace lorikeet {
namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using ColumnMajor = Eigen::MatrixXf;

// Columns times singular values of the leading left singular vectors of everything added so far: at
// most `width` columns are kept, so memory does not grow with the number of groups (incremental
// SVD).
class LeadingColumns {
 public:
  explicit LeadingColumns(int width) : width_(width) {}

  void Add(const ColumnMajor& columns) {
    ColumnMajor joined(columns.rows(), kept_.cols() + columns.cols());
    if (kept_.cols() > 0) joined.leftCols(kept_.cols()) = kept_;
    joined.rightCols(columns.cols()) = columns;
    const Eigen::BDCSVD<ColumnMajor> svd(joined, Eigen::ComputeThinU);
    const auto width = std::min<Eigen::Index>(width_, svd.matrixU().cols());
    vectors_ = svd.matrixU().leftCols(width);
    kept_ = vectors_ * svd.singularValues().head(width).asDiagonal();
  }
  // Orthonormal, by falling singular value.
  const ColumnMajor& vectors() const { return vectors_; }

 private:
  int width_;
  ColumnMajor kept_, vectors_;
};

// A LoRA whose A rows and B columns are orthonormal: the random factors of a core adapter.
absl::StatusOr<Adapter> SketchAdapter(const Model& model, const BasisOptions& options, int width) {
  AdapterSpec spec;
  spec.kind = AdapterKind::kCore;
  spec.rank = width;
  spec.alpha = static_cast<float>(width);  // s = 1
  spec.modules = options.modules;
  spec.seed = options.seed;
  ASSIGN_OR_RETURN(Adapter adapter, MakeAdapter(model, spec));
  adapter.info.kind = AdapterKind::kLora;
  for (AdapterMatrix& matrix : adapter.matrices) matrix.core.clear();
  return adapter;
}

int SketchWidth(const Model& model, const BasisOptions& options) {
  int width = 2 * options.rank + 8;  // oversampling
  for (int i = 0; i < kModuleCount; ++i) {
    const WeightView& weight = model.layer(0).weight(static_cast<Module>(i));
    width = static_cast<int>(std::min<int64_t>({width, weight.rows, weight.cols}));
  }
  return std::max(width, options.rank);
}

}  // namespace

absl::StatusOr<std::vector<AdapterMatrix>> GradientBasis(
    std::shared_ptr<const Model> model, ThreadPool* pool,
    std::span<const std::vector<Sequence>> groups, const BasisOptions& options) {
  const int width = SketchWidth(*model, options);
  ASSIGN_OR_RETURN(Adapter sketch, SketchAdapter(*model, options, width));
  ASSIGN_OR_RETURN(const auto engine, GradientEngine::Create(model, pool));
  const size_t count = sketch.matrices.size();
  std::vector<LeadingColumns> left(count, LeadingColumns(width)),
      right(count, LeadingColumns(width));
  std::vector<MatrixGradient> gradients;

  // Pass 1: A random, B = 0.  dB = G A^T shows the range of G.
  for (AdapterMatrix& matrix : sketch.matrices) std::ranges::fill(matrix.b, 0.0f);
  for (const std::vector<Sequence>& group : groups) {
    RETURN_IF_ERROR(engine->Compute(sketch, {}, group, &gradients).status());
    for (size_t i = 0; i < count; ++i) {
      left[i].Add(Eigen::Map<const RowMajor>(gradients[i].b.data(), sketch.matrices[i].out_features,
                                             width));
    }
  }
  // Pass 2: B = that range, A = 0.  dA = B^T G shows the row space of G seen from there.
  for (size_t i = 0; i < count; ++i) {
    AdapterMatrix& matrix = sketch.matrices[i];
    std::ranges::fill(matrix.a, 0.0f);
    Eigen::Map<RowMajor> b(matrix.b.data(), matrix.out_features, width);
    b.setZero();
    b.leftCols(left[i].vectors().cols()) = left[i].vectors();
  }
  for (const std::vector<Sequence>& group : groups) {
    RETURN_IF_ERROR(engine->Compute(sketch, {}, group, &gradients).status());
    for (size_t i = 0; i < count; ++i) {
      right[i].Add(
          Eigen::Map<const RowMajor>(gradients[i].a.data(), width, sketch.matrices[i].in_features)
              .transpose());
    }
  }
  for (size_t i = 0; i < count; ++i) {
    AdapterMatrix& matrix = sketch.matrices[i];
    const int rank = options.rank;
    matrix.rank = rank;
    matrix.a.resize(static_cast<size_t>(rank) * matrix.in_features);
    matrix.b.resize(static_cast<size_t>(rank) * matrix.out_features);
    Eigen::Map<RowMajor>(matrix.a.data(), rank, matrix.in_features) =
        right[i].vectors().leftCols(rank).transpose();
    Eigen::Map<RowMajor>(matrix.b.data(), matrix.out_features, rank) =
        left[i].vectors().leftCols(rank);
  }
  return std::move(sketch.matrices);
}

}  // namespace lorikeet
