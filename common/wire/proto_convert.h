// Structs <-> protobuf messages.  Only common/wire and the gRPC adapters may include this (it
// brings in .pb.h).
//
// FromProto is where sizes, counts and ranges are checked: INVALID_ARGUMENT says which field, what
// was expected and what came.  Of the update types only MaskedUpdate is here.
#ifndef LORIKEET_COMMON_WIRE_PROTO_CONVERT_H_
#define LORIKEET_COMMON_WIRE_PROTO_CONVERT_H_

#include "absl/status/statusor.h"
#include "common/secagg/masked_update.h"
#include "common/secagg/messages.h"
#include "common/tokens/token.h"
#include "common/tokens/token_keys.h"
#include "common/wire/federation.h"
#include "common/wire/round.h"
#include "federation.pb.h"

namespace lorikeet {

void ToProto(const KeyAdvertisement& from, proto::KeyAdvertisement* to);
void ToProto(const KeyDirectory& from, proto::KeyDirectory* to);
void ToProto(const ShareKeysMessage& from, proto::ShareKeysMessage* to);
void ToProto(const ShareDelivery& from, proto::ShareDelivery* to);
void ToProto(const MaskedUpdate& from, proto::MaskedUpdate* to);
void ToProto(const SurvivorLists& from, proto::SurvivorLists* to);
void ToProto(const Acknowledgement& from, proto::Acknowledgement* to);
void ToProto(const AcknowledgementSet& from, proto::AcknowledgementSet* to);
void ToProto(const UnmaskResponse& from, proto::UnmaskResponse* to);
void ToProto(const RoundDescription& from, proto::RoundDescription* to);
void ToProto(const SignedRoundDescription& from, proto::SignedRoundDescription* to);
void ToProto(const SignedManifest& from, proto::SignedManifest* to);
void ToProto(const HelloResult& from, proto::HelloResponse* to);
void ToProto(const ReleaseQuery& from, proto::GetReleaseRequest* to);
void ToProto(const ChunkQuery& from, proto::FetchChunkRequest* to);
void ToProto(ChunkResult from, proto::FetchChunkResponse* to);
void ToProto(const RoundQuery& from, proto::GetRoundRequest* to);
void ToProto(const RoundOffer& from, proto::GetRoundResponse* to);
void ToProto(const PollQuery& from, proto::PollRequest* to);
void ToProto(const PollResult& from, proto::PollResponse* to);
void ToProto(const JoinRequest& from, proto::AdvertiseKeysRequest* to);
void ToProto(const Token& from, proto::Token* to);
void ToProto(const SignedTokenKeys& from, proto::GetTokenKeysResponse* to);
void ToProto(const IssueRequest& from, proto::IssueTokensRequest* to);
void ToProto(const BatchEvaluation& from, proto::IssueTokensResponse* to);
void ToProto(const TrustQuery& from, proto::GetTrustRequest* to);
void ToProto(const TrustUpdate& from, proto::GetTrustResponse* to);
void ToProto(const LogQuery& from, proto::GetLogProofRequest* to);
void ToProto(const LogEvidence& from, proto::GetLogProofResponse* to);

// Once a process: protobuf prints a line to stderr for every malformed message; our errors say it
// once, to whom it concerns.  Thread-safe, may be repeated.
void SilenceProtobuf();

absl::StatusOr<KeyAdvertisement> FromProto(const proto::KeyAdvertisement& from);
absl::StatusOr<KeyDirectory> FromProto(const proto::KeyDirectory& from);
absl::StatusOr<ShareKeysMessage> FromProto(const proto::ShareKeysMessage& from);
absl::StatusOr<ShareDelivery> FromProto(const proto::ShareDelivery& from);
absl::StatusOr<MaskedUpdate> FromProto(const proto::MaskedUpdate& from);
absl::StatusOr<SurvivorLists> FromProto(const proto::SurvivorLists& from);
absl::StatusOr<Acknowledgement> FromProto(const proto::Acknowledgement& from);
absl::StatusOr<AcknowledgementSet> FromProto(const proto::AcknowledgementSet& from);
absl::StatusOr<UnmaskResponse> FromProto(const proto::UnmaskResponse& from);
// The session in the result's SecAggParameters is left zero (it is the hash of the bytes, see
// sign_round.h).
absl::StatusOr<RoundDescription> FromProto(const proto::RoundDescription& from);
absl::StatusOr<SignedRoundDescription> FromProto(const proto::SignedRoundDescription& from);
absl::StatusOr<SignedManifest> FromProto(const proto::SignedManifest& from);
absl::StatusOr<HelloResult> FromProto(const proto::HelloResponse& from);
absl::StatusOr<ReleaseQuery> FromProto(const proto::GetReleaseRequest& from);
absl::StatusOr<ChunkQuery> FromProto(const proto::FetchChunkRequest& from);
absl::StatusOr<ChunkResult> FromProto(proto::FetchChunkResponse from);
absl::StatusOr<RoundQuery> FromProto(const proto::GetRoundRequest& from);
absl::StatusOr<RoundOffer> FromProto(const proto::GetRoundResponse& from);
absl::StatusOr<PollQuery> FromProto(const proto::PollRequest& from);
absl::StatusOr<PollResult> FromProto(const proto::PollResponse& from);
absl::StatusOr<JoinRequest> FromProto(const proto::AdvertiseKeysRequest& from);
absl::StatusOr<Token> FromProto(const proto::Token& from);
absl::StatusOr<SignedTokenKeys> FromProto(const proto::GetTokenKeysResponse& from);
absl::StatusOr<IssueRequest> FromProto(const proto::IssueTokensRequest& from);
absl::StatusOr<BatchEvaluation> FromProto(const proto::IssueTokensResponse& from);
// Nothing of what these four carry is to be believed before common/trust and common/transparency
// accepted it.
absl::StatusOr<TrustQuery> FromProto(const proto::GetTrustRequest& from);
absl::StatusOr<TrustUpdate> FromProto(const proto::GetTrustResponse& from);
absl::StatusOr<LogQuery> FromProto(const proto::GetLogProofRequest& from);
absl::StatusOr<LogEvidence> FromProto(const proto::GetLogProofResponse& from);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_PROTO_CONVERT_H_
