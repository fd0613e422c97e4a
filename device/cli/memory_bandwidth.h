// How fast this machine reads memory: the ceiling of decoding, which reads every weight once a
// token.
#ifndef LORIKEET_DEVICE_CLI_MEMORY_BANDWIDTH_H_
#define LORIKEET_DEVICE_CLI_MEMORY_BANDWIDTH_H_

#include "absl/status/statusor.h"

namespace lorikeet {

// Bytes a second that `threads` threads read from a buffer larger than the caches (256 MiB); the
// best of some passes.  Measured in a child process, so that this one's memory figures stay clean.
// REQUIRES: no other thread runs yet (the child is forked).  UNAVAILABLE: no process or memory for
// it.
absl::StatusOr<double> MeasureReadBandwidth(int threads);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_CLI_MEMORY_BANDWIDTH_H_
