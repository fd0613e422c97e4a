// The coordinator's server and the device's stub over real sockets and mutual TLS.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/base/strings.h"
#include "common/wire/manifest.h"
#include "common/wire/sign_round.h"
#include "coordinator/admin/certificate_authority.h"
#include "coordinator/server/server.h"
#include "device/agent/grpc_federation.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

constexpr absl::Duration kDay = absl::Hours(24);

class GrpcLoopbackTest : public testing::Test {
 protected:
  GrpcLoopbackTest()
      : authority_(*MakeAuthority("test fleet", absl::Now(), kDay)),
        server_key_(
            *IssueServerCertificate(authority_, {"127.0.0.1", "localhost"}, absl::Now(), kDay)) {
    auto server = FederationServer::Start(Options("127.0.0.1:0"));
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  FederationServer::Options Options(const std::string& listen) {
    FederationServer::Options options;
    options.listen = listen;
    options.ca_certificate = authority_.certificate;
    options.server_certificate = server_key_.certificate;
    options.server_key = server_key_.key;
    options.service = &fleet_.service();
    options.tick = [this] { return fleet_.service().Tick(); };
    return options;
  }

  std::string Target() const { return absl::StrCat("127.0.0.1:", server_->port()); }

  std::unique_ptr<FederationService> Connect(const CertifiedKey& issuer, const std::string& ca,
                                             const std::string& device) {
    const CertifiedKey client = *IssueClientCertificate(issuer, device, absl::Now(), kDay);
    auto stub = ConnectGrpcFederation({.target = Target(),
                                       .ca_certificate = ca,
                                       .certificate = client.certificate,
                                       .private_key = client.key,
                                       .call_timeout = absl::Seconds(5)});
    EXPECT_TRUE(stub.ok()) << stub.status();
    return *std::move(stub);
  }
  std::unique_ptr<FederationService> Connect(const std::string& device) {
    return Connect(authority_, authority_.certificate, device);
  }

  TestFleet fleet_;
  CertifiedKey authority_;
  CertifiedKey server_key_;
  std::unique_ptr<FederationServer> server_;
};

TEST_F(GrpcLoopbackTest, HelloAndAVerifiedDownload) {
  const auto device = Connect("device-0");
  const auto hello = device->Hello("ignored", kProtocolVersion);
  ASSERT_TRUE(hello.ok()) << hello.status();
  EXPECT_EQ(hello->protocol_version, kProtocolVersion);
  const auto release = device->GetRelease(
      "ignored", {.kind = ReleaseKind::kCatalog, .base_fingerprint = fleet_.base()});
  ASSERT_TRUE(release.ok()) << release.status();
  const auto manifest = VerifyManifest(*release, {.pinned_key = fleet_.key().public_key(),
                                                  .kind = ReleaseKind::kCatalog,
                                                  .base_fingerprint = fleet_.base(),
                                                  .min_version = 1,
                                                  .now = fleet_.clock().Now()});
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  const ManifestFile& file = manifest->files[0];
  const auto chunk = device->FetchChunk(
      "ignored", {.file_hash = file.hash, .offset = 0, .length = kMaxFetchBytes});
  ASSERT_TRUE(chunk.ok()) << chunk.status();
  EXPECT_TRUE(VerifyFileChunk(file, 0, AsBytes(chunk->data)).ok());
}

TEST_F(GrpcLoopbackTest, TheCertificateSaysWhoCalls) {
  const auto device = Connect("device-0");
  const auto offer =
      device->GetRound("device-1", {.base_fingerprint = fleet_.base(), .catalog_version = 1});
  ASSERT_TRUE(offer.ok()) << offer.status();
  ASSERT_EQ(offer->rounds.size(), 1u);
  const auto round = VerifyRoundDescription(offer->rounds[0], fleet_.key().public_key());
  ASSERT_TRUE(round.ok()) << round.status();
  SeededRandom random("loopback", 1);
  const auto client = SecAggClient::Create(round->secagg, &random);
  const auto keys = (*client)->AdvertiseKeys();
  const auto ticket = device->AdvertiseKeys("device-1", {*keys, std::nullopt});
  ASSERT_TRUE(ticket.ok()) << ticket.status();
  const PollQuery query = {.session = round->secagg.session, .ticket = *ticket};
  EXPECT_TRUE(fleet_.service().Poll("device-0", query).ok());
  EXPECT_FALSE(fleet_.service().Poll("device-1", query).ok());
  const auto poll = device->Poll("device-1", query);
  ASSERT_TRUE(poll.ok()) << poll.status();
  EXPECT_EQ(poll->phase, RoundPhase::kAdvertise);
  EXPECT_GT(poll->retry_after, absl::ZeroDuration());
}

TEST_F(GrpcLoopbackTest, RefusesRevokedAndUnenrolledDevices) {
  const auto device = Connect("device-0");
  ASSERT_TRUE(device->Hello("", kProtocolVersion).ok());
  server_->Stop();  // the store is not thread-safe: revoke while nobody is served
  ASSERT_TRUE(fleet_.store().RevokeDevice("device-0", fleet_.clock().Now()).ok());
  server_ = *FederationServer::Start(Options("127.0.0.1:0"));
  EXPECT_EQ(Connect("device-0")->Hello("", kProtocolVersion).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Connect("stranger")->Hello("", kProtocolVersion).status().code(),
            absl::StatusCode::kPermissionDenied);
}

TEST_F(GrpcLoopbackTest, RefusesClientsOfAnotherAuthority) {
  const CertifiedKey other = *MakeAuthority("others", absl::Now(), kDay);
  // A client certificate that our authority did not sign.
  EXPECT_FALSE(
      Connect(other, authority_.certificate, "device-0")->Hello("", kProtocolVersion).ok());
  // A client that does not trust our authority.
  EXPECT_FALSE(
      Connect(authority_, other.certificate, "device-0")->Hello("", kProtocolVersion).ok());
  EXPECT_TRUE(Connect("device-0")->Hello("", kProtocolVersion).ok());
}

TEST_F(GrpcLoopbackTest, ATakenPortIsAnError) {
  const auto second = FederationServer::Start(Options(Target()));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(Message(second.status())), testing::HasSubstr("cannot listen on"));
}

TEST_F(GrpcLoopbackTest, AnAbsentCoordinatorIsUnavailable) {
  const auto device = Connect("device-0");
  server_->Stop();
  EXPECT_EQ(device->Hello("", kProtocolVersion).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace lorikeet
