// Leases and fences, over SQLite and over PostgreSQL.  SQLite goes by the clock that the caller
// gives, PostgreSQL by its own: its leases here are short, and waited for.
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/strings.h"
#include "coordinator/storage/store.h"
#include "tests/unit/coordinator/store_backend.h"

namespace lorikeet {
namespace {

using testing::HasSubstr;

constexpr absl::Time kNow = absl::FromUnixSeconds(1700000000);
constexpr absl::Duration kLong = absl::Minutes(10);

class StoreLeasesTest : public StoreBackendTest {
 protected:
  void SetUp() override {
    StoreBackendTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    store_ = Open();
    other_ = Open();
    ASSERT_TRUE(store_ != nullptr && other_ != nullptr);
    ASSERT_TRUE(store_->AddTask({.name = "voices", .config = "{}", .created = kNow}).ok());
  }
  Lease Acquire(Store* store, const std::string& holder, absl::Duration duration = kLong) {
    const auto lease = store->AcquireLease({.name = "rounds",
                                            .holder = holder,
                                            .address = holder + ":1",
                                            .now = now_,
                                            .duration = duration});
    EXPECT_TRUE(lease.ok()) << lease.status();
    return lease.ok() ? *lease : Lease();
  }
  // Until a lease of this duration has ended by either clock.
  void Wait(absl::Duration duration) {
    now_ += duration;
    if (GetParam() == StoreBackend::kPostgres) absl::SleepFor(duration);
  }
  static RoundOpening Opening(uint64_t number) {
    RoundOpening opening;
    opening.round.task = "voices";
    opening.round.number = number;
    opening.round.session[0] = static_cast<uint8_t>(number);
    opening.round.opened = kNow;
    opening.ledger = {.task = "voices", .round_number = number, .charged = kNow, .sweep = number};
    return opening;
  }
  static EventBatch Tick(int64_t round_id) {
    EventBatch batch;
    batch.entries.emplace_back().round_id = round_id;
    batch.entries.back().event.at = kNow;
    batch.sums = {{round_id, {.writer = "w", .sum = "x"}}};
    return batch;
  }

  absl::Time now_ = kNow;
  std::unique_ptr<Store> store_, other_;
};
LORIKEET_INSTANTIATE_STORE_TEST(StoreLeasesTest);

TEST_P(StoreLeasesTest, OneHoldsItAndTheOthersSeeWho) {
  EXPECT_EQ(store_->FindLease("rounds").value(), std::nullopt);
  const Lease mine = Acquire(store_.get(), "a");
  EXPECT_EQ(mine.holder, "a");
  EXPECT_EQ(mine.address, "a:1");
  EXPECT_EQ(mine.token, 1u);
  const Lease seen = Acquire(other_.get(), "b");
  EXPECT_EQ(seen.holder, "a");
  EXPECT_EQ(seen.address, "a:1");
  EXPECT_EQ(seen.token, 1u);
  EXPECT_EQ(other_->FindLease("rounds").value()->holder, "a");
  // Another name is another lease.
  LeaseRequest another{
      .name = "'; --", .holder = "b", .address = "", .now = now_, .duration = kLong};
  EXPECT_EQ(other_->AcquireLease(another).value().holder, "b");
}

TEST_P(StoreLeasesTest, EveryAcquisitionHasANewToken) {
  const Lease first = Acquire(store_.get(), "a");
  // The same holder again, whose earlier token ends: it may be an earlier self.
  const Lease second = Acquire(store_.get(), "a");
  EXPECT_EQ(second.token, first.token + 1);
  EXPECT_EQ(store_->RenewLease({"rounds", first.token}, now_, kLong).code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(store_->ReleaseLease({"rounds", second.token}).ok());
  EXPECT_EQ(store_->RenewLease({"rounds", second.token}, now_, kLong).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Acquire(other_.get(), "b").token, second.token + 1);
  // Who no longer holds it cannot give it up for the other.
  ASSERT_TRUE(store_->ReleaseLease({"rounds", second.token}).ok());
  EXPECT_EQ(store_->FindLease("rounds").value()->holder, "b");
}

TEST_P(StoreLeasesTest, ItEndsUnlessRenewed) {
  constexpr absl::Duration kShort = absl::Milliseconds(300);
  const Lease mine = Acquire(store_.get(), "a", kShort);
  Wait(kShort / 2);
  ASSERT_TRUE(store_->RenewLease({"rounds", mine.token}, now_, kShort * 2).ok());
  Wait(kShort);
  EXPECT_EQ(Acquire(other_.get(), "b").holder, "a");
  Wait(kShort * 2);
  const Lease theirs = Acquire(other_.get(), "b");
  EXPECT_EQ(theirs.holder, "b");
  EXPECT_EQ(theirs.token, mine.token + 1);
  const absl::Status late = store_->RenewLease({"rounds", mine.token}, now_, kShort);
  EXPECT_EQ(late.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Message(late)), HasSubstr("expected to hold it with token 1"));
}

TEST_P(StoreLeasesTest, AWrongClockOfAReplicaDoesNotShortenALease) {
  if (GetParam() == StoreBackend::kSqlite) GTEST_SKIP() << "one machine, one clock";
  Acquire(store_.get(), "a");
  now_ += absl::Hours(24);
  EXPECT_EQ(Acquire(other_.get(), "b").holder, "a");
  now_ -= absl::Hours(48);
  EXPECT_EQ(Acquire(other_.get(), "b").holder, "a");
}

TEST_P(StoreLeasesTest, OfManyThatAskAtOnceOneGetsIt) {
  std::vector<Lease> leases(4);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < leases.size(); ++i) {
    threads.emplace_back([&, i] { leases[i] = Acquire(Open().get(), absl::StrCat("r", i)); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Lease& lease : leases) {
    EXPECT_EQ(lease.holder, leases[0].holder);
    EXPECT_EQ(lease.token, 1u);
  }
}

// The replica that was paused while its lease ended, and wakes.
TEST_P(StoreLeasesTest, ThePausedReplicaThatWakesCannotWrite) {
  constexpr absl::Duration kShort = absl::Milliseconds(100);
  const Lease paused = Acquire(store_.get(), "a", kShort);
  store_->UseFence(Fence{"rounds", paused.token});
  const int64_t id = store_->OpenSweep({Opening(1)}).value()[0];
  ASSERT_TRUE(store_->AppendEvents(Tick(id)).ok());
  Wait(kShort * 2);
  const Lease taken = Acquire(other_.get(), "b");
  ASSERT_EQ(taken.holder, "b");
  other_->UseFence(Fence{"rounds", taken.token});

  const absl::Status append = store_->AppendEvents(Tick(id));
  EXPECT_EQ(append.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Message(append)), HasSubstr("with token 1, got 2"));
  EXPECT_EQ(store_->OpenSweep({Opening(2)}).status().code(), absl::StatusCode::kFailedPrecondition);
  RoundEnd end;
  end.round = Opening(1).round;
  end.round.id = id;
  end.round.status = RoundStatus::kAborted;
  end.round.finished = kNow;
  EXPECT_EQ(store_->FinishRound(end).code(), absl::StatusCode::kFailedPrecondition);

  // Nothing of it was stored, and the other goes on.
  EXPECT_EQ(other_->RoundEvents(id).value().size(), 1u);
  EXPECT_EQ(other_->OpenRounds().value().size(), 1u);
  EXPECT_EQ(other_->ListLedger("").value().size(), 1u);
  EXPECT_TRUE(other_->AppendEvents(Tick(id)).ok());
  EXPECT_TRUE(other_->FinishRound(end).ok());
  // What is not a round's is nobody's alone.
  EXPECT_TRUE(store_->SetMeta("endpoint", "a").ok());
  EXPECT_EQ(store_->OpenRounds().value().size(), 0u);
}

TEST_P(StoreLeasesTest, ALeaseThatIsOverButNobodyElsesStillCarriesWrites) {
  constexpr absl::Duration kShort = absl::Milliseconds(50);
  const Lease mine = Acquire(store_.get(), "a", kShort);
  store_->UseFence(Fence{"rounds", mine.token});
  Wait(kShort * 2);
  EXPECT_TRUE(store_->OpenSweep({Opening(1)}).ok());
  EXPECT_TRUE(store_->RenewLease({"rounds", mine.token}, now_, kShort).ok());
}

TEST_P(StoreLeasesTest, AFenceOfALeaseThatNeverWasRefuses) {
  store_->UseFence(Fence{"nonsense", 1});
  EXPECT_EQ(store_->OpenSweep({Opening(1)}).status().code(), absl::StatusCode::kFailedPrecondition);
  store_->UseFence(std::nullopt);
  EXPECT_TRUE(store_->OpenSweep({Opening(1)}).ok());
}

// Between looking at the token and the commit nobody can take the lease.
TEST_P(StoreLeasesTest, WritesAndTakeoversDoNotCross) {
  constexpr int kTurns = 30;
  std::vector<std::thread> replicas;
  std::atomic<int> stored = 0;
  const int64_t id = store_->OpenSweep({Opening(1)}).value()[0];
  for (int r = 0; r < 3; ++r) {
    replicas.emplace_back([&, r] {
      const auto store = Open();
      for (int turn = 0; turn < kTurns; ++turn) {
        // A lease of no time: whoever asks next takes it away.
        const Lease lease = Acquire(store.get(), absl::StrCat("r", r), -absl::Milliseconds(1));
        if (lease.holder != absl::StrCat("r", r)) continue;  // taken away already
        store->UseFence(Fence{"rounds", lease.token});
        EventBatch batch = Tick(id);
        batch.entries[0].event.device = absl::StrCat(lease.token);
        const absl::Status status = store->AppendEvents(batch);
        stored += status.ok() ? 1 : 0;
        EXPECT_TRUE(status.ok() || absl::IsFailedPrecondition(status)) << status;
      }
    });
  }
  for (std::thread& replica : replicas) replica.join();
  const auto events = store_->RoundEvents(id).value();
  EXPECT_EQ(events.size(), static_cast<size_t>(stored));
  EXPECT_GT(events.size(), 0u);
  int64_t before = 0;
  for (const RoundEventRecord& event : events) {
    const int64_t token = std::stoll(event.device);
    EXPECT_GT(token, before);  // nobody wrote after a later holder
    before = token;
  }
}

}  // namespace
}  // namespace lorikeet
