#include "device/personalization/personal_adapter.h"

#include <algorithm>

#include "common/adapter/gguf_io.h"
#include "common/adapter/sum.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// Ranks [begin, end) of a LoRA matrix, with B times `factor`.
AdapterMatrix Ranks(const AdapterMatrix& matrix, int begin, int end, float factor) {
  AdapterMatrix part;
  part.target = matrix.target;
  part.rank = end - begin;
  part.in_features = matrix.in_features;
  part.out_features = matrix.out_features;
  const auto a = matrix.a.begin();
  part.a.assign(a + static_cast<std::ptrdiff_t>(begin) * matrix.in_features,
                a + static_cast<std::ptrdiff_t>(end) * matrix.in_features);
  part.b.reserve(static_cast<size_t>(part.rank) * static_cast<size_t>(part.out_features));
  for (int row = 0; row < matrix.out_features; ++row) {
    const float* values = matrix.b.data() + static_cast<std::ptrdiff_t>(row) * matrix.rank;
    for (int rank = begin; rank < end; ++rank) part.b.push_back(factor * values[rank]);
  }
  return part;
}

}  // namespace

PersonalAdapter PersonalAdapter::Merge(const Adapter& persona, const Adapter& residual) {
  const AdapterRef terms[] = {{.adapter = &persona}, {.adapter = &residual}};
  absl::StatusOr<AdapterSum> sum = SumMatrices(terms);
  LORIKEET_CHECK(sum.ok());  // one base, hence one shape of each weight
  Adapter result;
  result.info = residual.info;
  result.info.kind = AdapterKind::kLora;
  result.info.alpha = sum->alpha;
  result.matrices = std::move(sum->matrices);
  for (AdapterMatrix& matrix : result.matrices) {
    const auto own = std::ranges::find(residual.matrices, matrix.target, &AdapterMatrix::target);
    matrix.residual_rank = own != residual.matrices.end() ? own->rank : 0;
  }
  return PersonalAdapter(std::move(result));
}

absl::StatusOr<PersonalAdapter::Parts> PersonalAdapter::Split(float residual_alpha) const {
  const bool says = std::ranges::all_of(adapter_.matrices, [](const AdapterMatrix& matrix) {
    return matrix.residual_rank.has_value();
  });
  if (!says) {
    return absl::FailedPreconditionError(
        "expected a personal adapter that says which of its ranks were learned from the owner's "
        "text, got one that does not");
  }
  Parts parts;
  parts.persona.info = adapter_.info;
  parts.residual.info = adapter_.info;
  parts.persona.info.alpha = 0;
  parts.residual.info.alpha = residual_alpha;
  for (const AdapterMatrix& matrix : adapter_.matrices) {
    const int own_rank = *matrix.residual_rank, begin = matrix.rank - own_rank;
    const float scale = adapter_.BaseScale(matrix);
    if (begin > 0) parts.persona.matrices.push_back(Ranks(matrix, 0, begin, scale));
    if (own_rank > 0) {
      const float own_scale = residual_alpha / static_cast<float>(own_rank);
      parts.residual.matrices.push_back(Ranks(matrix, begin, matrix.rank, scale / own_scale));
    }
  }
  return parts;
}

int PersonalAdapter::ResidualRank() const {
  int rank = 0;
  for (const AdapterMatrix& matrix : adapter_.matrices) {
    rank = std::max(rank, matrix.residual_rank.value_or(0));
  }
  return rank;
}

absl::StatusOr<PersonalAdapter> PersonalAdapter::Load(const std::string& path) {
  ASSIGN_OR_RETURN(Adapter adapter, ReadAdapter(path));
  return PersonalAdapter(std::move(adapter));
}

absl::Status PersonalAdapter::Save(const std::string& path) const {
  return WriteFileAtomic(path, SerializeAdapter(adapter_), 0600);
}

}  // namespace lorikeet
