// Applies model deltas: the new file from the old one, a window at a time.  Format: delta_file.h.
#ifndef LORIKEET_COMMON_DELTA_APPLY_DELTA_H_
#define LORIKEET_COMMON_DELTA_APPLY_DELTA_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/hash.h"
#include "common/delta/byte_source.h"
#include "common/delta/delta_file.h"

namespace lorikeet {

// What the new file must be, from a source that is trusted.
struct DeltaTarget {
  uint64_t bytes = 0;
  Hash256 hash = {};
};

// Which files a delta is for.  DATA_LOSS: not a delta.
absl::StatusOr<DeltaHeader> ReadDeltaHeader(const ByteSource& delta);

// Hands the new file to `sink`, in order, and last of all says whether it is the expected one:
// unless OK is returned nothing that went to the sink may be used.  Never more than target.bytes
// come, whatever the delta says.  FAILED_PRECONDITION: a delta to another file, or from an old file
// of another size; DATA_LOSS: malformed, or what came out is not the target; errors of the sources
// and the sink.
absl::Status ApplyDelta(const ByteSource& old_file, const ByteSource& delta,
                        const DeltaTarget& target,
                        const std::function<absl::Status(std::span<const uint8_t>)>& sink);

// The same from files to a file, which appears whole and verified or not at all.
absl::Status ApplyDeltaFile(const std::string& old_path, const std::string& delta_path,
                            const std::string& new_path, const DeltaTarget& target);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_DELTA_APPLY_DELTA_H_
