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
  // A server that does not have the service says no more than that.
  if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED && status.error_message().empty()) {
    return absl::UnimplementedError("this server does not offer what was asked of it");
  }
  // The codes are the same numbers.
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

template <typename Stub, typename Request, typename Response>
using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Response*);

// One call through a stub, with a deadline; `member` is named in the metadata unless it is empty.
template <typename Stub, typename Request, typename Response>
struct Invocation {
  Stub* stub;
  Method<Stub, Request, Response> method;
  absl::Duration timeout;

  absl::Status operator()(const Request& request, Response* response,
                          const DeviceId& member = {}) const {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
    if (!member.empty()) context.AddMetadata(kMemberMetadata, member);
    return FromGrpc((stub->*method)(&context, request, response));
  }
};

class GrpcFederation final : public FederationService {
 public:
  GrpcFederation(std::shared_ptr<grpc::Channel> channel,
                 std::shared_ptr<grpc::Channel> member_channel, absl::Duration timeout)
      : stub_(proto::Federation::NewStub(std::move(channel))),
        member_stub_(proto::Federation::NewStub(std::move(member_channel))),
        timeout_(timeout) {}

  absl::StatusOr<HelloResult> Hello(const DeviceId&, uint32_t protocol_version) override {
    proto::HelloRequest request;
    request.set_protocol_version(protocol_version);
    return Ask<proto::HelloResponse>(&Stub::Hello, request);
  }
  absl::StatusOr<SignedManifest> GetRelease(const DeviceId&, const ReleaseQuery& query) override {
    proto::GetReleaseRequest request;
    ToProto(query, &request);
    proto::GetReleaseResponse response;
    RETURN_IF_ERROR(Invoke(&Stub::GetRelease, request, &response));
    return FromProto(response.manifest());
  }
  absl::StatusOr<ChunkResult> FetchChunk(const DeviceId&, const ChunkQuery& query) override {
    proto::FetchChunkRequest request;
    ToProto(query, &request);
    return Ask<proto::FetchChunkResponse>(&Stub::FetchChunk, request);
  }
  absl::StatusOr<TrustUpdate> GetTrust(const DeviceId&, const TrustQuery& query) override {
    proto::GetTrustRequest request;
    ToProto(query, &request);
    return Ask<proto::GetTrustResponse>(&Stub::GetTrust, request);
  }
  absl::StatusOr<LogEvidence> GetLogProof(const DeviceId&, const LogQuery& query) override {
    proto::GetLogProofRequest request;
    ToProto(query, &request);
    return Ask<proto::GetLogProofResponse>(&Stub::GetLogProof, request);
  }
  absl::StatusOr<RoundOffer> GetRound(const DeviceId&, const RoundQuery& query) override {
    proto::GetRoundRequest request;
    ToProto(query, &request);
    return Ask<proto::GetRoundResponse>(&Stub::GetRound, request);
  }
  absl::StatusOr<uint32_t> AdvertiseKeys(const DeviceId& device, const JoinRequest& join) override {
    proto::AdvertiseKeysRequest request;
    ToProto(join, &request);
    proto::AdvertiseKeysResponse response;
    RETURN_IF_ERROR(Invoke(&Stub::AdvertiseKeys, request, &response, device));
    return response.ticket();
  }
  absl::Status ShareKeys(const DeviceId& device, const ShareKeysMessage& message) override {
    proto::ShareKeysRequest request;
    ToProto(message, request.mutable_message());
    return Send(&Stub::ShareKeys, request, device);
  }
  absl::Status SubmitMaskedUpdate(const DeviceId& device, const MaskedUpdate& message) override {
    proto::SubmitMaskedUpdateRequest request;
    ToProto(message, request.mutable_update());
    return Send(&Stub::SubmitMaskedUpdate, request, device);
  }
  absl::Status Acknowledge(const DeviceId& device, const Acknowledgement& message) override {
    proto::AcknowledgeRequest request;
    ToProto(message, request.mutable_acknowledgement());
    return Send(&Stub::Acknowledge, request, device);
  }
  absl::Status Unmask(const DeviceId& device, const UnmaskResponse& message) override {
    proto::UnmaskRequest request;
    ToProto(message, request.mutable_response());
    return Send(&Stub::Unmask, request, device);
  }
  absl::StatusOr<PollResult> Poll(const DeviceId& device, const PollQuery& query) override {
    proto::PollRequest request;
    ToProto(query, &request);
    return Ask<proto::PollResponse>(&Stub::Poll, request, device);
  }

 private:
  using Stub = proto::Federation::Stub;

  template <typename Request, typename Response>
  absl::Status Invoke(Method<Stub, Request, Response> method, const Request& request,
                      Response* response, const DeviceId& device = {}) {
    const bool member = IsTokenMember(device);
    Stub* stub = member ? member_stub_.get() : stub_.get();
    return Invocation<Stub, Request, Response>{stub, method, timeout_}(
        request, response, member ? device : DeviceId());
  }
  template <typename Response, typename Request>
  auto Ask(Method<Stub, Request, Response> method, const Request& request,
           const DeviceId& device = {}) -> decltype(FromProto(std::declval<Response>())) {
    Response response;
    RETURN_IF_ERROR(Invoke(method, request, &response, device));
    return FromProto(std::move(response));
  }
  template <typename Request>
  absl::Status Send(Method<Stub, Request, proto::StepResponse> method, const Request& request,
                    const DeviceId& device) {
    proto::StepResponse response;
    return Invoke(method, request, &response, device);
  }

  std::unique_ptr<Stub> stub_;
  std::unique_ptr<Stub> member_stub_;  // connects only when a member calls
  absl::Duration timeout_;
};

class GrpcTokenIssuer final : public TokenIssuerService {
 public:
  GrpcTokenIssuer(std::shared_ptr<grpc::Channel> channel, absl::Duration timeout)
      : stub_(proto::TokenIssuer::NewStub(std::move(channel))), timeout_(timeout) {}

  absl::StatusOr<SignedTokenKeys> GetTokenKeys(const DeviceId&) override {
    return Ask(&Stub::GetTokenKeys, proto::GetTokenKeysRequest());
  }
  absl::StatusOr<BatchEvaluation> IssueTokens(const DeviceId&, const IssueRequest& issue) override {
    proto::IssueTokensRequest request;
    ToProto(issue, &request);
    return Ask(&Stub::IssueTokens, request);
  }

 private:
  using Stub = proto::TokenIssuer::Stub;

  template <typename Request, typename Response>
  auto Ask(Method<Stub, Request, Response> method, const Request& request)
      -> decltype(FromProto(std::declval<const Response&>())) {
    Response response;
    RETURN_IF_ERROR(
        (Invocation<Stub, Request, Response>{stub_.get(), method, timeout_}(request, &response)));
    return FromProto(response);
  }

  std::unique_ptr<Stub> stub_;
  absl::Duration timeout_;
};

absl::Status CheckOptions(const GrpcFederationOptions& options) {
  if (options.target.empty())
    return absl::InvalidArgumentError("coordinator: expected HOST:PORT, got nothing");
  if (options.ca_certificate.empty() || options.certificate.empty() ||
      options.private_key.empty()) {
    return absl::InvalidArgumentError(
        "coordinator: expected a CA certificate, a client certificate and its key");
  }
  return absl::OkStatus();
}

// Without `identified` the server does not learn which device connects.
std::shared_ptr<grpc::Channel> Channel(const GrpcFederationOptions& options, bool identified) {
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = options.ca_certificate;
  if (identified) {
    tls.pem_cert_chain = options.certificate;
    tls.pem_private_key = options.private_key;
  }
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(kMaxMessageBytes));
  arguments.SetMaxSendMessageSize(static_cast<int>(kMaxMessageBytes));
  return grpc::CreateCustomChannel(options.target, grpc::SslCredentials(tls), arguments);
}

void QuietTls() {
  KeepTlsTablesAtExit();
  // What the library would print on stderr is in the status of the call, and is reported once.
  if (std::getenv("GRPC_VERBOSITY") == nullptr) gpr_set_log_function([](gpr_log_func_args*) {});
}

}  // namespace

absl::StatusOr<std::unique_ptr<FederationService>> ConnectGrpcFederation(
    const GrpcFederationOptions& options) {
  QuietTls();
  RETURN_IF_ERROR(CheckOptions(options));
  return std::make_unique<GrpcFederation>(Channel(options, /*identified=*/true),
                                          Channel(options, /*identified=*/false),
                                          options.call_timeout);
}

absl::StatusOr<std::unique_ptr<TokenIssuerService>> ConnectGrpcTokenIssuer(
    const GrpcFederationOptions& options) {
  QuietTls();
  RETURN_IF_ERROR(CheckOptions(options));
  return std::make_unique<GrpcTokenIssuer>(Channel(options, /*identified=*/true),
                                           options.call_timeout);
}

}  // namespace lorikeet
