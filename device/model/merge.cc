#include "device/model/merge.h"

#include <map>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

// One low-rank term of a weight; borrows from its adapter.
struct Term {
  const AdapterMatrix* matrix = nullptr;
  std::vector<float> b;  // B or B R
  float scale = 1;
};

using Terms = std::map<std::string, std::vector<Term>, std::less<>>;

Terms TermsOf(std::span<const AdapterRef> adapters) {
  Terms terms;
  for (const AdapterRef& reference : adapters) {
    for (const AdapterMatrix& matrix : reference.adapter->matrices) {
      terms[WeightName(matrix.target.layer_index, matrix.target.module)].push_back(
          {.matrix = &matrix,
           .b = matrix.EffectiveB(),
           .scale = reference.scale * reference.adapter->BaseScale(matrix)});
    }
  }
  return terms;
}

// The terms are small against the weights: summed on their own first.
void AddTerms(const std::vector<Term>& terms, int64_t row, std::span<float> weights) {
  std::vector<float> sum(weights.size());
  for (const Term& term : terms) {
    const int rank = term.matrix->rank;
    for (int r = 0; r < rank; ++r) {
      const float factor = term.scale * term.b[static_cast<size_t>(row * rank + r)];
      const float* a = term.matrix->a.data() + static_cast<size_t>(r) * weights.size();
      for (size_t c = 0; c < weights.size(); ++c) sum[c] += factor * a[c];
    }
  }
  for (size_t c = 0; c < weights.size(); ++c) weights[c] += sum[c];
}

}  // namespace

absl::StatusOr<Requantized> MergeIntoBase(const Model& model, const MergeOptions& options,
                                          const std::string& path, ThreadPool* pool,
                                          const std::function<void(int64_t, int64_t)>& progress) {
  if (options.adapters.empty()) return absl::InvalidArgumentError("expected at least one adapter");
  for (const AdapterRef& reference : options.adapters) {
    RETURN_IF_ERROR(CheckAdapterShape(*reference.adapter));
    RETURN_IF_ERROR(model.CheckAdapter(*reference.adapter));
  }
  const Terms terms = TermsOf(options.adapters);
  const RewriteOptions rewrite{
      .type = options.type,
      .edit = {.applies = [&](std::string_view tensor) { return terms.contains(tensor); },
               .apply =
                   [&](std::string_view tensor, int64_t row, std::span<float> values) {
                     AddTerms(terms.find(tensor)->second, row, values);
                   }}};
  return RewriteWeights(model.file(), rewrite, path, pool, progress);
}

}  // namespace lorikeet
