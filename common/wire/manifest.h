// Release manifests: what files a base model or a catalog consists of, signed by the fleet's key.
//
// A manifest is JSON, signed as the exact bytes (never re-serialized to verify):
//   {"format": "lorikeet-release-1", "kind": "base"|"catalog", "name": .., "version": N,
//    "base_fingerprint": hex, "created": RFC 3339, "expires": RFC 3339, "parent": hex or "",
//    "files": [FILE, ..], "deltas": [{"from": hex, "to": hex, "file": FILE}, ..]}
//   FILE: {"name": .., "bytes": N, "hash": hex, "chunk_bytes": N, "chunks": [hex, ..],
//          "chunk_lengths": [N, ..]}
// Hashes are BLAKE2b-256.  "parent" is the file hash of the catalog this one was made from.  Chunks
// are of chunk_bytes each, the last may be shorter; with "chunk_lengths" (left out otherwise) they
// are of these lengths, none above chunk_bytes.  "deltas" (left out if there are none): files that
// turn the file with the hash "from" into that with the hash "to" (common/delta), one of "files".
// A release directory holds manifest.json, manifest.sig ({"key": hex, "signature": hex}) and the
// files.
#ifndef LORIKEET_COMMON_WIRE_MANIFEST_H_
#define LORIKEET_COMMON_WIRE_MANIFEST_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/hash.h"
#include "common/crypto/sign.h"
#include "common/delta/byte_source.h"
#include "common/wire/federation.h"
#include "common/wire/limits.h"

namespace lorikeet {

inline constexpr char kReleaseLabel[] = "lorikeet-release-v1";
inline constexpr char kReleaseFormat[] = "lorikeet-release-1";

struct ManifestFile {
  std::string name;  // [A-Za-z0-9_-][A-Za-z0-9._-]*: no directories
  uint64_t bytes = 0;
  Hash256 hash = {};
  uint32_t chunk_bytes = kChunkBytes;  // the most of a chunk
  std::vector<Hash256> chunks;
  std::vector<uint32_t> chunk_lengths;  // of each; empty: chunk_bytes, the last may be shorter

  uint32_t ChunkLength(size_t chunk) const;  // REQUIRES: chunk < chunks.size()
  // Where each chunk begins, and at last the end.
  std::vector<uint64_t> ChunkOffsets() const;
};

// A way from an older file to one of a release that costs fewer bytes.
struct ManifestDelta {
  Hash256 from = {};
  Hash256 to = {};
  ManifestFile file;
};

struct Manifest {
  ReleaseKind kind = ReleaseKind::kCatalog;
  std::string name;
  uint64_t version = 0;  // grows with every release of this kind and base
  std::string base_fingerprint;
  absl::Time created;  // whole seconds
  absl::Time expires;
  std::string parent;
  std::vector<ManifestFile> files;
  std::vector<ManifestDelta> deltas;

  // The delta to the only file from the one with this hash; null: none.
  const ManifestDelta* DeltaFrom(const Hash256& installed) const;
};

// Name, size and hashes of one file's content.
ManifestFile DescribeFile(std::string name, std::span<const uint8_t> content);
// The same of a file that is read piece by piece, in chunks of these lengths (empty: equal ones).
// INVALID_ARGUMENT: the lengths do not add up.
absl::StatusOr<ManifestFile> DescribeFile(std::string name, const ByteSource& content,
                                          std::vector<uint32_t> chunk_lengths);

std::string SerializeManifest(const Manifest& manifest);
// INVALID_ARGUMENT names the field, what was expected and what came.
absl::StatusOr<Manifest> ParseManifest(const std::string& json);

// The manifest's name among the targets that a fleet's metadata lists (common/trust): of the newest
// release of a kind for a base, and, for ReleaseKind::kBase without a fingerprint, of the newest
// base.
std::string TargetName(ReleaseKind kind, std::string_view base_fingerprint);

SignedManifest SignManifest(const Manifest& manifest, const SigningKey& key);

struct ManifestExpectation {
  Ed25519PublicKey pinned_key = {};
  ReleaseKind kind = ReleaseKind::kCatalog;
  std::string base_fingerprint;  // empty: any
  uint64_t min_version = 0;      // the last version seen, + 1 where only a newer one will do
  absl::Time now;
};
// What it says of itself: all but the key.  FAILED_PRECONDITION as below.
absl::Status CheckManifest(const Manifest& manifest, const ManifestExpectation& expectation);
// The manifest, if everything holds.  PERMISSION_DENIED: another key; DATA_LOSS: bad signature;
// FAILED_PRECONDITION: another kind or base, expired, or rolled back (version < min_version);
// INVALID_ARGUMENT: malformed although signed.  Messages name expected and got.
absl::StatusOr<Manifest> VerifyManifest(const SignedManifest& signed_manifest,
                                        const ManifestExpectation& expectation);

// DATA_LOSS: this is not chunk `chunk_index` of the file.  OUT_OF_RANGE: no such chunk.
absl::Status VerifyFileChunk(const ManifestFile& file, size_t chunk_index,
                             std::span<const uint8_t> chunk);
// The whole content: size, then hash.  DATA_LOSS.
absl::Status VerifyFile(const ManifestFile& file, std::span<const uint8_t> content);
// The same, read a window at a time.
absl::Status VerifyFile(const ManifestFile& file, const ByteSource& content);

// Writes manifest.json and manifest.sig into `directory` (made if need be).
absl::Status WriteReleaseDir(const std::string& directory, const SignedManifest& signed_manifest);
// Reads them; verifies nothing.
absl::StatusOr<SignedManifest> ReadReleaseDir(const std::string& directory);
// VerifyManifest, then every file of it in `directory`.
absl::StatusOr<Manifest> VerifyReleaseDir(const std::string& directory,
                                          const ManifestExpectation& expectation);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_MANIFEST_H_
