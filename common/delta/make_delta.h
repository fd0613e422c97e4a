// Makes model deltas.  Format: delta_file.h.  The coordinator's side; the device's: apply_delta.h.
#ifndef LORIKEET_COMMON_DELTA_MAKE_DELTA_H_
#define LORIKEET_COMMON_DELTA_MAKE_DELTA_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/hash.h"
#include "common/delta/delta_file.h"

namespace lorikeet {

struct DeltaSummary {
  DeltaHeader header;
  uint64_t bytes = 0;      // of the delta
  int tensors = 0;         // of the new file
  int tensors_paired = 0;  // with one of the old file
};

struct DeltaOptions {
  uint32_t window = kDeltaWindow;
};

// The bytes of the delta go to `sink`, in order.  Errors: of reading the files, which must be GGUF;
// FAILED_PRECONDITION: tensors that overlap, or a head above kMaxDeltaHead; of the sink.
absl::StatusOr<DeltaSummary> MakeDelta(
    const std::string& old_path, const std::string& new_path, const DeltaOptions& options,
    const std::function<absl::Status(std::span<const uint8_t>)>& sink);

// The same into a file, which appears whole or not at all.
absl::StatusOr<DeltaSummary> MakeDeltaFile(const std::string& old_path, const std::string& new_path,
                                           const std::string& delta_path,
                                           const DeltaOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DELTA_MAKE_DELTA_H_
