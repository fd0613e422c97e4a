// Choosing degree k and threshold t of the SecAgg+ graph (Bell et al. 2020, section 3;
// semi-malicious: section 4).
#ifndef LORIKEET_COMMON_SECAGG_PARAMETERS_H_
#define LORIKEET_COMMON_SECAGG_PARAMETERS_H_

#include "absl/status/statusor.h"

namespace lorikeet {

struct GraphRequest {
  int64_t clients = 0;          // n
  double corrupt_fraction = 0;  // c
  double dropout_fraction = 0;  // e
  bool semi_malicious = true;
  double security_bits = 40;
  double correctness_bits = 20;
};
struct GraphParameters {
  int degree = 0;  // even
  int threshold = 0;
};
// INVALID_ARGUMENT explains an infeasible setting (c + e > 0.9, or semi-malicious c + 2 e > 0.9, or
// no k <= n - 1).
absl::StatusOr<GraphParameters> ChooseGraph(const GraphRequest& request);

// Threshold for a complete graph of up to `cohort_max` clients: the smallest t with 2 t > n +
// corrupt clients (at most n), so that no two sets of t holders have only corrupt clients in
// common.  INVALID_ARGUMENT: out of range.
absl::StatusOr<int> CompleteGraphThreshold(int cohort_max, double corrupt_fraction);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_PARAMETERS_H_
