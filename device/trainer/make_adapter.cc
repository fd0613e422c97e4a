// MakeAdapter: fresh LoRA and core adapters.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "device/trainer/trainer.h"

namespace lorikeet {
namespace {

// `count` orthonormal vectors of `length`, one a row, by modified Gram-Schmidt on Gaussian rows;
// each row is orthogonalized twice, which keeps the products near machine precision ("twice is
// enough", Kahan and Parlett). REQUIRES: count <= length.
std::vector<float> RandomOrthonormalRows(int count, int length, Rng& rng) {
  std::vector<double> rows(static_cast<size_t>(count) * length);
  for (double& value : rows) value = rng.Normal();
  for (int i = 0; i < count; ++i) {
    double* row = rows.data() + static_cast<size_t>(i) * length;
    for (int pass = 0; pass < 2; ++pass) {
      for (int j = 0; j < i; ++j) {
        const double* other = rows.data() + static_cast<size_t>(j) * length;
        double dot = 0;
        for (int k = 0; k < length; ++k) dot += row[k] * other[k];
        for (int k = 0; k < length; ++k) row[k] -= dot * other[k];
      }
      double norm = 0;
      for (int k = 0; k < length; ++k) norm += row[k] * row[k];
      const double inverse = 1.0 / std::sqrt(norm);
      for (int k = 0; k < length; ++k) row[k] *= inverse;
    }
  }
  return {rows.begin(), rows.end()};
}

std::vector<float> Transposed(const std::vector<float>& values, int rows, int columns) {
  std::vector<float> result(values.size());
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      result[static_cast<size_t>(j) * rows + i] = values[static_cast<size_t>(i) * columns + j];
    }
  }
  return result;
}

void FillFactors(AdapterKind kind, AdapterMatrix& matrix, Rng& rng) {
  const size_t rank = matrix.rank;
  if (kind == AdapterKind::kCore) {
    matrix.a = RandomOrthonormalRows(matrix.rank, matrix.in_features, rng);
    matrix.b = Transposed(RandomOrthonormalRows(matrix.rank, matrix.out_features, rng), matrix.rank,
                          matrix.out_features);
    matrix.core.assign(rank * rank, 0.0f);
    return;
  }
  // Kaiming-uniform with a = sqrt(5), as PEFT initializes lora_A: bound = 1 / sqrt(in).
  const double bound = 1.0 / std::sqrt(static_cast<double>(matrix.in_features));
  matrix.a.resize(rank * matrix.in_features);
  for (float& value : matrix.a) value = static_cast<float>((2.0 * rng.Uniform() - 1.0) * bound);
  matrix.b.assign(rank * matrix.out_features, 0.0f);
}

}  // namespace

absl::StatusOr<Adapter> MakeAdapter(const Model& model, const AdapterSpec& spec) {
  if (spec.rank <= 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("adapter rank: expected at least 1, got %d", spec.rank));
  }
  std::vector<Module> modules = spec.modules;
  if (modules.empty()) {
    for (int i = 0; i < kModuleCount; ++i) modules.push_back(static_cast<Module>(i));
  }
  std::sort(modules.begin(), modules.end());
  modules.erase(std::unique(modules.begin(), modules.end()), modules.end());

  Adapter adapter;
  adapter.info.architecture = model.config().architecture;
  adapter.info.kind = spec.kind;
  adapter.info.alpha = spec.alpha;
  adapter.info.base_fingerprint = model.fingerprint();
  Rng rng(spec.seed);
  for (int layer = 0; layer < model.config().layer_count; ++layer) {
    for (const Module module : modules) {
      const WeightView& weight = model.layer(layer).weight(module);
      AdapterMatrix matrix;
      matrix.target = {layer, module};
      matrix.rank = spec.rank;
      matrix.in_features = static_cast<int>(weight.cols);
      matrix.out_features = static_cast<int>(weight.rows);
      if (spec.rank > std::min(weight.rows, weight.cols)) {
        return absl::InvalidArgumentError(
            absl::StrFormat("adapter rank %d is larger than %s, a matrix of %d x %d", spec.rank,
                            WeightName(layer, module), weight.rows, weight.cols));
      }
      FillFactors(spec.kind, matrix, rng);
      adapter.matrices.push_back(std::move(matrix));
    }
  }
  return adapter;
}

}  // namespace lorikeet
