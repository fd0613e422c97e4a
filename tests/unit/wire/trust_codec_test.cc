// Trust metadata and log proofs across the wire.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/strings.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"
#include "common/wire/limits.h"
#include "tests/unit/wire/trust_samples.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

template <typename T>
std::string Refusal(const absl::StatusOr<T>& result) {
  EXPECT_TRUE(absl::IsInvalidArgument(result.status())) << result.status();
  return std::string(Message(result.status()));
}

TEST(TrustCodecTest, QueriesComeBack) {
  const TrustQuery trust{.root_version = 3, .snapshot_version = 2, .targets_version = 1};
  EXPECT_EQ(DecodeTrustQuery(Encode(trust)).value(), trust);
  const LogQuery log = SampleLogQuery();
  EXPECT_EQ(DecodeLogQuery(Encode(log)).value(), log);
}

TEST(TrustCodecTest, UpdatesComeBack) {
  TrustUpdate update = SampleTrustUpdate();
  const auto got = DecodeTrustUpdate(Encode(update));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->roots, update.roots);
  EXPECT_EQ(got->timestamp, update.timestamp);
  EXPECT_EQ(got->snapshot, update.snapshot);
  EXPECT_EQ(got->targets, update.targets);
  update.snapshot.reset();
  EXPECT_EQ(DecodeTrustUpdate(Encode(update))->snapshot, std::nullopt);
}

TEST(TrustCodecTest, EvidenceComesBack) {
  const LogEvidence evidence = SampleLogEvidence();
  const auto got = DecodeLogEvidence(Encode(evidence));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, evidence);
}

// Endless data ends here: nothing above sees more.
TEST(TrustCodecTest, EveryLengthIsBounded) {
  TrustUpdate update = SampleTrustUpdate();
  update.timestamp->bytes.resize(MaxMetadataBytes(TrustRole::kTimestamp) + 1, 'x');
  EXPECT_THAT(Refusal(DecodeTrustUpdate(Encode(update))), HasSubstr("expected 1 to 1024 bytes"));
  update = SampleTrustUpdate();
  update.targets->bytes.resize(MaxMetadataBytes(TrustRole::kTargets) + 1, 'x');
  EXPECT_THAT(Refusal(DecodeTrustUpdate(Encode(update))), HasSubstr("trust document"));
  update = SampleTrustUpdate();
  update.roots.resize(kMaxRootsPerUpdate + 1, update.roots[0]);
  EXPECT_THAT(Refusal(DecodeTrustUpdate(Encode(update))), HasSubstr("at most 64 entries, got 65"));
  update = SampleTrustUpdate();
  update.roots[0].signatures.resize(kMaxTrustSignatures + 1);
  EXPECT_THAT(Refusal(DecodeTrustUpdate(Encode(update))), HasSubstr("trust signatures"));
  LogQuery query = SampleLogQuery();
  query.entries.resize(static_cast<size_t>(kMaxLogQueryEntries) + 1, query.entries[0]);
  EXPECT_THAT(Refusal(DecodeLogQuery(Encode(query))), HasSubstr("log entries"));
  query.entries.clear();
  EXPECT_THAT(Refusal(DecodeLogQuery(Encode(query))), HasSubstr("expected 1 to 1024, got 0"));
  LogEvidence evidence = SampleLogEvidence();
  evidence.consistency.resize(kMaxTreeProofHashes + 1);
  EXPECT_THAT(Refusal(DecodeLogEvidence(Encode(evidence))), HasSubstr("consistency proof"));
  evidence = SampleLogEvidence();
  evidence.places[0].inclusion.resize(kMaxTreeProofHashes + 1);
  EXPECT_THAT(Refusal(DecodeLogEvidence(Encode(evidence))), HasSubstr("inclusion proof"));
}

TEST(TrustCodecTest, RangesAreChecked) {
  LogEvidence evidence = SampleLogEvidence();
  evidence.head.tree.size = kMaxTreeSize + 1;
  EXPECT_THAT(Refusal(DecodeLogEvidence(Encode(evidence))), HasSubstr("log size"));
  evidence = SampleLogEvidence();
  evidence.head.time = absl::FromUnixSeconds(-1);
  EXPECT_THAT(Refusal(DecodeLogEvidence(Encode(evidence))), HasSubstr("log time"));
  LogQuery query = SampleLogQuery();
  query.entries[0].kind = static_cast<LogEntryKind>(3);
  EXPECT_THAT(Refusal(DecodeLogQuery(Encode(query))), HasSubstr("log entry kind"));
}

}  // namespace
}  // namespace lorikeet
