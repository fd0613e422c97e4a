#include "tests/unit/agent/agent_fixture.h"

#include <utility>

#include "coordinator/rounds/describe_round.h"
#include "device/update/pipeline.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

SigningKey FixtureKey() {
  SeededRandom random("agent test key", 1);
  return SigningKey::Generate(&random);
}

}  // namespace

ManifestFile TestRelease::File() const {
  ManifestFile file = DescribeFile("file.gguf", AsBytes(content));
  file.chunk_bytes = chunk_bytes;
  file.chunks.clear();
  for (size_t at = 0; at < content.size(); at += chunk_bytes) {
    file.chunks.push_back(
        Blake2b(AsBytes(content).subspan(at, std::min<size_t>(chunk_bytes, content.size() - at))));
  }
  return file;
}

RoundDescription StrictRound(const Catalog& catalog, uint64_t version, absl::Time now) {
  TaskConfig task;
  task.name = "strict";
  task.base_fingerprint = catalog.base_fingerprint;
  SeededRandom random("round", 1);
  return DescribeSweep(task,
                       {.hash = CatalogHash(catalog),
                        .version = version,
                        .persona_count = static_cast<int>(catalog.personas.size()),
                        .block_size = catalog.block_size()},
                       /*first_number=*/1, now, &random)
      .value()
      .front();
}

AgentState SettledState(const Catalog& catalog, uint64_t version) {
  AgentState state;
  state.catalog = InstalledRelease{version, HashFromHex(CatalogHash(catalog)).value(),
                                   catalog.base_fingerprint};
  state.personal.emplace();
  state.personal->catalog_version = version;
  state.personal->chosen = state.personal->contributes_to = "brief";
  state.personal->at = absl::FromUnixSeconds(1700000000);
  return state;
}

double Spent(const AgentState& state, double delta) {
  return TotalOf(state.ledger, delta).value().epsilon;
}

EncodedDelta TestContribution(const RoundDescription& round, int persona, float value,
                              RandomSource* random) {
  CoreDelta delta;
  delta.loss_before = 3;
  delta.loss_after = 2;
  delta.values.assign(static_cast<size_t>(round.layout.block_size), value);
  return PrepareContribution(delta, persona, round, random).value();
}

absl::Status BreakableStore::Save(const AgentState& state) {
  if (!save_error.ok()) return save_error;
  ++saves;
  return MemoryAgentStore::Save(state);
}

absl::Status BreakableStore::WriteChunk(const ManifestFile& file, size_t chunk,
                                        std::string_view data) {
  if (!write_error.ok()) return write_error;
  return MemoryAgentStore::WriteChunk(file, chunk, data);
}

AgentTest::AgentTest()
    : key_(FixtureKey()), vouching_(FixtureKey()), catalog_(TinyCatalog(kTestBase, 1)) {
  release_.content = SerializeCatalog(catalog_);
  options_.root = vouching_.root();
  options_.base_fingerprint = kTestBase;
  options_.policy.federate = true;
}

void AgentTest::MakeAgent() {
  agent_ = Agent::Create(options_, &clock_, &random_, &store_).value();
  call_.reset();
  wake_.reset();
  check_base_.reset();
  personalize_.reset();
  contribute_.reset();
  stopped_.reset();
  reports_.clear();
}

void AgentTest::Step(AgentEvent event) {
  for (AgentAction& action : agent_->Step(std::move(event))) {
    if (auto* call = std::get_if<CallAction>(&action)) call_ = std::move(*call);
    if (auto* wait = std::get_if<WaitAction>(&action)) wake_ = wait->until;
    if (auto* work = std::get_if<CheckBaseAction>(&action)) check_base_ = *work;
    if (auto* work = std::get_if<PersonalizeAction>(&action)) personalize_ = *work;
    if (auto* work = std::get_if<ContributeAction>(&action)) contribute_ = std::move(*work);
    if (auto* report = std::get_if<ReportAction>(&action)) reports_.push_back(std::move(*report));
    if (auto* stop = std::get_if<StopAction>(&action)) stopped_ = std::move(stop->status);
  }
  if (!vouch_) return;
  if (Requested<TrustQuery>()) AnswerOk(vouching_.Answer(clock_.Now()));
  if (const auto* query = Requested<LogQuery>()) AnswerOk(vouching_.Prove(*query, clock_.Now()));
}

void AgentTest::Wake() {
  ASSERT_TRUE(wake_) << "the agent does not wait";
  clock_.Set(std::max(clock_.Now(), *std::exchange(wake_, std::nullopt)));
  Step(WakeEvent{});
}

void AgentTest::Answer(AgentResponse response) {
  ASSERT_TRUE(call_) << "the agent has not asked";
  const auto* manifest = std::get_if<SignedManifest>(&response.answer);
  const auto* query = Requested<ReleaseQuery>();
  if (list_ && manifest && query) vouching_.List(*query, manifest->manifest);
  const uint64_t id = std::exchange(call_, std::nullopt)->id;
  Step(CallDone{id, std::move(response)});
}

SignedManifest AgentTest::Sign(const TestRelease& release) const {
  Manifest manifest;
  manifest.kind = release.kind;
  manifest.name = "release";
  manifest.version = release.version;
  manifest.base_fingerprint = release.base_fingerprint;
  manifest.created = absl::FromUnixSeconds(1700000000);
  manifest.expires = absl::FromUnixSeconds(1700000000) + release.validity;
  manifest.files = {release.File()};
  return SignManifest(manifest, key_);
}

void AgentTest::AnswerRelease(const TestRelease& release) {
  ASSERT_NE(Requested<ReleaseQuery>(), nullptr);
  AnswerOk(Sign(release));
  while (const auto* chunk = Requested<ChunkQuery>()) {
    const std::string data = release.content.substr(chunk->offset, chunk->length);
    AnswerOk(ChunkResult{data, release.content.size()});
  }
}

void AgentTest::AnswerBaseChecked(BaseHealth health) {
  ASSERT_TRUE(check_base_);
  check_base_.reset();
  Step(BaseChecked{std::move(health)});
}

void AgentTest::AnswerPersonalized(const std::string& contributes_to) {
  ASSERT_TRUE(personalize_);
  const uint64_t version = std::exchange(personalize_, std::nullopt)->catalog_version;
  Step(PersonalizeDone{PersonalSummary{.catalog_version = version,
                                       .chosen = contributes_to,
                                       .contributes_to = contributes_to,
                                       .reason = "it fits.",
                                       .verdict = "kept",
                                       .kept = true,
                                       .at = clock_.Now()}});
}

void AgentTest::OfferRound(const RoundDescription& round) {
  ASSERT_NE(Requested<RoundQuery>(), nullptr);
  AnswerOk(RoundOffer{{SignRoundDescription(round, key_)}, absl::Seconds(1)});
}

void AgentTest::GoToSeek() {
  MakeAgent();
  Start();
  AnswerHello();
  AnswerRelease(release_);
  AnswerPersonalized();
  ASSERT_NE(Requested<RoundQuery>(), nullptr);
}

void AgentTest::GoToRound() {
  GoToSeek();
  OfferRound(StrictRound(catalog_, 1, clock_.Now()));
  ASSERT_NE(Requested<JoinRequest>(), nullptr);
  AnswerOk(Ticket{7});
}

std::string AgentTest::Reports(const std::string& kind) const {
  std::string all;
  for (const ReportAction& report : reports_) {
    if (report.kind == kind) all += report.message + "\n";
  }
  return all;
}

}  // namespace lorikeet
