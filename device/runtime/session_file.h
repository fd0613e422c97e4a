// A session on disk: the tokens it has seen and their keys and values, so that a conversation goes
// on without computing them again.
//
// The file holds what the owner wrote and read: it is created for the owner's eyes only (mode
// 0600), not encrypted.  Bytes, little-endian:
//   "LORIKEET-SESSION" (16) · version u32 · file size u64 · base fingerprint (32) · precision u32
//   (0 exact, 1 fast) · cache type u32 (as in GGUF) · row bytes u32 · stretches u32 · adapter count
//   u32 · token count u32 · per adapter: hash of its factors (32), scale f32 · token ids i32... ·
//   per stretch (see KvCache): the rows of all tokens · BLAKE2b-256 of everything before (32)
#ifndef LORIKEET_DEVICE_RUNTIME_SESSION_FILE_H_
#define LORIKEET_DEVICE_RUNTIME_SESSION_FILE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/base/hash.h"
#include "device/model/model.h"
#include "device/runtime/kv_cache.h"

namespace lorikeet {

// What the cached numbers depend on.
struct SessionIdentity {
  Hash256 base{};
  bool exact = false;
  struct ActiveAdapter {
    Hash256 hash{};
    float scale = 1.0f;
    friend bool operator==(const ActiveAdapter&, const ActiveAdapter&) = default;
  };
  std::vector<ActiveAdapter> adapters;
};

// Reads the whole base once (Model::fingerprint).
absl::StatusOr<SessionIdentity> IdentifySession(const Model& model, bool exact,
                                                std::span<const AdapterRef> adapters);

// One atomic write.  The cache holds tokens.size() positions.
absl::Status WriteSessionFile(const std::string& path, const SessionIdentity& identity,
                              std::span<const TokenId> tokens, KvCache& cache);

// Fills positions [0, n) of the cache and returns their tokens; on an error the cache may have been
// written to.  NOT_FOUND: no such file.  INVALID_ARGUMENT: not a session file, or of another
// version.  DATA_LOSS: truncated or changed.  FAILED_PRECONDITION: of another base, precision,
// cache type or other adapters.  RESOURCE_EXHAUSTED: more positions than `context_length`.
absl::StatusOr<std::vector<TokenId>> ReadSessionFile(const std::string& path,
                                                     const SessionIdentity& identity,
                                                     int context_length, KvCache& cache);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_SESSION_FILE_H_
