// The edge with its threads, against a service that only knows releases.
#include "device/agent/agent_runner.h"

#include <thread>

#include "tests/unit/agent/agent_fixture.h"

namespace lorikeet {
namespace {

class ReleasesOnly final : public FederationService {
 public:
  absl::Status away;  // what every call says when not OK
  std::optional<SignedManifest> manifest;
  std::string content;
  TestVouching* vouching = nullptr;

  absl::StatusOr<HelloResult> Hello(const DeviceId&, uint32_t) override {
    if (!away.ok()) return away;
    return HelloResult{1, 1, absl::Now()};
  }
  absl::StatusOr<SignedManifest> GetRelease(const DeviceId&, const ReleaseQuery&) override {
    if (!away.ok()) return away;
    if (!manifest) return absl::NotFoundError("nothing is published");
    return *manifest;
  }
  absl::StatusOr<TrustUpdate> GetTrust(const DeviceId&, const TrustQuery&) override {
    if (!away.ok()) return away;
    if (manifest) vouching->List({ReleaseKind::kCatalog, kTestBase}, manifest->manifest);
    return vouching->Answer(absl::Now());
  }
  absl::StatusOr<LogEvidence> GetLogProof(const DeviceId&, const LogQuery& query) override {
    return vouching->Prove(query, absl::Now());
  }
  absl::StatusOr<ChunkResult> FetchChunk(const DeviceId&, const ChunkQuery& query) override {
    return ChunkResult{content.substr(query.offset, query.length), content.size()};
  }
  absl::StatusOr<RoundOffer> GetRound(const DeviceId&, const RoundQuery&) override {
    return RoundOffer{};
  }
  absl::StatusOr<uint32_t> AdvertiseKeys(const DeviceId&, const JoinRequest&) override {
    return NoRounds();
  }
  absl::Status ShareKeys(const DeviceId&, const ShareKeysMessage&) override { return NoRounds(); }
  absl::Status SubmitMaskedUpdate(const DeviceId&, const MaskedUpdate&) override {
    return NoRounds();
  }
  absl::Status Acknowledge(const DeviceId&, const Acknowledgement&) override { return NoRounds(); }
  absl::Status Unmask(const DeviceId&, const UnmaskResponse&) override { return NoRounds(); }
  absl::StatusOr<PollResult> Poll(const DeviceId&, const PollQuery&) override { return NoRounds(); }

 private:
  static absl::Status NoRounds() { return absl::NotFoundError("no such session"); }
};

class OneThreadAway final : public AgentWork {
 public:
  BaseHealth CheckBase(const CheckBaseAction&) override { return {}; }
  absl::StatusOr<PersonalSummary> Personalize(const PersonalizeAction& action) override {
    worker = std::this_thread::get_id();
    PersonalSummary summary;
    summary.catalog_version = action.catalog_version;
    summary.chosen = "brief";
    return summary;
  }
  absl::StatusOr<EncodedDelta> Contribute(const ContributeAction&) override {
    return absl::InternalError("no round is offered");
  }
  std::thread::id worker;
};

class AgentRunnerTest : public AgentTest {
 protected:
  absl::Status RunIt(std::function<bool()> stop_requested = nullptr) {
    const SystemClock clock;
    service_.vouching = &vouching_;
    agent_ = Agent::Create(options_, &clock, &random_, &store_).value();
    return RunAgent(agent_.get(), {.federation = &service_}, &work_, clock,
                    {.report = [&](const ReportAction& r) { reports_.push_back(r); },
                     .stop_requested = std::move(stop_requested)});
  }
  ReleasesOnly service_;
  OneThreadAway work_;
};

TEST_F(AgentRunnerTest, PersonalizesOnAWorkerAndStopsOnce) {
  options_.once = true;
  release_.validity = absl::Hours(24 * 36500);
  service_.manifest = Sign(release_);
  service_.content = release_.content;
  const absl::Status status = RunIt();
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(store_.Load()->personal->chosen, "brief");
  EXPECT_NE(work_.worker, std::thread::id());
  EXPECT_NE(work_.worker, std::this_thread::get_id());
}

TEST_F(AgentRunnerTest, RetriesByTheClockUntilItGivesUp) {
  service_.away = absl::UnavailableError("connection refused");
  options_.retry_base = absl::Milliseconds(5);
  options_.give_up_after = absl::Milliseconds(60);
  const absl::Time start = absl::Now();
  EXPECT_TRUE(absl::IsUnavailable(RunIt()));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(60));
  EXPECT_GE(reports_.size(), 2u);
}

TEST_F(AgentRunnerTest, StopsWhenAsked) {
  options_.poll_interval = absl::Hours(1);
  const absl::Status status = RunIt([&] { return !reports_.empty(); });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(reports_.front().kind, "waiting");
}

}  // namespace
}  // namespace lorikeet
