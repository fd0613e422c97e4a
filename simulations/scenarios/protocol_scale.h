// Secure aggregation alone, with real keys and masks: what a cohort of a size costs.
//
// All clients and the server live in one process.  Memory is that of the server, O(d + n k), and of
// n clients' keys, O(n k); inputs are made one after the other and only their sum is kept.
#ifndef LORIKEET_SIMULATIONS_SCENARIOS_PROTOCOL_SCALE_H_
#define LORIKEET_SIMULATIONS_SCENARIOS_PROTOCOL_SCALE_H_

#include <cstdint>

#include "absl/status/statusor.h"

namespace lorikeet {

struct ScaleOptions {
  int devices = 1000;
  int64_t dimension = 10000;
  double dropout = 0.1;  // this share of the devices falls silent after sharing keys
  double corrupt = 0.05;
  int modulus_bits = 24;
  uint64_t seed = 1;
  int threads = 1;  // of the server's unmasking; 0: as many as the process may run on
};

struct ScaleStep {
  const char* name = "";
  double client_seconds = 0;  // processor time of all clients together
  double server_seconds = 0;
  uint64_t bytes_up = 0;
  uint64_t bytes_down = 0;
};
struct ScaleResult {
  int degree = 0;
  int threshold = 0;
  int survivors = 0;
  uint64_t sum_error = 0;
  double unmask_wall_seconds = 0;  // of the server's last computation, by the clock on the wall
  ScaleStep steps[5];
};

// INVALID_ARGUMENT: no graph fits.
absl::StatusOr<ScaleResult> RunScale(const ScaleOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SCENARIOS_PROTOCOL_SCALE_H_
