#include "device/personalization/personal_adapter.h"

#include <algorithm>
#include <map>

#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// The matrix with its scale folded into B: kind lora, scale 1.
AdapterMatrix Folded(const Adapter& adapter, const AdapterMatrix& matrix) {
  AdapterMatrix result = matrix;
  result.b = matrix.EffectiveB();
  result.core.clear();
  const float scale = adapter.BaseScale(matrix);
  for (float& value : result.b) value *= scale;
  return result;
}

// Two low-rank terms of one weight side by side.
AdapterMatrix Concatenate(const AdapterMatrix& first, const AdapterMatrix& second) {
  LORIKEET_CHECK(first.in_features == second.in_features &&
                 first.out_features == second.out_features);
  AdapterMatrix result = first;
  result.rank = first.rank + second.rank;
  result.a.insert(result.a.end(), second.a.begin(), second.a.end());
  result.b.clear();
  for (int row = 0; row < first.out_features; ++row) {
    for (const AdapterMatrix* part : {&first, &second}) {
      const auto begin = part->b.begin() + static_cast<std::ptrdiff_t>(row) * part->rank;
      result.b.insert(result.b.end(), begin, begin + part->rank);
    }
  }
  return result;
}

}  // namespace

PersonalAdapter PersonalAdapter::Merge(const Adapter& persona, const Adapter& residual) {
  std::map<AdapterTarget, AdapterMatrix> merged;
  for (const AdapterMatrix& matrix : persona.matrices) {
    merged.emplace(matrix.target, Folded(persona, matrix));
  }
  for (const AdapterMatrix& matrix : residual.matrices) {
    AdapterMatrix folded = Folded(residual, matrix);
    const auto it = merged.find(matrix.target);
    if (it == merged.end()) {
      merged.emplace(matrix.target, std::move(folded));
    } else {
      it->second = Concatenate(it->second, folded);
    }
  }
  Adapter result;
  result.info = residual.info;
  result.info.kind = AdapterKind::kLora;
  for (auto& [target, matrix] : merged) result.matrices.push_back(std::move(matrix));
  const bool one_rank = std::ranges::all_of(result.matrices, [&](const AdapterMatrix& matrix) {
    return matrix.rank == result.matrices.front().rank;
  });
  result.info.alpha =
      one_rank && !result.matrices.empty() ? static_cast<float>(result.matrices.front().rank) : 0;
  return PersonalAdapter(std::move(result));
}

absl::StatusOr<PersonalAdapter> PersonalAdapter::Load(const std::string& path) {
  ASSIGN_OR_RETURN(Adapter adapter, ReadAdapter(path));
  return PersonalAdapter(std::move(adapter));
}

absl::Status PersonalAdapter::Save(const std::string& path) const {
  return WriteFileAtomic(path, SerializeAdapter(adapter_), 0600);
}

}  // namespace lorikeet
