// Clients that gRPC's own API allows and our stub does not: no certificate, the health service.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "coordinator/admin/certificate_authority.h"
#include "coordinator/server/server.h"
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

}  // namespace
}  // namespace lorikeet
