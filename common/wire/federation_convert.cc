// Conversions of the service's requests and answers.
#include "common/base/status_macros.h"
#include "common/wire/limits.h"
#include "common/wire/proto_convert.h"
#include "common/wire/wire_checks.h"

namespace lorikeet {
namespace {

using wire_internal::BytesToString;
using wire_internal::CheckHexHash;
using wire_internal::CheckRange;
using wire_internal::CheckText;
using wire_internal::FixedBytes;
using wire_internal::TimeFromMillis;

uint32_t RetryMillis(absl::Duration retry_after) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(retry_after), 0, UINT32_MAX));
}

}  // namespace

void ToProto(const SignedManifest& from, proto::SignedManifest* to) {
  to->set_manifest(from.manifest);
  to->set_signature(BytesToString(from.signature));
  to->set_key(BytesToString(from.key));
}

absl::StatusOr<SignedManifest> FromProto(const proto::SignedManifest& from) {
  SignedManifest to;
  RETURN_IF_ERROR(CheckText(from.manifest(), 1, kMaxManifestBytes, "manifest"));
  to.manifest = from.manifest();
  ASSIGN_OR_RETURN(to.signature, FixedBytes<64>(from.signature(), "signature"));
  ASSIGN_OR_RETURN(to.key, FixedBytes<32>(from.key(), "key"));
  return to;
}

void ToProto(const HelloResult& from, proto::HelloResponse* to) {
  to->set_protocol_version(from.protocol_version);
  to->set_oldest_protocol_version(from.oldest_protocol_version);
  to->set_now_ms(absl::ToUnixMillis(from.now));
}

absl::StatusOr<HelloResult> FromProto(const proto::HelloResponse& from) {
  HelloResult to;
  RETURN_IF_ERROR(CheckRange(from.protocol_version(), 1, UINT32_MAX, "protocol_version"));
  RETURN_IF_ERROR(CheckRange(from.oldest_protocol_version(), 1, from.protocol_version(),
                             "oldest_protocol_version"));
  to.protocol_version = from.protocol_version();
  to.oldest_protocol_version = from.oldest_protocol_version();
  ASSIGN_OR_RETURN(to.now, TimeFromMillis(from.now_ms(), "now"));
  return to;
}

void ToProto(const ReleaseQuery& from, proto::GetReleaseRequest* to) {
  to->set_kind(std::string(ReleaseKindName(from.kind)));
  to->set_base_fingerprint(from.base_fingerprint);
}

absl::StatusOr<ReleaseQuery> FromProto(const proto::GetReleaseRequest& from) {
  ReleaseQuery to;
  ASSIGN_OR_RETURN(to.kind, ParseReleaseKind(from.kind()));
  const bool any_base = to.kind == ReleaseKind::kBase && from.base_fingerprint().empty();
  if (!any_base) RETURN_IF_ERROR(CheckHexHash(from.base_fingerprint(), "base_fingerprint"));
  to.base_fingerprint = from.base_fingerprint();
  return to;
}

void ToProto(const ChunkQuery& from, proto::FetchChunkRequest* to) {
  to->set_file_hash(BytesToString(from.file_hash));
  to->set_offset(from.offset);
  to->set_length(from.length);
}

absl::StatusOr<ChunkQuery> FromProto(const proto::FetchChunkRequest& from) {
  ChunkQuery to;
  ASSIGN_OR_RETURN(to.file_hash, FixedBytes<32>(from.file_hash(), "file_hash"));
  RETURN_IF_ERROR(CheckRange(from.length(), 1, kMaxFetchBytes, "length"));
  to.offset = from.offset();
  to.length = from.length();
  return to;
}

void ToProto(ChunkResult from, proto::FetchChunkResponse* to) {
  to->set_data(std::move(from.data));
  to->set_file_bytes(from.file_bytes);
}

absl::StatusOr<ChunkResult> FromProto(proto::FetchChunkResponse from) {
  ChunkResult to;
  RETURN_IF_ERROR(CheckText(from.data(), 0, kMaxFetchBytes, "data"));
  to.data = std::move(*from.mutable_data());
  to.file_bytes = from.file_bytes();
  return to;
}

void ToProto(const RoundQuery& from, proto::GetRoundRequest* to) {
  to->set_protocol_version(from.protocol_version);
  to->set_base_fingerprint(from.base_fingerprint);
  to->set_catalog_version(from.catalog_version);
}

absl::StatusOr<RoundQuery> FromProto(const proto::GetRoundRequest& from) {
  RoundQuery to;
  to.protocol_version = from.protocol_version();
  RETURN_IF_ERROR(CheckHexHash(from.base_fingerprint(), "base_fingerprint"));
  to.base_fingerprint = from.base_fingerprint();
  to.catalog_version = from.catalog_version();
  return to;
}

void ToProto(const RoundOffer& from, proto::GetRoundResponse* to) {
  for (const SignedRoundDescription& round : from.rounds) ToProto(round, to->add_rounds());
  to->set_retry_after_ms(RetryMillis(from.retry_after));
}

absl::StatusOr<RoundOffer> FromProto(const proto::GetRoundResponse& from) {
  RoundOffer to;
  RETURN_IF_ERROR(CheckRange(static_cast<uint64_t>(from.rounds_size()), 0, kMaxOfferedRounds,
                             "rounds offered"));
  for (const proto::SignedRoundDescription& round : from.rounds()) {
    ASSIGN_OR_RETURN(to.rounds.emplace_back(), FromProto(round));
  }
  to.retry_after = absl::Milliseconds(from.retry_after_ms());
  return to;
}

void ToProto(const PollQuery& from, proto::PollRequest* to) {
  to->set_session(BytesToString(from.session));
  to->set_ticket(from.ticket);
}

absl::StatusOr<PollQuery> FromProto(const proto::PollRequest& from) {
  PollQuery to;
  ASSIGN_OR_RETURN(to.session, FixedBytes<32>(from.session(), "session"));
  RETURN_IF_ERROR(CheckRange(from.ticket(), 0, kMaxCohort - 1, "ticket"));
  to.ticket = from.ticket();
  return to;
}

void ToProto(const PollResult& from, proto::PollResponse* to) {
  to->set_phase(static_cast<proto::RoundPhase>(from.phase));
  to->set_retry_after_ms(RetryMillis(from.retry_after));
  if (from.directory) ToProto(*from.directory, to->mutable_directory());
  if (from.delivery) ToProto(*from.delivery, to->mutable_delivery());
  if (from.survivors) ToProto(*from.survivors, to->mutable_survivors());
  if (from.acknowledgements) ToProto(*from.acknowledgements, to->mutable_acknowledgements());
  to->set_message(from.message);
  to->set_survivor_count(from.survivor_count);
  if (from.phase == RoundPhase::kDone) to->set_transcript(BytesToString(from.transcript));
}

absl::StatusOr<PollResult> FromProto(const proto::PollResponse& from) {
  PollResult to;
  RETURN_IF_ERROR(CheckRange(static_cast<uint64_t>(from.phase()),
                             static_cast<uint64_t>(RoundPhase::kAdvertise),
                             static_cast<uint64_t>(RoundPhase::kAborted), "phase"));
  to.phase = static_cast<RoundPhase>(from.phase());
  to.retry_after = absl::Milliseconds(from.retry_after_ms());
  if (from.has_directory()) {
    ASSIGN_OR_RETURN(to.directory, FromProto(from.directory()));
  }
  if (from.has_delivery()) {
    ASSIGN_OR_RETURN(to.delivery, FromProto(from.delivery()));
  }
  if (from.has_survivors()) {
    ASSIGN_OR_RETURN(to.survivors, FromProto(from.survivors()));
  }
  if (from.has_acknowledgements()) {
    ASSIGN_OR_RETURN(to.acknowledgements, FromProto(from.acknowledgements()));
  }
  RETURN_IF_ERROR(CheckText(from.message(), 0, 1024, "message"));
  to.message = from.message();
  RETURN_IF_ERROR(CheckRange(from.survivor_count(), 0, kMaxCohort, "survivor_count"));
  to.survivor_count = from.survivor_count();
  if (to.phase == RoundPhase::kDone) {
    ASSIGN_OR_RETURN(to.transcript, FixedBytes<32>(from.transcript(), "transcript"));
  }
  return to;
}

}  // namespace lorikeet
