// gRPC calls -> FederationService and TokenIssuerService.  One of the few files that see gRPC.
//
// Who calls follows from the client certificate.  The steps of a round may come without one: then
// the caller is the member that it names in the metadata (kMemberMetadata), known by its token
// only.
#ifndef LORIKEET_COORDINATOR_SERVER_FEDERATION_ADAPTER_H_
#define LORIKEET_COORDINATOR_SERVER_FEDERATION_ADAPTER_H_

#include "common/wire/federation.h"
#include "common/wire/token_service.h"
#include "federation.grpc.pb.h"

namespace lorikeet {

class FederationAdapter final : public proto::Federation::Service {
 public:
  explicit FederationAdapter(FederationService* service) : service_(service) {}

  grpc::Status Hello(grpc::ServerContext* context, const proto::HelloRequest* request,
                     proto::HelloResponse* response) override;
  grpc::Status GetRelease(grpc::ServerContext* context, const proto::GetReleaseRequest* request,
                          proto::GetReleaseResponse* response) override;
  grpc::Status FetchChunk(grpc::ServerContext* context, const proto::FetchChunkRequest* request,
                          proto::FetchChunkResponse* response) override;
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
  FederationService* service_;
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
