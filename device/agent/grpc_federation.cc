#include "device/agent/grpc_federation.h"

#include <grpc/support/log.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/wire/limits.h"
#include "common/wire/proto_convert.h"
#include "common/wire/tls_teardown.h"
#include "federation.grpc.pb.h"

namespace lorikeet {
namespace {

absl::Status FromGrpc(const grpc::Status& status) {
  // The codes are the same numbers.
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

class GrpcFederation final : public FederationService {
 public:
  GrpcFederation(std::shared_ptr<grpc::Channel> channel, absl::Duration timeout)
      : stub_(proto::Federation::NewStub(std::move(channel))), timeout_(timeout) {}

  absl::StatusOr<HelloResult> Hello(const DeviceId&, uint32_t protocol_version) override {
    proto::HelloRequest request;
    request.set_protocol_version(protocol_version);
    return Ask<proto::HelloResponse>(&proto::Federation::Stub::Hello, request);
  }
  absl::StatusOr<SignedManifest> GetRelease(const DeviceId&, const ReleaseQuery& query) override {
    proto::GetReleaseRequest request;
    ToProto(query, &request);
    proto::GetReleaseResponse response;
    RETURN_IF_ERROR(Invoke(&proto::Federation::Stub::GetRelease, request, &response));
    return FromProto(response.manifest());
  }
  absl::StatusOr<ChunkResult> FetchChunk(const DeviceId&, const ChunkQuery& query) override {
    proto::FetchChunkRequest request;
    ToProto(query, &request);
    return Ask<proto::FetchChunkResponse>(&proto::Federation::Stub::FetchChunk, request);
  }
  absl::StatusOr<RoundOffer> GetRound(const DeviceId&, const RoundQuery& query) override {
    proto::GetRoundRequest request;
    ToProto(query, &request);
    return Ask<proto::GetRoundResponse>(&proto::Federation::Stub::GetRound, request);
  }
  absl::StatusOr<uint32_t> AdvertiseKeys(const DeviceId&,
                                         const KeyAdvertisement& message) override {
    proto::AdvertiseKeysRequest request;
    ToProto(message, request.mutable_keys());
    proto::AdvertiseKeysResponse response;
    RETURN_IF_ERROR(Invoke(&proto::Federation::Stub::AdvertiseKeys, request, &response));
    return response.ticket();
  }
  absl::Status ShareKeys(const DeviceId&, const ShareKeysMessage& message) override {
    proto::ShareKeysRequest request;
    ToProto(message, request.mutable_message());
    return Send(&proto::Federation::Stub::ShareKeys, request);
  }
  absl::Status SubmitMaskedUpdate(const DeviceId&, const MaskedUpdate& message) override {
    proto::SubmitMaskedUpdateRequest request;
    ToProto(message, request.mutable_update());
    return Send(&proto::Federation::Stub::SubmitMaskedUpdate, request);
  }
  absl::Status Acknowledge(const DeviceId&, const Acknowledgement& message) override {
    proto::AcknowledgeRequest request;
    ToProto(message, request.mutable_acknowledgement());
    return Send(&proto::Federation::Stub::Acknowledge, request);
  }
  absl::Status Unmask(const DeviceId&, const UnmaskResponse& message) override {
    proto::UnmaskRequest request;
    ToProto(message, request.mutable_response());
    return Send(&proto::Federation::Stub::Unmask, request);
  }
  absl::StatusOr<PollResult> Poll(const DeviceId&, const PollQuery& query) override {
    proto::PollRequest request;
    ToProto(query, &request);
    return Ask<proto::PollResponse>(&proto::Federation::Stub::Poll, request);
  }

 private:
  template <typename Request, typename Response>
  using Method = grpc::Status (proto::Federation::Stub::*)(grpc::ClientContext*, const Request&,
                                                           Response*);

  template <typename Request, typename Response>
  absl::Status Invoke(Method<Request, Response> method, const Request& request,
                      Response* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout_));
    return FromGrpc((stub_.get()->*method)(&context, request, response));
  }
  template <typename Response, typename Request>
  auto Ask(Method<Request, Response> method, const Request& request)
      -> decltype(FromProto(std::declval<Response>())) {
    Response response;
    RETURN_IF_ERROR(Invoke(method, request, &response));
    return FromProto(std::move(response));
  }
  template <typename Request>
  absl::Status Send(Method<Request, proto::StepResponse> method, const Request& request) {
    proto::StepResponse response;
    return Invoke(method, request, &response);
  }

  std::unique_ptr<proto::Federation::Stub> stub_;
  absl::Duration timeout_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FederationService>> ConnectGrpcFederation(
    const GrpcFederationOptions& options) {
  KeepTlsTablesAtExit();
  // What the library would print on stderr is in the status of the call, and is reported once.
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
  if (options.target.empty())
    return absl::InvalidArgumentError("coordinator: expected HOST:PORT, got nothing");
  if (options.ca_certificate.empty() || options.certificate.empty() ||
      options.private_key.empty()) {
    return absl::InvalidArgumentError(
        "coordinator: expected a CA certificate, a client certificate and its key");
  }
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = options.ca_certificate;
  tls.pem_cert_chain = options.certificate;
  tls.pem_private_key = options.private_key;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
  arguments.SetMaxSendMessageSize(static_cast<int>(kMaxMessageBytes));
  auto channel = grpc::CreateCustomChannel(options.target, grpc::SslCredentials(tls), arguments);
  return std::make_unique<GrpcFederation>(std::move(channel), options.call_timeout);
}

}  // namespace lorikeet
