#include "common/adapter/sum.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/adapter/gguf_io.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// The matrix with its scale folded into B: kind lora, scale 1.
AdapterMatrix Folded(const AdapterRef& reference, const AdapterMatrix& matrix) {
  AdapterMatrix result = matrix;
  result.b = matrix.EffectiveB();
  result.core.clear();
  result.residual_rank.reset();  // which of the sum's ranks those are is the caller's to say
  const float scale = reference.scale * reference.adapter->BaseScale(matrix);
  for (float& value : result.b) value *= scale;
  return result;
}

// Two low-rank terms of one weight side by side.
absl::StatusOr<AdapterMatrix> Concatenate(const AdapterMatrix& first, const AdapterMatrix& second) {
  const std::string name = WeightName(first.target.layer_index, first.target.module);
  if (first.in_features != second.in_features || first.out_features != second.out_features) {
    return absl::InvalidArgumentError(absl::StrCat(
        name, ": expected adapters of one shape, got [", first.out_features, ", ",
        first.in_features, "] and [", second.out_features, ", ", second.in_features, "]"));
  }
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

// `info` of a sum with one more term.
absl::Status AddInfo(const AdapterInfo& term, AdapterInfo& info) {
  if (term.architecture != info.architecture) {
    return absl::InvalidArgumentError(absl::StrCat("expected adapters for ", info.architecture,
                                                   ", got one for ", term.architecture));
  }
  if (info.base_fingerprint.empty()) info.base_fingerprint = term.base_fingerprint;
  if (!term.base_fingerprint.empty() && term.base_fingerprint != info.base_fingerprint) {
    return absl::FailedPreconditionError(absl::StrCat("expected adapters of one base, ",
                                                      info.base_fingerprint, ", got one of ",
                                                      term.base_fingerprint));
  }
  if (!term.name.empty()) {
    absl::StrAppend(&info.name, info.name.empty() ? "" : " + ", term.name);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AdapterSum> SumMatrices(std::span<const AdapterRef> adapters) {
  std::map<AdapterTarget, AdapterMatrix> merged;
  for (const AdapterRef& reference : adapters) {
    for (const AdapterMatrix& matrix : reference.adapter->matrices) {
      AdapterMatrix folded = Folded(reference, matrix);
      const auto it = merged.find(matrix.target);
      if (it == merged.end()) {
        merged.emplace(matrix.target, std::move(folded));
      } else {
        ASSIGN_OR_RETURN(it->second, Concatenate(it->second, folded));
      }
    }
  }
  AdapterSum sum;
  for (auto& [target, matrix] : merged) sum.matrices.push_back(std::move(matrix));
  const bool one_rank = std::ranges::all_of(sum.matrices, [&](const AdapterMatrix& matrix) {
    return matrix.rank == sum.matrices.front().rank;
  });
  if (one_rank && !sum.matrices.empty()) {
    sum.alpha = static_cast<float>(sum.matrices.front().rank);
  }
  return sum;
}

absl::StatusOr<Adapter> SumAdapters(std::span<const AdapterRef> adapters) {
  if (adapters.empty()) return absl::InvalidArgumentError("expected at least one adapter");
  Adapter result;
  result.info.architecture = adapters.front().adapter->info.architecture;
  for (const AdapterRef& reference : adapters) {
    RETURN_IF_ERROR(CheckAdapterShape(*reference.adapter));
    RETURN_IF_ERROR(AddInfo(reference.adapter->info, result.info));
  }
  ASSIGN_OR_RETURN(AdapterSum sum, SumMatrices(adapters));
  for (const AdapterMatrix& matrix : sum.matrices) {
    if (matrix.rank <= kMaxAdapterRank) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(WeightName(matrix.target.layer_index, matrix.target.module),
                     ": expected ranks of up to ", kMaxAdapterRank, " in all, got ", matrix.rank));
  }
  result.info.alpha = sum.alpha;
  result.matrices = std::move(sum.matrices);
  RETURN_IF_ERROR(CheckAdapterShape(result));
  return result;
}

}  // namespace lorikeet
