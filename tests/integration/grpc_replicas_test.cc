// Three coordinators as processes over one PostgreSQL and on the network: one is killed, one paused
// while it runs the rounds, and devices that call any of them finish their round.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "coordinator/admin/certificate_authority.h"
#include "coordinator/server/replica_forwarder.h"
#include "coordinator/server/server.h"
#include "device/agent/grpc_federation.h"
#include "tests/support/private_postgres.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

constexpr int kReplicas = 3, kDevices = 3, kSteps = 5;
constexpr absl::Duration kLease = absl::Seconds(1);

// From the fleet's time on, as the real one goes by.
class RunningClock final : public Clock {
 public:
  explicit RunningClock(absl::Time start) : offset_(start - absl::Now()) {}
  absl::Time Now() const override { return absl::Now() + offset_; }

 private:
  absl::Duration offset_;
};

// Free now; somebody else could take it before it is used, which a test can live with.
int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size), 0);
  close(fd);
  return ntohs(address.sin_port);
}

struct Certificates {
  CertifiedKey authority, server;
};

// What `serve` does, until it is killed.
[[noreturn]] void RunReplica(TestFleet* fleet, const std::string& place, const std::string& address,
                             const Certificates& certificates) {
  const RunningClock clock(fleet->clock().Now());
  SystemRandom random;
  auto store = OpenStore(place, false);
  if (!store.ok()) _exit(3);
  Leadership leadership({.store = store->get(),
                         .clock = &clock,
                         .random = &random,
                         .address = address,
                         .duration = kLease});
  const auto coordinator =
      fleet->Replica(store->get(), {.leadership = &leadership, .clock = &clock, .random = &random});
  FederationServer::Options options;
  options.listen = address;
  options.ca_certificate = certificates.authority.certificate;
  options.server_certificate = certificates.server.certificate;
  options.server_key = certificates.server.key;
  options.service = coordinator.get();
  options.leader = [&] { return coordinator->Leader(); };
  options.tick = [&] { return coordinator->Tick(); };
  const auto server = FederationServer::Start(options);
  if (!server.ok()) _exit(4);
  for (;;) pause();
}

struct ReplicaProcess {
  std::string address;
  pid_t pid = -1;
};

// Each device's connections to all replicas.  Every call goes to the next one; where there is no
// answer, to another, until `kPatience` is over.
class Entrance final : public FederationService {
 public:
  Entrance(const std::vector<std::string>& addresses, const Certificates& certificates) {
    for (int i = 0; i < kDevices; ++i) {
      const DeviceId device = absl::StrCat("device-", i);
      const CertifiedKey client =
          *IssueClientCertificate(certificates.authority, device, absl::Now(), absl::Hours(24));
      for (const std::string& address : addresses) {
        lines_[device].push_back(
            *ConnectGrpcFederation({.target = address,
                                    .ca_certificate = certificates.authority.certificate,
                                    .certificate = client.certificate,
                                    .private_key = client.key,
                                    .call_timeout = absl::Milliseconds(1500)}));
      }
    }
  }
  int retries() const { return retries_; }

  absl::StatusOr<HelloResult> Hello(const DeviceId& d, uint32_t version) override {
    return Call(d, [&](FederationService& s) { return s.Hello(d, version); });
  }
  absl::StatusOr<SignedManifest> GetRelease(const DeviceId& d, const ReleaseQuery& q) override {
    return Call(d, [&](FederationService& s) { return s.GetRelease(d, q); });
  }
  absl::StatusOr<ChunkResult> FetchChunk(const DeviceId& d, const ChunkQuery& q) override {
    return Call(d, [&](FederationService& s) { return s.FetchChunk(d, q); });
  }
  absl::StatusOr<TrustUpdate> GetTrust(const DeviceId& d, const TrustQuery& q) override {
    return Call(d, [&](FederationService& s) { return s.GetTrust(d, q); });
  }
  absl::StatusOr<LogEvidence> GetLogProof(const DeviceId& d, const LogQuery& q) override {
    return Call(d, [&](FederationService& s) { return s.GetLogProof(d, q); });
  }
  absl::StatusOr<RoundOffer> GetRound(const DeviceId& d, const RoundQuery& q) override {
    return Call(d, [&](FederationService& s) { return s.GetRound(d, q); });
  }
  absl::StatusOr<uint32_t> AdvertiseKeys(const DeviceId& d, const JoinRequest& r) override {
    return Call(d, [&](FederationService& s) { return s.AdvertiseKeys(d, r); });
  }
  absl::Status ShareKeys(const DeviceId& d, const ShareKeysMessage& m) override {
    return Call(d, [&](FederationService& s) { return s.ShareKeys(d, m); });
  }
  absl::Status SubmitMaskedUpdate(const DeviceId& d, const MaskedUpdate& m) override {
    return Call(d, [&](FederationService& s) { return s.SubmitMaskedUpdate(d, m); });
  }
  absl::Status Acknowledge(const DeviceId& d, const Acknowledgement& m) override {
    return Call(d, [&](FederationService& s) { return s.Acknowledge(d, m); });
  }
  absl::Status Unmask(const DeviceId& d, const UnmaskResponse& m) override {
    return Call(d, [&](FederationService& s) { return s.Unmask(d, m); });
  }
  absl::StatusOr<PollResult> Poll(const DeviceId& d, const PollQuery& q) override {
    return Call(d, [&](FederationService& s) { return s.Poll(d, q); });
  }

 private:
  static constexpr absl::Duration kPatience = absl::Seconds(60);
  static const absl::Status& StatusOf(const absl::Status& status) { return status; }
  template <typename T>
  static const absl::Status& StatusOf(const absl::StatusOr<T>& result) {
    return result.status();
  }
  template <typename MakeCall>
  auto Call(const DeviceId& device, const MakeCall& make_call)
      -> decltype(make_call(std::declval<FederationService&>())) {
    const absl::Time end = absl::Now() + kPatience;
    for (;;) {
      called_ = (called_ + 1) % kReplicas;
      auto result = make_call(*lines_.at(device)[static_cast<size_t>(called_)]);
      const absl::Status& status = StatusOf(result);
      const bool down = absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
      if (!down || absl::Now() > end) return result;
      ++retries_;
      absl::SleepFor(absl::Milliseconds(100));
    }
  }
  std::map<DeviceId, std::vector<std::unique_ptr<FederationService>>> lines_;
  int called_ = 0, retries_ = 0;
};

class GrpcReplicasTest : public testing::Test {
 protected:
  void SetUp() override {
    LORIKEET_POSTGRES_OR_SKIP(server);
    FleetOptions options;
    options.cohort_min = options.cohort_max = kDevices;
    options.store = server->NewSchema();
    fleet_.emplace(options);
    const absl::Duration day = absl::Hours(24);
    certificates_.authority = *MakeAuthority("test fleet", absl::Now(), day);
    certificates_.server =
        *IssueServerCertificate(certificates_.authority, {"127.0.0.1"}, absl::Now(), day);
    // All processes before this one has threads or connections of gRPC's.
    std::vector<std::string> addresses;
    for (ReplicaProcess& replica : replicas_) {
      replica.address = absl::StrCat("127.0.0.1:", FreePort());
      addresses.push_back(replica.address);
      replica.pid = fork();
      if (replica.pid != 0) continue;
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      RunReplica(&*fleet_, options.store, replica.address, certificates_);
    }
    entrance_.emplace(addresses, certificates_);
    fleet_->Redirect(&*entrance_);
    for (int i = 0; i < kDevices; ++i) devices_.emplace_back(&*fleet_, i);
  }
  void TearDown() override {
    for (ReplicaProcess& replica : replicas_) Kill(&replica);
  }
  static void Kill(ReplicaProcess* replica) {
    if (replica->pid <= 0) return;
    kill(replica->pid, SIGKILL);
    waitpid(replica->pid, nullptr, 0);
    replica->pid = -1;
  }
  ReplicaProcess* Leader() {
    const auto lease = fleet_->store().FindLease("rounds").value();
    for (ReplicaProcess& replica : replicas_) {
      if (lease && replica.address == lease->address) return &replica;
    }
    return nullptr;
  }
  absl::Status Take(int step, int device) {
    TestDevice& one = devices_[static_cast<size_t>(device)];
    switch (step) {
      case 0:
        return one.Join();
      case 1:
        return one.Share();
      case 2:
        return one.Mask(0, 0.5f);
      case 3:
        return one.Acknowledge();
      default:
        return one.Unmask();
    }
  }
  void Expect(int step, int device) {
    const absl::Status status = Take(step, device);
    ASSERT_TRUE(status.ok()) << "step " << step << ", device " << device << ": " << status;
  }

  std::optional<TestFleet> fleet_;
  Certificates certificates_;
  std::array<ReplicaProcess, kReplicas> replicas_;
  std::optional<Entrance> entrance_;
  std::vector<TestDevice> devices_;
};

// What coordinators tell each other of callers, a device cannot.
void ExpectNoNamesFromDevices(const std::string& address, const Certificates& certificates) {
  const CertifiedKey client =
      *IssueClientCertificate(certificates.authority, "device-0", absl::Now(), absl::Hours(1));
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = certificates.authority.certificate;
  tls.pem_cert_chain = client.certificate;
  tls.pem_private_key = client.key;
  const auto stub =
      proto::Federation::NewStub(grpc::CreateChannel(address, grpc::SslCredentials(tls)));
  const auto ask = [&](const std::string& named) {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(20)));
    if (!named.empty()) context.AddMetadata(kCallerMetadata, named);
    proto::PollRequest request;
    request.set_session(std::string(32, 's'));
    proto::PollResponse response;
    return stub->Poll(&context, request, &response).error_code();
  };
  EXPECT_EQ(ask(""), grpc::StatusCode::NOT_FOUND) << "no such session";
  EXPECT_EQ(ask("device-1"), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ask("device-0"), grpc::StatusCode::UNAUTHENTICATED);
}

TEST_F(GrpcReplicasTest, ARoundOutlivesAKilledAndAPausedCoordinator) {
  for (const ReplicaProcess& replica : replicas_) {
    ExpectNoNamesFromDevices(replica.address, certificates_);
  }
  ReplicaProcess *killed = nullptr, *paused = nullptr;
  for (int step = 0; step < kSteps; ++step) {
    Expect(step, 0);
    if (step == 1) {
      killed = Leader();
      ASSERT_NE(killed, nullptr);
      Kill(killed);
    }
    if (step == 2) {
      paused = Leader();
      ASSERT_TRUE(paused != nullptr && paused != killed);
      ASSERT_EQ(kill(paused->pid, SIGSTOP), 0);
    }
    Expect(step, 1);
    if (step == 2) {
      // Another took over from it; now it wakes, and everybody may call it again.
      EXPECT_NE(Leader(), paused);
      ASSERT_EQ(kill(paused->pid, SIGCONT), 0);
    }
    Expect(step, 2);
  }
  EXPECT_NE(Leader(), killed);
  EXPECT_GT(entrance_->retries(), 0);

  const RoundRecord round = fleet_->LatestRound();
  EXPECT_EQ(round.status, RoundStatus::kDone) << round.message;
  EXPECT_EQ(round.number, 1u);
  EXPECT_EQ(round.survivor_count, static_cast<uint32_t>(kDevices));
  EXPECT_NEAR(fleet_->LatestCatalog().personas[0].cores[0], 0.5, 0.05);
  EXPECT_EQ(fleet_->store().ListLedger("")->size(), 1u);
  EXPECT_EQ(fleet_->store().FindLease("rounds").value()->token, 3u);  // three terms
}

}  // namespace
}  // namespace lorikeet
