#include "common/wire/decode.h"

#include <google/protobuf/stubs/logging.h>

#include "absl/strings/str_format.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/wire/limits.h"
#include "common/wire/proto_convert.h"

namespace lorikeet {
namespace {

template <typename Message>
absl::StatusOr<Message> Parse(std::string_view bytes, const char* what,
                              size_t max_bytes = kMaxMessageBytes) {
  if (bytes.size() > max_bytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected at most %d bytes, got %d", what, max_bytes, bytes.size()));
  }
  SilenceProtobuf();
  Message message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "%s: expected a protobuf message, got %d bytes that are not one", what, bytes.size()));
  }
  return message;
}

template <typename Message>
auto DecodeAs(std::string_view bytes, const char* what)
    -> decltype(FromProto(std::declval<const Message&>())) {
  ASSIGN_OR_RETURN(const Message message, Parse<Message>(bytes, what));
  return FromProto(message);
}

}  // namespace

void SilenceProtobuf() {
  static const auto previous = google::protobuf::SetLogHandler(nullptr);
  (void)previous;
}

absl::StatusOr<KeyAdvertisement> DecodeKeyAdvertisement(std::string_view bytes) {
  return DecodeAs<proto::KeyAdvertisement>(bytes, "key advertisement");
}
absl::StatusOr<KeyDirectory> DecodeKeyDirectory(std::string_view bytes) {
  return DecodeAs<proto::KeyDirectory>(bytes, "key directory");
}
absl::StatusOr<ShareKeysMessage> DecodeShareKeysMessage(std::string_view bytes) {
  return DecodeAs<proto::ShareKeysMessage>(bytes, "share keys message");
}
absl::StatusOr<ShareDelivery> DecodeShareDelivery(std::string_view bytes) {
  return DecodeAs<proto::ShareDelivery>(bytes, "share delivery");
}
absl::StatusOr<MaskedUpdate> DecodeMaskedUpdate(std::string_view bytes) {
  return DecodeAs<proto::MaskedUpdate>(bytes, "masked update");
}
absl::StatusOr<SurvivorLists> DecodeSurvivorLists(std::string_view bytes) {
  return DecodeAs<proto::SurvivorLists>(bytes, "survivor lists");
}
absl::StatusOr<Acknowledgement> DecodeAcknowledgement(std::string_view bytes) {
  return DecodeAs<proto::Acknowledgement>(bytes, "acknowledgement");
}
absl::StatusOr<AcknowledgementSet> DecodeAcknowledgementSet(std::string_view bytes) {
  return DecodeAs<proto::AcknowledgementSet>(bytes, "acknowledgement set");
}
absl::StatusOr<UnmaskResponse> DecodeUnmaskResponse(std::string_view bytes) {
  return DecodeAs<proto::UnmaskResponse>(bytes, "unmask response");
}
absl::StatusOr<JoinRequest> DecodeJoinRequest(std::string_view bytes) {
  return DecodeAs<proto::AdvertiseKeysRequest>(bytes, "advertise keys request");
}
absl::StatusOr<IssueRequest> DecodeIssueRequest(std::string_view bytes) {
  return DecodeAs<proto::IssueTokensRequest>(bytes, "issue tokens request");
}
absl::StatusOr<BatchEvaluation> DecodeBatchEvaluation(std::string_view bytes) {
  return DecodeAs<proto::IssueTokensResponse>(bytes, "issue tokens response");
}
absl::StatusOr<SignedTokenKeys> DecodeSignedTokenKeys(std::string_view bytes) {
  return DecodeAs<proto::GetTokenKeysResponse>(bytes, "token keys response");
}
absl::StatusOr<TrustQuery> DecodeTrustQuery(std::string_view bytes) {
  return DecodeAs<proto::GetTrustRequest>(bytes, "trust request");
}
absl::StatusOr<TrustUpdate> DecodeTrustUpdate(std::string_view bytes) {
  return DecodeAs<proto::GetTrustResponse>(bytes, "trust response");
}
absl::StatusOr<LogQuery> DecodeLogQuery(std::string_view bytes) {
  return DecodeAs<proto::GetLogProofRequest>(bytes, "log proof request");
}
absl::StatusOr<LogEvidence> DecodeLogEvidence(std::string_view bytes) {
  return DecodeAs<proto::GetLogProofResponse>(bytes, "log proof response");
}

absl::StatusOr<RoundDescription> DecodeRoundDescription(std::string_view bytes) {
  ASSIGN_OR_RETURN(const auto message, Parse<proto::RoundDescription>(bytes, "round description",
                                                                      kMaxDescriptionBytes));
  ASSIGN_OR_RETURN(RoundDescription description, FromProto(message));
  description.secagg.session = Blake2b(AsBytes(bytes));
  return description;
}

}  // namespace lorikeet
