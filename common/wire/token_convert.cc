// Conversions of anonymous tokens and of what issues them.
#include "common/base/status_macros.h"
#include "common/wire/limits.h"
#include "common/wire/proto_convert.h"
#include "common/wire/wire_checks.h"

namespace lorikeet {
namespace {

using wire_internal::BytesToString;
using wire_internal::CheckRange;
using wire_internal::CheckText;
using wire_internal::FixedBytes;

absl::StatusOr<std::vector<GroupElement>> Elements(
    const google::protobuf::RepeatedPtrField<std::string>& from, const char* field) {
  RETURN_IF_ERROR(CheckRange(static_cast<uint64_t>(from.size()), 1, kMaxTokensPerEpoch, field));
  std::vector<GroupElement> to;
  to.reserve(static_cast<size_t>(from.size()));
  for (const std::string& bytes : from) {
    ASSIGN_OR_RETURN(const auto array, FixedBytes<kElementBytes>(bytes, field));
    ASSIGN_OR_RETURN(const GroupElement element, GroupElement::Decode(array));
    to.push_back(element);
  }
  return to;
}

}  // namespace

void ToProto(const JoinRequest& from, proto::AdvertiseKeysRequest* to) {
  ToProto(from.keys, to->mutable_keys());
  if (from.token) ToProto(*from.token, to->mutable_token());
}

absl::StatusOr<JoinRequest> FromProto(const proto::AdvertiseKeysRequest& from) {
  JoinRequest to;
  ASSIGN_OR_RETURN(to.keys, FromProto(from.keys()));
  if (from.has_token()) {
    ASSIGN_OR_RETURN(to.token, FromProto(from.token()));
  }
  return to;
}

void ToProto(const Token& from, proto::Token* to) {
  to->set_nonce(BytesToString(from.nonce));
  to->set_epoch(from.epoch);
  to->set_key_id(BytesToString(from.key_id));
  to->set_keys_hash(BytesToString(from.keys_hash));
  to->set_output(BytesToString(from.output));
}

absl::StatusOr<Token> FromProto(const proto::Token& from) {
  Token to;
  ASSIGN_OR_RETURN(to.nonce, FixedBytes<kTokenNonceBytes>(from.nonce(), "token nonce"));
  to.epoch = from.epoch();
  ASSIGN_OR_RETURN(to.key_id, FixedBytes<32>(from.key_id(), "token key_id"));
  ASSIGN_OR_RETURN(to.keys_hash, FixedBytes<32>(from.keys_hash(), "token keys_hash"));
  ASSIGN_OR_RETURN(to.output, FixedBytes<64>(from.output(), "token output"));
  return to;
}

void ToProto(const SignedTokenKeys& from, proto::GetTokenKeysResponse* to) {
  to->set_keys(from.bytes);
  to->set_signature(BytesToString(from.signature));
}

absl::StatusOr<SignedTokenKeys> FromProto(const proto::GetTokenKeysResponse& from) {
  SignedTokenKeys to;
  RETURN_IF_ERROR(CheckText(from.keys(), 1, kMaxTokenKeysBytes, "token keys"));
  to.bytes = from.keys();
  ASSIGN_OR_RETURN(to.signature, FixedBytes<64>(from.signature(), "signature"));
  return to;
}

void ToProto(const IssueRequest& from, proto::IssueTokensRequest* to) {
  to->set_epoch(from.epoch);
  for (const GroupElement& element : from.blinded) to->add_blinded(BytesToString(element.bytes()));
}

absl::StatusOr<IssueRequest> FromProto(const proto::IssueTokensRequest& from) {
  IssueRequest to{.epoch = from.epoch(), .blinded = {}};
  ASSIGN_OR_RETURN(to.blinded, Elements(from.blinded(), "blinded"));
  return to;
}

void ToProto(const BatchEvaluation& from, proto::IssueTokensResponse* to) {
  for (const GroupElement& element : from.elements) {
    to->add_evaluated(BytesToString(element.bytes()));
  }
  to->set_proof(BytesToString(from.proof.Encode()));
}

absl::StatusOr<BatchEvaluation> FromProto(const proto::IssueTokensResponse& from) {
  BatchEvaluation to;
  ASSIGN_OR_RETURN(to.elements, Elements(from.evaluated(), "evaluated"));
  ASSIGN_OR_RETURN(const auto proof, FixedBytes<kVoprfProofBytes>(from.proof(), "proof"));
  ASSIGN_OR_RETURN(to.proof, DleqProof::Decode(proof));
  return to;
}

}  // namespace lorikeet
