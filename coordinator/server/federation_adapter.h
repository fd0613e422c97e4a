// gRPC calls -> FederationService and TokenIssuerService.  One of the few files that see gRPC.
//
// Who calls follows from the client certificate.  The steps of a round may come without one: then
// the caller is the member that it names in the metadata (kMemberMetadata), known by its token
// only.  Of several coordinators, one that does not run the rounds hands calls about them on
// (replica_forwarder.h); a call that was handed on names its caller.
#ifndef LORIKEET_COORDINATOR_SERVER_FEDERATION_ADAPTER_H_
#define LORIKEET_COORDINATOR_SERVER_FEDERATION_ADAPTER_H_

#include "common/wire/federation.h"
#include "common/wire/token_service.h"
#include "coordinator/server/replica_forwarder.h"
#include "federation.grpc.pb.h"

namespace lorikeet {

class FederationAdapter final : public proto::Federation::Service {
 public:
  // `forwarder` may be null: there is one coordinator.
  FederationAdapter(FederationService* service, ReplicaForwarder* forwarder)
      : service_(service), forwarder_(forwarder) {}

  grpc::Status Hello(grpc::ServerContext* context, const proto::HelloRequest* request,
                     proto::HelloResponse* response) override;
  grpc::Status GetRelease(grpc::ServerContext* context, const proto::GetReleaseRequest* request,
                          proto::GetReleaseResponse* response) override;
  grpc::Status FetchChunk(grpc::ServerContext* context, const proto::FetchChunkRequest* request,
                          proto::FetchChunkResponse* response) override;
  grpc::Status GetTrust(grpc::ServerContext* context, const proto::GetTrustRequest* request,
                        proto::GetTrustResponse* response) override;
  grpc::Status GetLogProof(grpc::ServerContext* context, const proto::GetLogProofRequest* request,
                           proto::GetLogProofResponse* response) override;
  grpc::Status GetRound(grpc::ServerContext* context, const proto::GetRoundRequest* request,
                        proto::GetRoundResponse* response) override;
  grpc::Status AdvertiseKeys(grpc::ServerContext* context,
                             const proto::AdvertiseKeysRequest* request,
                             proto::AdvertiseKeysResponse* response) override;
  grpc::Status ShareKeys(grpc::ServerContext* context, const proto::ShareKeysRequest* request,
                         proto::StepResponse* response) override;
  grpc::Status SubmitMaskedUpdate(grpc::ServerContext* context,
                                  const proto::SubmitMaskedUpdateRequest* request,
                                  proto::StepResponse* response) override;
  grpc::Status Acknowledge(grpc::ServerContext* context, const proto::AcknowledgeRequest* request,
                           proto::StepResponse* response) override;
  grpc::Status Unmask(grpc::ServerContext* context, const proto::UnmaskRequest* request,
                      proto::StepResponse* response) override;
  grpc::Status Poll(grpc::ServerContext* context, const proto::PollRequest* request,
                    proto::PollResponse* response) override;

 private:
  struct Caller {
    DeviceId device;
    bool handed_on = false;
  };
  // With `members`, also those of rounds that admit by token.
  absl::StatusOr<Caller> Identify(const grpc::ServerContext& context, bool members) const;
  // True: the call is to be answered here, to `*caller`.  Else it was, with `*status`.
  template <typename Method, typename Request, typename Response>
  bool IsForUs(const grpc::ServerContext& context, bool members, Method method,
               const Request& request, Response* response, DeviceId* caller, grpc::Status* status);

  FederationService* service_;
  ReplicaForwarder* forwarder_;
};

class TokenIssuerAdapter final : public proto::TokenIssuer::Service {
 public:
  explicit TokenIssuerAdapter(TokenIssuerService* service) : service_(service) {}

  grpc::Status GetTokenKeys(grpc::ServerContext* context, const proto::GetTokenKeysRequest* request,
                            proto::GetTokenKeysResponse* response) override;
  grpc::Status IssueTokens(grpc::ServerContext* context, const proto::IssueTokensRequest* request,
                           proto::IssueTokensResponse* response) override;

 private:
  TokenIssuerService* service_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_SERVER_FEDERATION_ADAPTER_H_
