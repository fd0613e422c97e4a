// An agent on a table: one step at a time, with answers made by hand or by a FederationService.
#ifndef LORIKEET_TESTS_UNIT_AGENT_AGENT_FIXTURE_H_
#define LORIKEET_TESTS_UNIT_AGENT_AGENT_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/adapter/catalog.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/crypto/sign.h"
#include "common/wire/manifest.h"
#include "common/wire/sign_round.h"
#include "device/agent/agent.h"
#include "tests/unit/agent/test_vouching.h"

namespace lorikeet {

inline const std::string kTestBase(64, 'b');

// A release of one file, with its content.
struct TestRelease {
  ReleaseKind kind = ReleaseKind::kCatalog;
  std::string base_fingerprint = kTestBase;
  uint64_t version = 1;
  std::string content;
  uint32_t chunk_bytes = 1024;
  absl::Duration validity = absl::Hours(24);

  ManifestFile File() const;
};

// A round of a strict task (30 devices, noise enough for epsilon below 8) over `catalog`.
RoundDescription StrictRound(const Catalog& catalog, uint64_t version, absl::Time now);
// What an agent that installed and personalized `catalog` remembers.
AgentState SettledState(const Catalog& catalog, uint64_t version);
// The total of its ledger.
double Spent(const AgentState& state, double delta);
// A contribution that fits the round.
EncodedDelta TestContribution(const RoundDescription& round, int persona, float value,
                              RandomSource* random);

// Saves fail while told to.
class BreakableStore : public MemoryAgentStore {
 public:
  absl::Status Save(const AgentState& state) override;
  absl::Status WriteChunk(const ManifestFile& file, size_t chunk, std::string_view data) override;
  absl::Status save_error;
  absl::Status write_error;
  int saves = 0;
};

class AgentTest : public testing::Test {
 protected:
  AgentTest();

  void MakeAgent();  // with options_ and store_; as a restart when there is one already
  void Step(AgentEvent event);
  void Start() { Step(StartEvent{}); }
  // Advances the clock to the end of the wait, and wakes the agent.
  void Wake();
  // Answers the open call.  A manifest is listed in the metadata if list_.
  void Answer(AgentResponse response);
  void AnswerOk(decltype(AgentResponse::answer) answer) { Answer({{}, std::move(answer)}); }
  void AnswerHello() { AnswerOk(HelloResult{1, 1, clock_.Now()}); }
  // Manifest and chunks of `release`, as long as the agent asks for them.
  void AnswerRelease(const TestRelease& release);
  void AnswerBaseChecked(BaseHealth health);
  void AnswerPersonalized(const std::string& contributes_to = "brief");
  void OfferRound(const RoundDescription& round);
  // Hello, catalog, personalized: the agent now asks for a round.
  void GoToSeek();
  // GoToSeek, an offer, and the ticket for the keys.
  void GoToRound();

  SignedManifest Sign(const TestRelease& release) const;
  template <typename T>
  const T* Requested() const {
    return call_ ? std::get_if<T>(&call_->request) : nullptr;
  }
  std::string Reports(const std::string& kind) const;  // messages, joined by newlines

  ManualClock clock_{absl::FromUnixSeconds(1700000000)};
  SeededRandom random_{"agent test", 1};
  SigningKey key_;
  TestVouching vouching_;
  bool vouch_ = true;  // questions for metadata and proofs are answered at once
  bool list_ = true;   // manifests that are answered with are listed in the metadata
  Catalog catalog_;
  TestRelease release_;
  AgentOptions options_;
  BreakableStore store_;
  std::unique_ptr<Agent> agent_;

  std::optional<CallAction> call_;
  std::optional<absl::Time> wake_;
  std::optional<CheckBaseAction> check_base_;
  std::optional<PersonalizeAction> personalize_;
  std::optional<ContributeAction> contribute_;
  std::vector<ReportAction> reports_;
  std::optional<absl::Status> stopped_;
};

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_AGENT_AGENT_FIXTURE_H_
