#include "common/transparency/release_log.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

void AppendUint64(uint64_t value, std::vector<uint8_t>* bytes) {
  for (int i = 0; i < 8; ++i) bytes->push_back(static_cast<uint8_t>(value >> (8 * i)));
}

std::vector<uint8_t> SignedBytes(const TreeRootOf& tree, absl::Time time) {
  std::vector<uint8_t> bytes;
  AppendUint64(tree.size, &bytes);
  bytes.insert(bytes.end(), tree.root.begin(), tree.root.end());
  AppendUint64(static_cast<uint64_t>(absl::ToUnixSeconds(time)), &bytes);
  return bytes;
}

}  // namespace

std::string_view LogEntryKindName(LogEntryKind kind) {
  return kind == LogEntryKind::kRelease ? "release" : "round";
}

LogEntry LogEntryOf(LogEntryKind kind, std::string_view signed_bytes) {
  return {kind, Blake2b(AsBytes(signed_bytes))};
}

Hash256 LeafOf(const LogEntry& entry) {
  std::array<uint8_t, 33> bytes;
  bytes[0] = static_cast<uint8_t>(entry.kind);
  std::copy(entry.content.begin(), entry.content.end(), bytes.begin() + 1);
  return LeafHash(bytes);
}

TreeHead SignTreeHead(const TreeRootOf& tree, absl::Time time, const SigningKey& key) {
  TreeHead head;
  head.tree = tree;
  head.time = absl::FromUnixSeconds(absl::ToUnixSeconds(time));
  head.key = key.public_key();
  head.signature = key.Sign(kTreeHeadLabel, SignedBytes(head.tree, head.time));
  return head;
}

absl::Status VerifyTreeHead(const TreeHead& head, std::span<const Ed25519PublicKey> keys) {
  if (std::find(keys.begin(), keys.end(), head.key) == keys.end()) {
    return absl::PermissionDeniedError(
        absl::StrCat("log: expected a head by a key of the log, got ", ToHex(head.key)));
  }
  if (VerifySignature(head.key, kTreeHeadLabel, SignedBytes(head.tree, head.time),
                      head.signature)) {
    return absl::OkStatus();
  }
  return absl::DataLossError("log: the signature does not fit the head");
}

absl::Status CheckEvidence(std::span<const LogEntry> entries, const LogEvidence& evidence,
                           const std::optional<TreeHead>& last,
                           std::span<const Ed25519PublicKey> keys) {
  RETURN_IF_ERROR(VerifyTreeHead(evidence.head, keys));
  if (last) {
    RETURN_IF_ERROR(VerifyConsistency(last->tree, evidence.head.tree, evidence.consistency));
  } else if (!evidence.consistency.empty()) {
    return absl::InvalidArgumentError("log: expected no proof of consistency at the first look");
  }
  if (evidence.places.size() != entries.size()) {
    return absl::InvalidArgumentError(absl::StrFormat("log: expected proofs for %d entries, got %d",
                                                      entries.size(), evidence.places.size()));
  }
  for (size_t i = 0; i < entries.size(); ++i) {
    const LogPlace& place = evidence.places[i];
    RETURN_IF_ERROR(Annotate(
        VerifyInclusion(LeafOf(entries[i]), place.index, evidence.head.tree, place.inclusion),
        LogEntryKindName(entries[i].kind)));
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
