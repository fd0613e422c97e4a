// Clients that gRPC's own API allows and our stub does not: no certificate, the health service.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "coordinator/admin/certificate_authority.h"
#include "coordinator/server/server.h"
#include "device/agent/grpc_federation.h"
#include "federation.grpc.pb.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

TEST(GrpcAnonymousTest, RefusesClientsWithoutACertificateOrWithoutTls) {
  TestFleet fleet;
  const absl::Duration day = absl::Hours(24);
  const CertifiedKey authority = *MakeAuthority("test fleet", absl::Now(), day);
  const CertifiedKey key = *IssueServerCertificate(authority, {"127.0.0.1"}, absl::Now(), day);
  FederationServer::Options options;
  options.ca_certificate = authority.certificate;
  options.server_certificate = key.certificate;
  options.server_key = key.key;
  options.service = &fleet.service();
  const auto server = FederationServer::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string target = absl::StrCat("127.0.0.1:", (*server)->port());
  const auto hello = [&](const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
    const auto stub = proto::Federation::NewStub(grpc::CreateChannel(target, credentials));
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(3)));
    proto::HelloRequest request;
    request.set_protocol_version(1);
    proto::HelloResponse response;
    return stub->Hello(&context, request, &response).error_code();
  };
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = authority.certificate;
  EXPECT_NE(hello(grpc::SslCredentials(tls)), grpc::StatusCode::OK);
  EXPECT_NE(hello(grpc::InsecureChannelCredentials()), grpc::StatusCode::OK);
  const CertifiedKey client = *IssueClientCertificate(authority, "device-0", absl::Now(), day);
  tls.pem_private_key = client.key;
  tls.pem_cert_chain = client.certificate;
  EXPECT_EQ(hello(grpc::SslCredentials(tls)), grpc::StatusCode::OK);
}

// A device fetches a token by its certificate and joins without one; the server that takes members
// has no other ear for the unnamed.
TEST(GrpcAnonymousTest, AMemberJoinsWithoutACertificate) {
  TestFleet fleet({.tokens = true});
  const absl::Duration day = absl::Hours(24);
  const CertifiedKey authority = *MakeAuthority("test fleet", absl::Now(), day);
  const CertifiedKey key = *IssueServerCertificate(authority, {"127.0.0.1"}, absl::Now(), day);
  FederationServer::Options options;
  options.ca_certificate = authority.certificate;
  options.server_certificate = key.certificate;
  options.server_key = key.key;
  options.service = &fleet.service();
  options.issuer = &fleet.office();
  options.members = true;
  const auto server = FederationServer::Start(options);
  ASSERT_TRUE(server.ok()) << server.status();
  const CertifiedKey client = *IssueClientCertificate(authority, "device-0", absl::Now(), day);
  const GrpcFederationOptions connection = {.target = absl::StrCat("127.0.0.1:", (*server)->port()),
                                            .ca_certificate = authority.certificate,
                                            .certificate = client.certificate,
                                            .private_key = client.key,
                                            .call_timeout = absl::Seconds(5)};
  const auto issuer = *ConnectGrpcTokenIssuer(connection);
  const auto keys = issuer->GetTokenKeys("");
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_TRUE(VerifyTokenKeys(*keys, fleet.issuer_key().public_key()).ok());
  EXPECT_EQ(issuer->IssueTokens("", {.epoch = 0, .blinded = {}}).status().code(),
            absl::StatusCode::kInvalidArgument);

  TestDevice device(&fleet, 0);
  ASSERT_TRUE(device.Prepare().ok());
  const auto federation = *ConnectGrpcFederation(connection);
  const absl::Status joined = device.Advertise(federation.get());
  ASSERT_TRUE(joined.ok()) << joined;
  const PollQuery query = {.session = device.round().secagg.session, .ticket = device.ticket()};
  EXPECT_TRUE(federation->Poll(device.caller(), query).ok());
  EXPECT_EQ(federation->Poll("device-0", query).status().code(),
            absl::StatusCode::kPermissionDenied)
      << "the certificate does not open what a member joined";
  const auto events = fleet.store().RoundEvents(fleet.LatestRound().id).value();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].device, device.caller());

  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = authority.certificate;
  const auto channel = grpc::CreateChannel(connection.target, grpc::SslCredentials(tls));
  const auto code = [&](const std::vector<std::string>& members) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(3)));
    for (const auto& member : members) context.AddMetadata(kMemberMetadata, member);
    proto::PollRequest request;
    request.set_session(std::string(32, 's'));
    proto::PollResponse response;
    return proto::Federation::NewStub(channel)->Poll(&context, request, &response).error_code();
  };
  EXPECT_EQ(code({}), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(code({"device-0"}), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(code({device.caller(), device.caller()}), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(code({device.caller()}), grpc::StatusCode::NOT_FOUND) << "no such session";
  grpc::ClientContext context;
  context.AddMetadata(kMemberMetadata, device.caller());
  proto::HelloResponse response;
  EXPECT_EQ(proto::Federation::NewStub(channel)->Hello(&context, {}, &response).error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
  proto::GetTokenKeysResponse no_keys;
  grpc::ClientContext issuer_context;
  issuer_context.AddMetadata(kMemberMetadata, device.caller());
  EXPECT_EQ(proto::TokenIssuer::NewStub(channel)
                ->GetTokenKeys(&issuer_context, {}, &no_keys)
                .error_code(),
            grpc::StatusCode::UNAUTHENTICATED);
}

}  // namespace
}  // namespace lorikeet
