// What a device asks about releases and rounds before it uses them.  The answers are TrustUpdate
// (common/trust) and LogEvidence (common/transparency).
#ifndef LORIKEET_COMMON_WIRE_TRUST_MESSAGES_H_
#define LORIKEET_COMMON_WIRE_TRUST_MESSAGES_H_

#include <cstdint>
#include <vector>

#include "common/transparency/release_log.h"
#include "common/trust/trust_state.h"

namespace lorikeet {

// What the device has, so that it need not come again.  0: none.
struct TrustQuery {
  uint64_t root_version = 0;
  uint64_t snapshot_version = 0;
  uint64_t targets_version = 0;

  friend bool operator==(const TrustQuery&, const TrustQuery&) = default;
};

struct LogQuery {
  uint64_t known_size = 0;        // of the log when the device last saw it
  std::vector<LogEntry> entries;  // 1..limits.h kMaxLogQueryEntries

  friend bool operator==(const LogQuery&, const LogQuery&) = default;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_TRUST_MESSAGES_H_
