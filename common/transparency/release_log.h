// The log of everything that a fleet is told to install or to take part in: releases and round
// descriptions, in the order in which they appeared.
//
// A coordinator signs heads of the log; a device remembers the last one and takes a newer one only
// with a proof that it continues the old, and a release or a round only with a proof that it is in.
// So all devices that see consistent heads are shown the same releases, and whoever shows two
// devices different ones must keep up two logs for ever: the first time that a device sees heads of
// both, it holds two signatures that contradict each other.  (That devices compare heads with each
// other, or with an auditor, is up to them: a head is 112 bytes plus a key.)
//
// An entry is kind [1] | BLAKE2b-256 of the signed bytes [32], its leaf LeafHash (merkle.h) of
// that. A head is signed as size [8] | root [32] | seconds since 1970 [8], little-endian.
#ifndef LORIKEET_COMMON_TRANSPARENCY_RELEASE_LOG_H_
#define LORIKEET_COMMON_TRANSPARENCY_RELEASE_LOG_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "common/crypto/sign.h"
#include "common/transparency/merkle.h"

namespace lorikeet {

inline constexpr std::string_view kTreeHeadLabel = "lorikeet-tree-head-v1";

enum class LogEntryKind : uint8_t { kRelease = 1, kRound = 2 };
std::string_view LogEntryKindName(LogEntryKind kind);  // "release", "round"

struct LogEntry {
  LogEntryKind kind = LogEntryKind::kRelease;
  Hash256 content = {};  // of a release's manifest or a round's description, as signed

  friend bool operator==(const LogEntry&, const LogEntry&) = default;
};
LogEntry LogEntryOf(LogEntryKind kind, std::string_view signed_bytes);
Hash256 LeafOf(const LogEntry& entry);

struct TreeHead {
  TreeRootOf tree;
  absl::Time time;  // whole seconds
  Ed25519PublicKey key = {};
  Ed25519Signature signature = {};

  friend bool operator==(const TreeHead&, const TreeHead&) = default;
};
TreeHead SignTreeHead(const TreeRootOf& tree, absl::Time time, const SigningKey& key);
// PERMISSION_DENIED: not by one of `keys`; DATA_LOSS: bad signature.
absl::Status VerifyTreeHead(const TreeHead& head, std::span<const Ed25519PublicKey> keys);

// Where an entry is in the tree of a head.
struct LogPlace {
  uint64_t index = 0;
  MerkleProof inclusion;

  friend bool operator==(const LogPlace&, const LogPlace&) = default;
};
// What a device is shown with a release, or with all rounds that it is offered at once.
struct LogEvidence {
  TreeHead head;
  MerkleProof consistency;       // of the tree that was remembered with the head's
  std::vector<LogPlace> places;  // of the entries, in the order in which they were asked for

  friend bool operator==(const LogEvidence&, const LogEvidence&) = default;
};

// Whether all `entries` are in the log that continues the one remembered (`last`; absent: the first
// look).  When OK, evidence.head is to be remembered before an entry is used.
// PERMISSION_DENIED: the head is by another key; DATA_LOSS: bad signature, an entry is not in, or
// the log is not the one remembered; FAILED_PRECONDITION: it is shorter; INVALID_ARGUMENT:
// malformed.
absl::Status CheckEvidence(std::span<const LogEntry> entries, const LogEvidence& evidence,
                           const std::optional<TreeHead>& last,
                           std::span<const Ed25519PublicKey> keys);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TRANSPARENCY_RELEASE_LOG_H_
