// Conversions of trust metadata and of the log's proofs.
#include "common/base/status_macros.h"
#include "common/wire/limits.h"
#include "common/wire/proto_convert.h"
#include "common/wire/wire_checks.h"

namespace lorikeet {
namespace {

using wire_internal::BytesToString;
using wire_internal::CheckCount;
using wire_internal::CheckRange;
using wire_internal::CheckText;
using wire_internal::FixedBytes;

using Hashes = google::protobuf::RepeatedPtrField<std::string>;

void HashesToProto(const MerkleProof& from, Hashes* to) {
  for (const Hash256& hash : from) *to->Add() = BytesToString(hash);
}

absl::StatusOr<MerkleProof> HashesFromProto(const Hashes& from, const char* field) {
  RETURN_IF_ERROR(CheckCount(from.size(), kMaxTreeProofHashes, field));
  MerkleProof to;
  for (const std::string& bytes : from) {
    ASSIGN_OR_RETURN(to.emplace_back(), FixedBytes<32>(bytes, field));
  }
  return to;
}

void DocumentToProto(const SignedMetadata& from, proto::SignedMetadata* to) {
  to->set_document(from.bytes);
  for (const TrustSignature& signature : from.signatures) {
    proto::TrustSignature* added = to->add_signatures();
    added->set_key(BytesToString(signature.key));
    added->set_signature(BytesToString(signature.signature));
  }
}

// The caps of the role; what a reference allows is checked by TrustState.
absl::StatusOr<SignedMetadata> DocumentFromProto(const proto::SignedMetadata& from,
                                                 TrustRole role) {
  SignedMetadata to;
  RETURN_IF_ERROR(CheckText(from.document(), 1, MaxMetadataBytes(role), "trust document"));
  RETURN_IF_ERROR(CheckCount(from.signatures_size(), kMaxTrustSignatures, "trust signatures"));
  to.bytes = from.document();
  for (const proto::TrustSignature& signature : from.signatures()) {
    TrustSignature& added = to.signatures.emplace_back();
    ASSIGN_OR_RETURN(added.key, FixedBytes<32>(signature.key(), "trust key"));
    ASSIGN_OR_RETURN(added.signature, FixedBytes<64>(signature.signature(), "trust signature"));
  }
  return to;
}

void HeadToProto(const TreeHead& from, proto::TreeHead* to) {
  to->set_size(from.tree.size);
  to->set_root(BytesToString(from.tree.root));
  to->set_unix_seconds(absl::ToUnixSeconds(from.time));
  to->set_key(BytesToString(from.key));
  to->set_signature(BytesToString(from.signature));
}

absl::StatusOr<TreeHead> HeadFromProto(const proto::TreeHead& from) {
  TreeHead to;
  RETURN_IF_ERROR(CheckRange(from.size(), 0, kMaxTreeSize, "log size"));
  to.tree.size = from.size();
  ASSIGN_OR_RETURN(to.tree.root, FixedBytes<32>(from.root(), "log root"));
  constexpr int64_t kYear2200 = 7258118400;
  RETURN_IF_ERROR(CheckRange(static_cast<uint64_t>(from.unix_seconds()), 0, kYear2200, "log time"));
  to.time = absl::FromUnixSeconds(from.unix_seconds());
  ASSIGN_OR_RETURN(to.key, FixedBytes<32>(from.key(), "log key"));
  ASSIGN_OR_RETURN(to.signature, FixedBytes<64>(from.signature(), "log signature"));
  return to;
}

}  // namespace

void ToProto(const TrustQuery& from, proto::GetTrustRequest* to) {
  to->set_root_version(from.root_version);
  to->set_snapshot_version(from.snapshot_version);
  to->set_targets_version(from.targets_version);
}

absl::StatusOr<TrustQuery> FromProto(const proto::GetTrustRequest& from) {
  return TrustQuery{from.root_version(), from.snapshot_version(), from.targets_version()};
}

void ToProto(const TrustUpdate& from, proto::GetTrustResponse* to) {
  for (const SignedMetadata& root : from.roots) DocumentToProto(root, to->add_roots());
  if (from.timestamp) DocumentToProto(*from.timestamp, to->mutable_timestamp());
  if (from.snapshot) DocumentToProto(*from.snapshot, to->mutable_snapshot());
  if (from.targets) DocumentToProto(*from.targets, to->mutable_targets());
}

absl::StatusOr<TrustUpdate> FromProto(const proto::GetTrustResponse& from) {
  TrustUpdate to;
  RETURN_IF_ERROR(CheckCount(from.roots_size(), kMaxRootsPerUpdate, "roots"));
  for (const proto::SignedMetadata& root : from.roots()) {
    ASSIGN_OR_RETURN(to.roots.emplace_back(), DocumentFromProto(root, TrustRole::kRoot));
  }
  if (from.has_timestamp()) {
    ASSIGN_OR_RETURN(to.timestamp, DocumentFromProto(from.timestamp(), TrustRole::kTimestamp));
  }
  if (from.has_snapshot()) {
    ASSIGN_OR_RETURN(to.snapshot, DocumentFromProto(from.snapshot(), TrustRole::kSnapshot));
  }
  if (from.has_targets()) {
    ASSIGN_OR_RETURN(to.targets, DocumentFromProto(from.targets(), TrustRole::kTargets));
  }
  return to;
}

void ToProto(const LogQuery& from, proto::GetLogProofRequest* to) {
  to->set_known_size(from.known_size);
  for (const LogEntry& entry : from.entries) {
    proto::LogEntry* added = to->add_entries();
    added->set_kind(static_cast<uint32_t>(entry.kind));
    added->set_content(BytesToString(entry.content));
  }
}

absl::StatusOr<LogQuery> FromProto(const proto::GetLogProofRequest& from) {
  LogQuery to;
  RETURN_IF_ERROR(CheckRange(from.known_size(), 0, kMaxTreeSize, "known_size"));
  to.known_size = from.known_size();
  RETURN_IF_ERROR(CheckRange(static_cast<uint64_t>(from.entries_size()), 1, kMaxLogQueryEntries,
                             "log entries"));
  for (const proto::LogEntry& entry : from.entries()) {
    LogEntry& added = to.entries.emplace_back();
    RETURN_IF_ERROR(CheckRange(entry.kind(), static_cast<uint64_t>(LogEntryKind::kRelease),
                               static_cast<uint64_t>(LogEntryKind::kRound), "log entry kind"));
    added.kind = static_cast<LogEntryKind>(entry.kind());
    ASSIGN_OR_RETURN(added.content, FixedBytes<32>(entry.content(), "log entry"));
  }
  return to;
}

void ToProto(const LogEvidence& from, proto::GetLogProofResponse* to) {
  HeadToProto(from.head, to->mutable_head());
  HashesToProto(from.consistency, to->mutable_consistency());
  for (const LogPlace& place : from.places) {
    proto::LogPlace* added = to->add_places();
    added->set_index(place.index);
    HashesToProto(place.inclusion, added->mutable_inclusion());
  }
}

absl::StatusOr<LogEvidence> FromProto(const proto::GetLogProofResponse& from) {
  LogEvidence to;
  ASSIGN_OR_RETURN(to.head, HeadFromProto(from.head()));
  ASSIGN_OR_RETURN(to.consistency, HashesFromProto(from.consistency(), "consistency proof"));
  RETURN_IF_ERROR(CheckCount(from.places_size(), kMaxLogQueryEntries, "log places"));
  for (const proto::LogPlace& place : from.places()) {
    LogPlace& added = to.places.emplace_back();
    added.index = place.index();
    ASSIGN_OR_RETURN(added.inclusion, HashesFromProto(place.inclusion(), "inclusion proof"));
  }
  return to;
}

}  // namespace lorikeet
