// What a device demands of a log, and the coordinators it sees through.
#include "common/transparency/release_log.h"

#include <gtest/gtest.h>

#include "common/base/random.h"
#include "common/base/strings.h"
#include "tests/unit/transparency/memory_log.h"

namespace lorikeet {
namespace {

absl::Time Now() { return absl::FromUnixSeconds(1790000000); }

SigningKey Key(uint64_t seed) {
  SeededRandom random("release-log", seed);
  return SigningKey::Generate(&random);
}

LogEntry Release(std::string_view name) { return LogEntryOf(LogEntryKind::kRelease, name); }

// A device: the head it remembers, and what it accepts.
struct Device {
  absl::Status See(const LogEntry& entry, const LogEvidence& evidence) {
    const absl::Status status = CheckEvidence({&entry, 1}, evidence, last, keys);
    if (status.ok()) last = evidence.head;
    return status;
  }
  std::vector<Ed25519PublicKey> keys;
  std::optional<TreeHead> last;
};

class ReleaseLogTest : public testing::Test {
 protected:
  ReleaseLogTest() : key_(Key(1)) { device_.keys = {key_.public_key()}; }
  uint64_t Append(MemoryLog& log, std::string_view name) {
    log.Append(LeafOf(Release(name)));
    return log.size() - 1;
  }
  LogEvidence Evidence(MemoryLog& log, uint64_t index) {
    return log.Evidence(index, device_.last, key_, Now());
  }
  SigningKey key_;
  Device device_;
  MemoryLog log_;
};

TEST_F(ReleaseLogTest, ADeviceFollowsAnHonestLog) {
  for (int i = 0; i < 100; ++i) {
    const std::string name = "release " + std::to_string(i);
    const uint64_t index = Append(log_, name);
    if (i % 3 == 0) continue;  // it was off
    const absl::Status status = device_.See(Release(name), Evidence(log_, index));
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_EQ(device_.last->tree.size, index + 1);
  }
  // An old entry again, and the same head twice.
  EXPECT_TRUE(device_.See(Release("release 3"), Evidence(log_, 3)).ok());
}

TEST_F(ReleaseLogTest, AReleaseThatIsNotInTheLogIsRefused) {
  const uint64_t index = Append(log_, "a");
  absl::Status status = device_.See(Release("b"), Evidence(log_, index));
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_NE(Message(status).find("release: log: entry 0 is not in the tree"), std::string::npos);
  // Nor does a round pass for a release.
  status = device_.See(LogEntryOf(LogEntryKind::kRound, "a"), Evidence(log_, index));
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_FALSE(device_.last.has_value()) << "nothing is remembered of what was refused";
}

// A coordinator with a log for each of two groups of devices: every one of them sees a log that is
// right in itself; the first head of the other one gives it away.
TEST_F(ReleaseLogTest, TwoViewsAreNoticedByADeviceThatSeesBoth) {
  MemoryLog other;
  for (MemoryLog* log : {&log_, &other}) {
    for (int i = 0; i < 5; ++i) Append(*log, "common " + std::to_string(i));
  }
  const uint64_t mine = Append(log_, "for most"), theirs = Append(other, "for you only");
  ASSERT_TRUE(device_.See(Release("for most"), Evidence(log_, mine)).ok());
  absl::Status status = device_.See(Release("for you only"), Evidence(other, theirs));
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_NE(Message(status).find("two views of one log"), std::string::npos) << status;
  // It does not help to let the other log grow, whichever proofs are made of either.
  for (int i = 0; i < 20; ++i) Append(other, "later " + std::to_string(i));
  for (int i = 0; i < 20; ++i) Append(log_, "later " + std::to_string(i));
  LogEvidence evidence = Evidence(other, theirs);
  EXPECT_TRUE(absl::IsDataLoss(device_.See(Release("for you only"), evidence)));
  evidence.consistency = Evidence(log_, 0).consistency;
  EXPECT_TRUE(absl::IsDataLoss(device_.See(Release("for you only"), evidence)));
  EXPECT_EQ(device_.last->tree.size, 6u);
}

TEST_F(ReleaseLogTest, ALogThatForgetsIsNoticed) {
  for (int i = 0; i < 4; ++i) Append(log_, std::to_string(i));
  ASSERT_TRUE(device_.See(Release("1"), Evidence(log_, 1)).ok());
  MemoryLog restored;  // from a backup
  for (int i = 0; i < 3; ++i) Append(restored, std::to_string(i));
  LogEvidence evidence = restored.Evidence(1, std::nullopt, key_, Now());
  const absl::Status status = device_.See(Release("1"), evidence);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_NE(Message(status).find("expected at least 4 entries, got 3"), std::string::npos);
}

// All rounds that are offered are asked for at once: which one a device joins, it does not say.
TEST_F(ReleaseLogTest, SeveralEntriesAreProvenTogetherOrNotAtAll) {
  std::vector<LogEntry> entries;
  for (int i = 0; i < 6; ++i) {
    entries.push_back(LogEntryOf(LogEntryKind::kRound, std::to_string(i)));
    log_.Append(LeafOf(entries.back()));
  }
  LogEvidence evidence = Evidence(log_, 0);
  evidence.places.clear();
  for (uint64_t i = 0; i < 6; ++i) {
    evidence.places.push_back({i, InclusionProof(i, 6, log_).value()});
  }
  const auto check = [&] { return CheckEvidence(entries, evidence, std::nullopt, device_.keys); };
  EXPECT_TRUE(check().ok()) << check();
  evidence.places[4].inclusion = evidence.places[5].inclusion;
  EXPECT_TRUE(absl::IsDataLoss(check())) << check();
  evidence.places.pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(check())) << check();
}

TEST_F(ReleaseLogTest, HeadsBySomebodyElseAreRefused) {
  const uint64_t index = Append(log_, "a");
  const SigningKey stranger = Key(2);
  absl::Status status =
      device_.See(Release("a"), log_.Evidence(index, std::nullopt, stranger, Now()));
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  LogEvidence evidence = Evidence(log_, index);
  evidence.head.key = stranger.public_key();
  device_.keys.push_back(stranger.public_key());
  EXPECT_TRUE(absl::IsDataLoss(device_.See(Release("a"), evidence)));
}

// The key of the log may change: the log goes on.
TEST_F(ReleaseLogTest, AnotherKeyContinuesTheSameLog) {
  ASSERT_TRUE(device_.See(Release("a"), Evidence(log_, Append(log_, "a"))).ok());
  const SigningKey next = Key(3);
  device_.keys = {next.public_key()};
  const uint64_t index = Append(log_, "b");
  const absl::Status status =
      device_.See(Release("b"), log_.Evidence(index, device_.last, next, Now()));
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(ReleaseLogTest, EveryFlippedBitOfAHeadIsNoticed) {
  const uint64_t index = Append(log_, "a");
  const LogEvidence good = Evidence(log_, index);
  const auto refused = [&](const LogEvidence& evidence) {
    const LogEntry entry = Release("a");
    return !CheckEvidence({&entry, 1}, evidence, std::nullopt, device_.keys).ok();
  };
  for (int bit = 0; bit < 64; ++bit) {
    LogEvidence evidence = good;
    evidence.head.tree.size ^= uint64_t{1} << bit;
    EXPECT_TRUE(refused(evidence));
  }
  for (int bit = 0; bit < 512; ++bit) {
    LogEvidence evidence = good;
    evidence.head.signature[static_cast<size_t>(bit / 8)] ^= 1 << bit % 8;
    EXPECT_TRUE(refused(evidence));
    evidence = good;
    evidence.head.tree.root[static_cast<size_t>(bit / 16)] ^= 1 << bit % 8;
    EXPECT_TRUE(refused(evidence));
  }
  LogEvidence evidence = good;
  evidence.head.time += absl::Seconds(1);
  EXPECT_TRUE(refused(evidence));
}

}  // namespace
}  // namespace lorikeet
