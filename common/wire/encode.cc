#include "common/wire/encode.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "common/wire/proto_convert.h"

namespace lorikeet {
namespace {

template <typename Message, typename Struct>
std::string EncodeAs(const Struct& from) {
  Message message;
  ToProto(from, &message);
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return bytes;
}

}  // namespace

std::string Encode(const KeyAdvertisement& message) {
  return EncodeAs<proto::KeyAdvertisement>(message);
}
std::string Encode(const KeyDirectory& message) { return EncodeAs<proto::KeyDirectory>(message); }
std::string Encode(const ShareKeysMessage& message) {
  return EncodeAs<proto::ShareKeysMessage>(message);
}
std::string Encode(const ShareDelivery& message) { return EncodeAs<proto::ShareDelivery>(message); }
std::string Encode(const MaskedUpdate& message) { return EncodeAs<proto::MaskedUpdate>(message); }
std::string Encode(const SurvivorLists& message) { return EncodeAs<proto::SurvivorLists>(message); }
std::string Encode(const Acknowledgement& message) {
  return EncodeAs<proto::Acknowledgement>(message);
}
std::string Encode(const AcknowledgementSet& message) {
  return EncodeAs<proto::AcknowledgementSet>(message);
}
std::string Encode(const UnmaskResponse& message) {
  return EncodeAs<proto::UnmaskResponse>(message);
}
std::string Encode(const RoundDescription& description) {
  return EncodeAs<proto::RoundDescription>(description);
}
std::string Encode(const JoinRequest& request) {
  return EncodeAs<proto::AdvertiseKeysRequest>(request);
}
std::string Encode(const IssueRequest& request) {
  return EncodeAs<proto::IssueTokensRequest>(request);
}
std::string Encode(const BatchEvaluation& evaluation) {
  return EncodeAs<proto::IssueTokensResponse>(evaluation);
}
std::string Encode(const SignedTokenKeys& keys) {
  return EncodeAs<proto::GetTokenKeysResponse>(keys);
}
std::string Encode(const TrustQuery& query) { return EncodeAs<proto::GetTrustRequest>(query); }
std::string Encode(const TrustUpdate& update) { return EncodeAs<proto::GetTrustResponse>(update); }
std::string Encode(const LogQuery& query) { return EncodeAs<proto::GetLogProofRequest>(query); }
std::string Encode(const LogEvidence& evidence) {
  return EncodeAs<proto::GetLogProofResponse>(evidence);
}

}  // namespace lorikeet
