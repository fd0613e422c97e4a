#include "coordinator/server/federation_adapter.h"

#include <iterator>
#include <utility>

#include "common/base/status_macros.h"
#include "common/wire/proto_convert.h"

namespace lorikeet {
namespace {

// The codes are the same numbers in both (google.rpc.Code).
grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()));
}

// The common name of the certificate that TLS verified.
absl::StatusOr<DeviceId> DeviceOf(const grpc::ServerContext& context) {
  const auto names = context.auth_context()->FindPropertyValues("x509_common_name");
  if (!context.auth_context()->IsPeerAuthenticated() || names.size() != 1 || names[0].empty()) {
    return absl::UnauthenticatedError("expected a client certificate with one common name");
  }
  return DeviceId(names[0].data(), names[0].size());
}

// In the steps of a round: a device by its certificate, or, without one, a member by its name.
absl::StatusOr<DeviceId> CallerOf(const grpc::ServerContext& context) {
  if (context.auth_context()->IsPeerAuthenticated()) return DeviceOf(context);
  const auto range = context.client_metadata().equal_range(kMemberMetadata);
  if (range.first != range.second && std::next(range.first) == range.second) {
    DeviceId member(range.first->second.data(), range.first->second.size());
    if (IsTokenMember(member)) return member;
  }
  return absl::UnauthenticatedError(
      "expected a client certificate, or the name of one member of a round");
}

// call(device, request) -> StatusOr<result>; put(result, response).
template <typename Request, typename Call, typename Put>
grpc::Status Handle(const absl::StatusOr<DeviceId>& device, const Request& request,
                    const Call& call, const Put& put) {
  if (!device.ok()) return ToGrpc(device.status());
  auto checked = FromProto(request);
  if (!checked.ok()) return ToGrpc(checked.status());
  auto result = call(*device, *checked);
  if (!result.ok()) return ToGrpc(result.status());
  put(*std::move(result));
  return grpc::Status::OK;
}

// The same for the steps whose answer is empty.
template <typename Message, typename Call>
grpc::Status HandleStep(const DeviceId& device, const Message& message, const Call& call) {
  const auto checked = FromProto(message);
  if (!checked.ok()) return ToGrpc(checked.status());
  return ToGrpc(call(device, *checked));
}

using Stub = proto::Federation::Stub;

}  // namespace

absl::StatusOr<FederationAdapter::Caller> FederationAdapter::Identify(
    const grpc::ServerContext& context, bool members) const {
  const auto range = context.client_metadata().equal_range(kCallerMetadata);
  if (range.first == range.second) {
    ASSIGN_OR_RETURN(DeviceId device, members ? CallerOf(context) : DeviceOf(context));
    return Caller{std::move(device)};
  }
  if (forwarder_ == nullptr || std::next(range.first) != range.second ||
      !forwarder_->IsReplica(context)) {
    return absl::UnauthenticatedError(
        "expected a caller's name only from another coordinator, by their certificate");
  }
  return Caller{DeviceId(range.first->second.data(), range.first->second.size()), true};
}

template <typename Method, typename Request, typename Response>
bool FederationAdapter::IsForUs(const grpc::ServerContext& context, bool members, Method method,
                                const Request& request, Response* response, DeviceId* caller,
                                grpc::Status* status) {
  const auto identified = Identify(context, members);
  *status = ToGrpc(identified.status());
  if (!identified.ok()) return false;
  *caller = identified->device;
  if (forwarder_ == nullptr || identified->handed_on) return true;
  return forwarder_->AnswerHere(method, context, *caller, request, response, status);
}

grpc::Status FederationAdapter::Hello(grpc::ServerContext* context,
                                      const proto::HelloRequest* request,
                                      proto::HelloResponse* response) {
  const auto device = DeviceOf(*context);
  if (!device.ok()) return ToGrpc(device.status());
  const auto result = service_->Hello(*device, request->protocol_version());
  if (!result.ok()) return ToGrpc(result.status());
  ToProto(*result, response);
  return grpc::Status::OK;
}

grpc::Status FederationAdapter::GetRelease(grpc::ServerContext* context,
                                           const proto::GetReleaseRequest* request,
                                           proto::GetReleaseResponse* response) {
  return Handle(
      DeviceOf(*context), *request,
      [&](const DeviceId& d, const ReleaseQuery& q) { return service_->GetRelease(d, q); },
      [&](const SignedManifest& m) { ToProto(m, response->mutable_manifest()); });
}

grpc::Status FederationAdapter::FetchChunk(grpc::ServerContext* context,
                                           const proto::FetchChunkRequest* request,
                                           proto::FetchChunkResponse* response) {
  return Handle(
      DeviceOf(*context), *request,
      [&](const DeviceId& d, const ChunkQuery& q) { return service_->FetchChunk(d, q); },
      [&](ChunkResult chunk) { ToProto(std::move(chunk), response); });
}

grpc::Status FederationAdapter::GetTrust(grpc::ServerContext* context,
                                         const proto::GetTrustRequest* request,
                                         proto::GetTrustResponse* response) {
  return Handle(
      DeviceOf(*context), *request,
      [&](const DeviceId& d, const TrustQuery& q) { return service_->GetTrust(d, q); },
      [&](const TrustUpdate& update) { ToProto(update, response); });
}

grpc::Status FederationAdapter::GetLogProof(grpc::ServerContext* context,
                                            const proto::GetLogProofRequest* request,
                                            proto::GetLogProofResponse* response) {
  const auto caller = Identify(*context, /*members=*/false);
  const grpc::Status own = Handle(
      caller.ok() ? absl::StatusOr<DeviceId>(caller->device) : caller.status(), *request,
      [&](const DeviceId& d, const LogQuery& q) { return service_->GetLogProof(d, q); },
      [&](const LogEvidence& evidence) { ToProto(evidence, response); });
  if (own.error_code() != grpc::StatusCode::UNAVAILABLE) return own;
  // About a round that only the coordinator that runs it can log.
  DeviceId device;
  grpc::Status status;
  return IsForUs(*context, false, &Stub::GetLogProof, *request, response, &device, &status)
             ? own
             : status;
}

grpc::Status FederationAdapter::GetRound(grpc::ServerContext* context,
                                         const proto::GetRoundRequest* request,
                                         proto::GetRoundResponse* response) {
  DeviceId caller;
  grpc::Status status;
  if (!IsForUs(*context, /*members=*/false, &Stub::GetRound, *request, response, &caller,
               &status)) {
    return status;
  }
  return Handle(
      caller, *request,
      [&](const DeviceId& d, const RoundQuery& q) { return service_->GetRound(d, q); },
      [&](const RoundOffer& offer) { ToProto(offer, response); });
}

grpc::Status FederationAdapter::AdvertiseKeys(grpc::ServerContext* context,
                                              const proto::AdvertiseKeysRequest* request,
                                              proto::AdvertiseKeysResponse* response) {
  DeviceId caller;
  grpc::Status status;
  if (!IsForUs(*context, /*members=*/true, &Stub::AdvertiseKeys, *request, response, &caller,
               &status)) {
    return status;
  }
  return Handle(
      caller, *request,
      [&](const DeviceId& d, const JoinRequest& r) { return service_->AdvertiseKeys(d, r); },
      [&](uint32_t ticket) { response->set_ticket(ticket); });
}

grpc::Status FederationAdapter::ShareKeys(grpc::ServerContext* context,
                                          const proto::ShareKeysRequest* request,
                                          proto::StepResponse* response) {
  DeviceId caller;
  grpc::Status status;
  if (!IsForUs(*context, /*members=*/true, &Stub::ShareKeys, *request, response, &caller,
               &status)) {
    return status;
  }
  return HandleStep(caller, request->message(), [&](const DeviceId& d, const ShareKeysMessage& m) {
    return service_->ShareKeys(d, m);
  });
}

grpc::Status FederationAdapter::SubmitMaskedUpdate(grpc::ServerContext* context,
                                                   const proto::SubmitMaskedUpdateRequest* request,
                                                   proto::StepResponse* response) {
  DeviceId caller;
  grpc::Status status;
  if (!IsForUs(*context, /*members=*/true, &Stub::SubmitMaskedUpdate, *request, response, &caller,
               &status)) {
    return status;
  }
  return HandleStep(caller, request->update(), [&](const DeviceId& d, const MaskedUpdate& m) {
    return service_->SubmitMaskedUpdate(d, m);
  });
}

grpc::Status FederationAdapter::Acknowledge(grpc::ServerContext* context,
                                            const proto::AcknowledgeRequest* request,
                                            proto::StepResponse* response) {
  DeviceId caller;
  grpc::Status status;
  if (!IsForUs(*context, /*members=*/true, &Stub::Acknowledge, *request, response, &caller,
               &status)) {
    return status;
  }
  return HandleStep(
      caller, request->acknowledgement(),
      [&](const DeviceId& d, const Acknowledgement& m) { return service_->Acknowledge(d, m); });
}

grpc::Status FederationAdapter::Unmask(grpc::ServerContext* context,
                                       const proto::UnmaskRequest* request,
                                       proto::StepResponse* response) {
  DeviceId caller;
  grpc::Status status;
  if (!IsForUs(*context, /*members=*/true, &Stub::Unmask, *request, response, &caller, &status)) {
    return status;
  }
  return HandleStep(caller, request->response(), [&](const DeviceId& d, const UnmaskResponse& m) {
    return service_->Unmask(d, m);
  });
}

grpc::Status FederationAdapter::Poll(grpc::ServerContext* context,
                                     const proto::PollRequest* request,
                                     proto::PollResponse* response) {
  DeviceId caller;
  grpc::Status status;
  if (!IsForUs(*context, /*members=*/true, &Stub::Poll, *request, response, &caller, &status)) {
    return status;
  }
  return Handle(
      caller, *request, [&](const DeviceId& d, const PollQuery& q) { return service_->Poll(d, q); },
      [&](const PollResult& result) { ToProto(result, response); });
}

grpc::Status TokenIssuerAdapter::GetTokenKeys(grpc::ServerContext* context,
                                              const proto::GetTokenKeysRequest*,
                                              proto::GetTokenKeysResponse* response) {
  const auto device = DeviceOf(*context);
  if (!device.ok()) return ToGrpc(device.status());
  const auto keys = service_->GetTokenKeys(*device);
  if (!keys.ok()) return ToGrpc(keys.status());
  ToProto(*keys, response);
  return grpc::Status::OK;
}

grpc::Status TokenIssuerAdapter::IssueTokens(grpc::ServerContext* context,
                                             const proto::IssueTokensRequest* request,
                                             proto::IssueTokensResponse* response) {
  return Handle(
      DeviceOf(*context), *request,
      [&](const DeviceId& d, const IssueRequest& r) { return service_->IssueTokens(d, r); },
      [&](const BatchEvaluation& evaluation) { ToProto(evaluation, response); });
}

}  // namespace lorikeet
