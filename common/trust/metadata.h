// Metadata of releases in the manner of The Update Framework (TUF specification 1.0): what each
// role signs.  Here are the documents and their bytes; who is believed is trust_state.h.
//
//   root       which keys each role has and how many must sign; signed by the root keys, offline
//   timestamp  which snapshot is current; short-lived, signed again and again: no freezing
//   snapshot   which targets document is current: no mixing of documents of different times
//   targets    length and hash of every file that may be installed
// Two roles sign no metadata: "log" signs tree heads (common/transparency), "rounds" signs round
// descriptions (common/wire/sign_round.h).  A root names their keys, so that those rotate, too.
//
// A document is canonical JSON: no white space, keys in byte order, whole numbers, printable ASCII
// without " and \, lists of keys ascending.  A parser takes nothing else: every document has
// exactly one sequence of bytes.  Times are RFC 3339 in UTC, whole seconds.
//   {"expires":T,"format":"lorikeet-trust-1","role":"root","roles":{"log":{"keys":[HEX,..],
//    "threshold":N},"root":..,"rounds":..,"snapshot":..,"targets":..,"timestamp":..},"version":N}
//   {"expires":T,"format":..,"role":"timestamp","signed":T,"snapshot":{"hash":HEX,"length":N,
//    "version":N},"version":N}
//   {"expires":T,"format":..,"role":"snapshot","targets":{"hash":..,"length":..,"version":..},
//    "version":N}
//   {"expires":T,"format":..,"role":"targets","targets":{NAME:{"hash":HEX,"length":N},..},
//    "version":N}
// What is signed are these bytes, with the label of the role.  Hashes are BLAKE2b-256 of them.
#ifndef LORIKEET_COMMON_TRUST_METADATA_H_
#define LORIKEET_COMMON_TRUST_METADATA_H_

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/hash.h"
#include "common/crypto/sign.h"

namespace lorikeet {

enum class TrustRole : uint8_t { kRoot, kTimestamp, kSnapshot, kTargets, kLog, kRounds };
inline constexpr int kTrustRoleCount = 6;
std::string_view TrustRoleName(TrustRole role);  // "root", ...
// INVALID_ARGUMENT lists the names.
absl::StatusOr<TrustRole> ParseTrustRole(std::string_view name);

inline constexpr std::string_view kTrustFormat = "lorikeet-trust-1";
inline constexpr size_t kMaxTrustKeys = 16;  // of one role
inline constexpr size_t kMaxTrustSignatures = 2 * kMaxTrustKeys;
inline constexpr size_t kMaxTargets = 4096;
inline constexpr size_t kMaxTargetNameBytes = 256;
// The most bytes of a document that anybody reads, whatever its reference says.
size_t MaxMetadataBytes(TrustRole role);

struct TrustSignature {
  Ed25519PublicKey key = {};
  Ed25519Signature signature = {};

  friend bool operator==(const TrustSignature&, const TrustSignature&) = default;
};

// A document as the bytes that were signed.  Nothing in it is to be believed before trust_state.h
// accepted it.
struct SignedMetadata {
  std::string bytes;
  std::vector<TrustSignature> signatures;

  friend bool operator==(const SignedMetadata&, const SignedMetadata&) = default;
};

struct RoleKeys {
  std::vector<Ed25519PublicKey> keys;  // ascending, all different
  uint64_t threshold = 1;              // how many of them must sign

  bool Has(const Ed25519PublicKey& key) const;
  friend bool operator==(const RoleKeys&, const RoleKeys&) = default;
};

struct RootMetadata {
  uint64_t version = 1;
  absl::Time expires;
  std::array<RoleKeys, kTrustRoleCount> roles;

  RoleKeys& role(TrustRole r) { return roles[static_cast<size_t>(r)]; }
  const RoleKeys& role(TrustRole r) const { return roles[static_cast<size_t>(r)]; }
};

// Names one version of another document.
struct MetadataReference {
  uint64_t version = 0;
  uint64_t length = 0;
  Hash256 hash = {};

  friend bool operator==(const MetadataReference&, const MetadataReference&) = default;
};

struct TimestampMetadata {
  uint64_t version = 1;
  absl::Time signed_at;
  absl::Time expires;
  MetadataReference snapshot;
};

struct SnapshotMetadata {
  uint64_t version = 1;
  absl::Time expires;
  MetadataReference targets;
};

struct TargetFile {
  uint64_t length = 0;
  Hash256 hash = {};

  friend bool operator==(const TargetFile&, const TargetFile&) = default;
};

struct TargetsMetadata {
  uint64_t version = 1;
  absl::Time expires;
  std::map<std::string, TargetFile> targets;  // names: [A-Za-z0-9._/-]+
};

// The canonical bytes.  REQUIRES: what the parsers demand (keys ascending, names plain, times whole
// seconds between 1970 and 9999).
std::string SerializeRoot(const RootMetadata& root);
std::string SerializeTimestamp(const TimestampMetadata& timestamp);
std::string SerializeSnapshot(const SnapshotMetadata& snapshot);
std::string SerializeTargets(const TargetsMetadata& targets);

// INVALID_ARGUMENT: not the canonical bytes of such a document, a version 0, a threshold of 0 or
// above the number of keys, too many keys or targets; RESOURCE_EXHAUSTED: more bytes than
// MaxMetadataBytes.  Messages say what was expected and what came.
absl::StatusOr<RootMetadata> ParseRoot(std::string_view bytes);
absl::StatusOr<TimestampMetadata> ParseTimestamp(std::string_view bytes);
absl::StatusOr<SnapshotMetadata> ParseSnapshot(std::string_view bytes);
absl::StatusOr<TargetsMetadata> ParseTargets(std::string_view bytes);

// Version, length and hash of a document's bytes.
MetadataReference ReferTo(std::string_view bytes, uint64_t version);

// Sorts the keys and drops doubles.
RoleKeys MakeRoleKeys(std::vector<Ed25519PublicKey> keys, uint64_t threshold);

// Adds a signature of `key`, or replaces the one it made before.
void AddSignature(TrustRole role, const SigningKey& key, SignedMetadata* document);
SignedMetadata SignMetadata(TrustRole role, std::string bytes,
                            const std::vector<const SigningKey*>& keys);

// How many different keys of `keys` signed: a key counts once, others do not count.  Signatures
// that do not fit are passed over (TUF 5.3.4: a threshold of good ones is enough).
uint64_t CountSignatures(TrustRole role, const SignedMetadata& document, const RoleKeys& keys);

// A signed document in a file: {"signatures":[{"key":HEX,"signature":HEX},..],"signed":TEXT}.
std::string SerializeSigned(const SignedMetadata& document);
// INVALID_ARGUMENT; RESOURCE_EXHAUSTED.  Believes nothing.
absl::StatusOr<SignedMetadata> ParseSigned(std::string_view text);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TRUST_METADATA_H_
