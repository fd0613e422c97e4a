// Rounds in the store, over SQLite and over PostgreSQL: opened once, events in order, ended once.
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "common/base/strings.h"
#include "coordinator/storage/store.h"
#include "tests/unit/coordinator/store_backend.h"

namespace lorikeet {
namespace {

using testing::ElementsAre;

constexpr absl::Time kNow = absl::FromUnixSeconds(1700000000);

SessionId SessionOfNumber(uint64_t number) {
  SessionId session = {};
  session[0] = static_cast<uint8_t>(number);
  return session;
}

RoundOpening Opening(uint64_t number, uint64_t sweep = 0) {
  RoundOpening opening;
  opening.round.task = "voices";
  opening.round.number = number;
  opening.round.session = SessionOfNumber(number);
  opening.round.description.description = std::string("\0\xff bytes", 8);
  opening.round.description.signature.fill(1);
  opening.round.description.key.fill(2);
  opening.round.opened = kNow;
  opening.ledger = {.task = "voices",
                    .round_number = number,
                    .epsilon = 0.1 + static_cast<double>(number),
                    .delta = 1e-6,
                    .noise_multiplier = 0.75,
                    .charged = kNow,
                    .sweep = sweep == 0 ? number : sweep};
  return opening;
}

RoundEventRecord Event(RoundEventKind kind, const std::string& device, std::string payload = "p") {
  return {.kind = kind, .device = device, .payload = std::move(payload), .at = kNow};
}

SpentTokenRecord TokenOf(uint8_t nonce) {
  SpentTokenRecord token{.epoch = 5, .session = SessionOfNumber(1)};
  token.nonce.fill(nonce);
  return token;
}

class StoreRoundsTest : public StoreBackendTest {
 protected:
  void SetUp() override {
    StoreBackendTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    store_ = Open();
    ASSERT_NE(store_, nullptr);
    ASSERT_TRUE(store_->AddTask({.name = "voices", .config = "{}", .created = kNow}).ok());
  }
  int64_t OpenRound(uint64_t number) {
    const auto ids = store_->OpenSweep({Opening(number)});
    EXPECT_TRUE(ids.ok()) << ids.status();
    return ids.ok() ? ids->front() : 0;
  }
  static RoundEnd EndOf(int64_t id, const RoundOpening& opening) {
    RoundEnd end;
    end.round = opening.round;
    end.spent = true;
    end.round.id = id;
    end.round.status = RoundStatus::kDone;
    end.round.finished = kNow + absl::Seconds(60);
    return end;
  }
  std::unique_ptr<Store> store_;
};
LORIKEET_INSTANTIATE_STORE_TEST(StoreRoundsTest);

TEST_P(StoreRoundsTest, AnOpenRoundIsFoundAsItWas) {
  const int64_t id = OpenRound(1);
  const auto other = Open();
  const auto round = other->FindRound(SessionOfNumber(1));
  ASSERT_TRUE(round.ok()) << round.status();
  EXPECT_EQ(round->id, id);
  EXPECT_EQ(round->task, "voices");
  EXPECT_EQ(round->number, 1u);
  EXPECT_EQ(round->description.description, std::string("\0\xff bytes", 8));
  EXPECT_EQ(round->description.signature, Opening(1).round.description.signature);
  EXPECT_EQ(round->status, RoundStatus::kOpen);
  EXPECT_EQ(round->opened, kNow);
  EXPECT_EQ(round->finished, absl::InfinitePast());
  EXPECT_EQ(other->FindRound(SessionOfNumber(2)).status().code(), absl::StatusCode::kNotFound);
  const auto ledger = other->ListLedger("voices").value();
  ASSERT_EQ(ledger.size(), 1u);
  EXPECT_EQ(ledger[0].epsilon, 1.1);
  EXPECT_EQ(ledger[0].delta, 1e-6);
  EXPECT_EQ(ledger[0].noise_multiplier, 0.75);
  EXPECT_EQ(ledger[0].charged, kNow);
  EXPECT_TRUE(ledger[0].spent);
  EXPECT_TRUE(other->ListLedger("'").value().empty());
}

TEST_P(StoreRoundsTest, EventsStayInOrderWithTwoMegabytesOfAnyBytes) {
  const int64_t id = OpenRound(1), second = OpenRound(2);
  std::string large(2 << 20, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 31 >> 3);
  EventBatch batch;
  batch.entries = {{id, Event(RoundEventKind::kAdvertise, "a", large), {}},
                   {second, Event(RoundEventKind::kAdvertise, "b"), {}},
                   {id, Event(RoundEventKind::kMask, "'); DELETE FROM rounds; --", ""), {}}};
  batch.sums = {{id, {.writer = "w1", .sum = large}}, {id, {.writer = "w2", .sum = "x"}}};
  ASSERT_TRUE(store_->AppendEvents(batch).ok());
  batch.entries = {{id, Event(RoundEventKind::kTick, "", ""), {}}};
  batch.sums = {{id, {.writer = "w2", .sum = "y"}}};
  ASSERT_TRUE(store_->AppendEvents(batch).ok());

  const auto other = Open();
  const auto events = other->RoundEvents(id).value();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].kind, RoundEventKind::kAdvertise);
  EXPECT_TRUE(events[0].payload == large);
  EXPECT_EQ(events[1].device, "'); DELETE FROM rounds; --");
  EXPECT_EQ(events[1].payload, "");
  EXPECT_EQ(events[2].kind, RoundEventKind::kTick);
  EXPECT_EQ(events[2].at, kNow);
  const auto sums = other->PartialSums(id).value();
  ASSERT_EQ(sums.size(), 2u);
  EXPECT_TRUE(sums[0].sum == large);
  EXPECT_EQ(sums[1].sum, "y");  // in place of the one before
  const auto counts = other->CountRoundEvents(id).value();
  ASSERT_EQ(counts.size(), 3u);
  EXPECT_EQ(counts[0].kind, RoundEventKind::kAdvertise);
  EXPECT_EQ(counts[0].messages, 1);
  EXPECT_EQ(counts[0].bytes, large.size());
  EXPECT_EQ(counts[0].last, kNow);
  EXPECT_EQ(other->OpenRounds().value().size(), 2u);
}

TEST_P(StoreRoundsTest, ASpentTokenStoresNothingOfItsBatch) {
  const int64_t id = OpenRound(1);
  const auto other = Open();
  EventBatch paid;
  paid.entries = {{id, Event(RoundEventKind::kAdvertise, "a"), TokenOf(1)}};
  ASSERT_TRUE(store_->AppendEvents(paid).ok());
  EXPECT_EQ(other->FindSpentToken(5, TokenOf(1).nonce).value(), SessionOfNumber(1));
  EXPECT_EQ(other->FindSpentToken(6, TokenOf(1).nonce).value(), std::nullopt);
  EventBatch again;
  again.entries = {{id, Event(RoundEventKind::kAdvertise, "b"), TokenOf(2)},
                   {id, Event(RoundEventKind::kAdvertise, "c"), TokenOf(1)}};
  again.sums = {{id, {.writer = "w", .sum = "x"}}};
  EXPECT_EQ(other->AppendEvents(again).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(store_->RoundEvents(id).value().size(), 1u);
  EXPECT_EQ(store_->FindSpentToken(5, TokenOf(2).nonce).value(), std::nullopt);
  EXPECT_TRUE(store_->PartialSums(id).value().empty());
  ASSERT_TRUE(other->ForgetTokens(6).ok());
  EXPECT_EQ(store_->FindSpentToken(5, TokenOf(1).nonce).value(), std::nullopt);
}

TEST_P(StoreRoundsTest, OfTwoThatSpendATokenAtOnceOneWins) {
  const int64_t id = OpenRound(1);
  constexpr uint8_t kTokens = 20;
  std::atomic<int> stored = 0, refused = 0;
  const auto spend = [&] {
    const auto store = Open();
    for (uint8_t nonce = 0; nonce < kTokens; ++nonce) {
      EventBatch batch;
      batch.entries = {{id, Event(RoundEventKind::kAdvertise, "a"), TokenOf(nonce)}};
      const absl::Status status = store->AppendEvents(batch);
      stored += status.ok() ? 1 : 0;
      refused += absl::IsAlreadyExists(status) ? 1 : 0;
    }
  };
  std::thread first(spend), second(spend);
  first.join();
  second.join();
  EXPECT_EQ(stored, kTokens);
  EXPECT_EQ(refused, kTokens);
  EXPECT_EQ(store_->RoundEvents(id).value().size(), size_t{kTokens});
}

TEST_P(StoreRoundsTest, OfReplicasThatOpenARoundAtOnceOneWins) {
  constexpr int kReplicas = 4, kRounds = 10;
  std::atomic<int> opened = 0, refused = 0;
  std::vector<std::thread> replicas;
  for (int r = 0; r < kReplicas; ++r) {
    replicas.emplace_back([&, r] {
      const auto store = Open();
      for (uint64_t number = 1; number <= kRounds; ++number) {
        RoundOpening opening = Opening(number);
        opening.round.session[1] = static_cast<uint8_t>(r);  // each describes its own
        const absl::Status status = store->OpenSweep({opening}).status();
        opened += status.ok() ? 1 : 0;
        refused += absl::IsAlreadyExists(status) ? 1 : 0;
      }
    });
  }
  for (std::thread& replica : replicas) replica.join();
  EXPECT_EQ(opened, kRounds);
  EXPECT_EQ(refused, kRounds * (kReplicas - 1));
  EXPECT_EQ(store_->OpenRounds().value().size(), size_t{kRounds});
  EXPECT_EQ(store_->ListLedger("").value().size(), size_t{kRounds});  // and each charged once
}

TEST_P(StoreRoundsTest, ASweepOpensWhollyOrNotAtAll) {
  OpenRound(2);
  EXPECT_EQ(store_->OpenSweep({Opening(1), Opening(2)}).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(store_->OpenRounds().value().size(), 1u);
  EXPECT_EQ(store_->ListLedger("").value().size(), 1u);
}

TEST_P(StoreRoundsTest, AnEventOfNoRoundIsRefused) {
  EventBatch batch;
  batch.entries = {{12345, Event(RoundEventKind::kAdvertise, "a"), {}}};
  EXPECT_EQ(store_->AppendEvents(batch).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(store_->AddNoise({.task = "none", .state = "s"}).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_P(StoreRoundsTest, ARoundEndsOnceWithItsReleaseAndItsNoise) {
  const int64_t id = OpenRound(1);
  EventBatch batch;
  batch.entries = {{id, Event(RoundEventKind::kAdvertise, "a"), {}}};
  batch.sums = {{id, {.writer = "w", .sum = "x"}}};
  ASSERT_TRUE(store_->AppendEvents(batch).ok());
  ASSERT_TRUE(store_->AddNoise({.task = "voices", .state = std::string("\0 1", 3)}).ok());
  EXPECT_EQ(store_->AddNoise({.task = "voices", .state = ""}).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(store_->FindNoise("voices").value()->state, std::string("\0 1", 3));
  EXPECT_EQ(store_->FindNoise("none").value(), std::nullopt);

  RoundEnd end = EndOf(id, Opening(1));
  end.round.survivor_count = 4;
  end.round.transcript.fill(9);
  end.round.report = "{}";
  end.release = ReleaseRecord{.kind = ReleaseKind::kCatalog,
                              .name = "voices",
                              .version = 2,
                              .base_fingerprint = "base",
                              .manifest = {},
                              .published = kNow};
  end.noise = NoiseRecord{.task = "voices", .state = "2"};
  ASSERT_TRUE(store_->FinishRound(end).ok());
  end.release->version = 3;
  const auto other = Open();
  EXPECT_EQ(other->FinishRound(end).code(), absl::StatusCode::kFailedPrecondition);

  const auto round = other->FindRound(SessionOfNumber(1)).value();
  EXPECT_EQ(round.status, RoundStatus::kDone);
  EXPECT_EQ(round.finished, kNow + absl::Seconds(60));
  EXPECT_EQ(round.survivor_count, 4u);
  EXPECT_EQ(round.transcript, end.round.transcript);
  EXPECT_EQ(round.report, "{}");
  EXPECT_TRUE(other->OpenRounds().value().empty());
  EXPECT_TRUE(other->RoundEvents(id).value().empty());
  EXPECT_TRUE(other->PartialSums(id).value().empty());
  EXPECT_EQ(other->LatestRelease(ReleaseKind::kCatalog, "base").value()->version, 2u);
  EXPECT_EQ(other->FindNoise("voices").value()->state, "2");
}

TEST_P(StoreRoundsTest, AnEndWhoseReleaseIsTakenIsNoEnd) {
  const int64_t id = OpenRound(1);
  RoundEnd end = EndOf(id, Opening(1));
  end.spent = false;
  end.release.emplace();
  end.release->version = 2;
  end.release->base_fingerprint = "base";
  ASSERT_TRUE(store_->AddRelease(*end.release).ok());
  EXPECT_EQ(store_->FinishRound(end).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(store_->OpenRounds().value().size(), 1u);
  EXPECT_TRUE(store_->ListLedger("").value()[0].spent);
  end.release.reset();
  ASSERT_TRUE(store_->FinishRound(end).ok());
  EXPECT_FALSE(store_->ListLedger("").value()[0].spent);
}

TEST_P(StoreRoundsTest, SumsOfASweepAreKeptUntilItsLastRoundEnds) {
  const auto ids = store_->OpenSweep({Opening(1, 1), Opening(2, 1)}).value();
  RoundEnd first = EndOf(ids[0], Opening(1)), last = EndOf(ids[1], Opening(2));
  EXPECT_EQ(store_->FinishRound(first).code(), absl::StatusCode::kFailedPrecondition);
  first.ends_sweep = false;
  first.kept_sum = std::string("\0\1\2\3", 4);
  ASSERT_TRUE(store_->FinishRound(first).ok());
  const auto sums = Open()->KeptSums("voices", 1).value();
  ASSERT_EQ(sums.size(), 1u);
  EXPECT_EQ(sums[0].round_id, ids[0]);
  EXPECT_EQ(sums[0].sum, first.kept_sum);
  last.ends_sweep = false;
  EXPECT_EQ(store_->FinishRound(last).code(), absl::StatusCode::kFailedPrecondition);
  last.ends_sweep = true;
  ASSERT_TRUE(store_->FinishRound(last).ok());
  EXPECT_TRUE(store_->KeptSums("voices", 1).value().empty());
}

TEST_P(StoreRoundsTest, ListsAreInOrder) {
  for (uint64_t number = 1; number <= 3; ++number) OpenRound(number);
  ASSERT_TRUE(store_->AddTask({.name = "other", .config = "{}", .created = kNow}).ok());
  std::vector<uint64_t> newest, after, charged;
  const auto rounds = store_->ListRounds("voices").value();
  for (const RoundRecord& round : rounds) newest.push_back(round.number);
  const auto later = store_->RoundsAfter(rounds.back().id).value();
  for (const RoundRecord& round : later) after.push_back(round.number);
  const auto ledger = store_->ListLedger("").value();
  for (const LedgerRecord& entry : ledger) charged.push_back(entry.round_number);
  EXPECT_THAT(newest, ElementsAre(3, 2, 1));
  EXPECT_THAT(after, ElementsAre(2, 3));
  EXPECT_THAT(charged, ElementsAre(1, 2, 3));
  EXPECT_TRUE(store_->ListRounds("other").value().empty());
  EXPECT_EQ(store_->ListRounds("").value().size(), 3u);
}

}  // namespace
}  // namespace lorikeet
