// Several adapters as one: what `lorikeet merge` writes, and a persona with a personal residual.
#ifndef LORIKEET_COMMON_ADAPTER_SUM_H_
#define LORIKEET_COMMON_ADAPTER_SUM_H_

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"

namespace lorikeet {

struct AdapterSum {
  std::vector<AdapterMatrix> matrices;  // of kind lora
  float alpha = 0;
};

// The matrices of an adapter that adds what all of `adapters` add with their scales.  Nothing is
// approximated: ranks add up, A = [A_1; A_2; ...], B = [s_1 B_1, s_2 B_2, ...] (B R for kind core)
// with s = user scale * alpha / rank, so that the sum's own scale is 1: alpha is its rank where all
// matrices have one rank, else 0, which means the same.  INVALID_ARGUMENT: one weight in two
// shapes.
absl::StatusOr<AdapterSum> SumMatrices(std::span<const AdapterRef> adapters);

// The same as an adapter: architecture and base of the first that names one, names joined, no
// persona id, version and parent.
// INVALID_ARGUMENT: no adapters, broken ones, different architectures, one weight in two shapes, a
// rank above kMaxAdapterRank; FAILED_PRECONDITION: different bases (names both).
absl::StatusOr<Adapter> SumAdapters(std::span<const AdapterRef> adapters);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_SUM_H_
