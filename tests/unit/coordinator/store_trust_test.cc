// Trust metadata and the log, at rest.
#include "absl/strings/str_cat.h"
#include "common/base/strings.h"
#include "coordinator/storage/sql_store.h"
#include "coordinator/storage/trust_store.h"
#include "tests/unit/coordinator/store_backend.h"

namespace lorikeet {
namespace {

TrustRecord Record(TrustRole role, uint64_t version, std::string bytes) {
  return {role, version, {std::move(bytes), {}}};
}

class TrustStoreTest : public StoreBackendTest {
 protected:
  void SetUp() override {
    StoreBackendTest::SetUp();
    if (IsSkipped()) return;
    store_ = Open();
    trust_ = dynamic_cast<TrustStore*>(store_.get());
    ASSERT_NE(trust_, nullptr);
  }
  absl::Status Append(uint64_t position, const LogEntry& entry) {
    const auto nodes = CompleteNodes(position, LeafOf(entry), *trust_);
    if (!nodes.ok()) return nodes.status();
    return trust_->AppendLog({position, entry, *nodes});
  }
  static LogEntry Entry(uint64_t i) {
    return LogEntryOf(i % 2 == 0 ? LogEntryKind::kRelease : LogEntryKind::kRound,
                      absl::StrCat("entry ", i));
  }

  std::unique_ptr<Store> store_;
  TrustStore* trust_ = nullptr;
};
LORIKEET_INSTANTIATE_STORE_TEST(TrustStoreTest);

TEST_P(TrustStoreTest, KeepsEveryRootAndTheNewestOfTheOthers) {
  EXPECT_TRUE(trust_->CurrentTrust().value().empty());
  for (uint64_t version = 1; version <= 3; ++version) {
    const std::string text = absl::StrCat("version ", version);
    ASSERT_TRUE(trust_
                    ->AddTrust({Record(TrustRole::kRoot, version, text),
                                Record(TrustRole::kTimestamp, version, text)})
                    .ok());
  }
  const auto roots = trust_->RootsAfter(1, 10).value();
  ASSERT_EQ(roots.size(), 2u);
  EXPECT_EQ(roots[0].version, 2u);
  EXPECT_EQ(roots[1].document.bytes, "version 3");
  EXPECT_EQ(trust_->RootsAfter(0, 1).value().size(), 1u);
  const auto current = trust_->CurrentTrust().value();
  ASSERT_EQ(current.size(), 2u);
  for (const TrustRecord& record : current) EXPECT_EQ(record.document.bytes, "version 3");
}

TEST_P(TrustStoreTest, OfTwoWritersOneIsRefusedWhole) {
  ASSERT_TRUE(trust_->AddTrust({Record(TrustRole::kTimestamp, 1, "first")}).ok());
  const absl::Status second = trust_->AddTrust(
      {Record(TrustRole::kTargets, 1, "second"), Record(TrustRole::kTimestamp, 1, "second")});
  EXPECT_TRUE(absl::IsAlreadyExists(second)) << second;
  const auto current = trust_->CurrentTrust().value();
  ASSERT_EQ(current.size(), 1u);
  EXPECT_EQ(current[0].document.bytes, "first");
}

TEST_P(TrustStoreTest, ALogSurvivesReopening) {
  for (uint64_t i = 0; i < 37; ++i) ASSERT_TRUE(Append(i, Entry(i)).ok());
  const Hash256 root = TreeRoot(37, *trust_).value();
  store_ = Open();
  trust_ = dynamic_cast<TrustStore*>(store_.get());
  EXPECT_EQ(trust_->LogSize().value(), 37u);
  EXPECT_EQ(TreeRoot(37, *trust_).value(), root);
  for (uint64_t i = 0; i < 37; ++i) {
    EXPECT_EQ(trust_->FindLogEntry(Entry(i)).value(), i);
    const MerkleProof proof = InclusionProof(i, 37, *trust_).value();
    EXPECT_TRUE(VerifyInclusion(LeafOf(Entry(i)), i, {37, root}, proof).ok());
  }
  EXPECT_EQ(trust_->FindLogEntry(Entry(99)).value(), std::nullopt);
  const auto entries = trust_->ReadLog(35, 10).value();
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0], Entry(35));
}

// Two coordinators over one store append at once: one of them has to look again.
TEST_P(TrustStoreTest, APositionAndAnEntryAreTakenOnce) {
  ASSERT_TRUE(Append(0, Entry(0)).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(trust_->AppendLog({0, Entry(1), {}})));
  EXPECT_TRUE(absl::IsAlreadyExists(Append(1, Entry(0))));
  EXPECT_EQ(trust_->LogSize().value(), 1u);
  EXPECT_TRUE(absl::IsDataLoss(trust_->ReadNode(0, 1).status())) << "nothing of it was stored";
  EXPECT_TRUE(Append(1, Entry(1)).ok());
}

TEST_P(TrustStoreTest, NewestReleasesAreOnePerKindAndBase) {
  ReleaseRecord release;
  for (const char* base : {"a", "b"}) {
    for (uint64_t version : {1, 2, 3}) {
      release.base_fingerprint = base;
      release.version = version;
      ASSERT_TRUE(store_->AddRelease(release).ok());
    }
  }
  release.kind = ReleaseKind::kBase;
  ASSERT_TRUE(store_->AddRelease(release).ok());
  const auto newest = trust_->NewestReleases().value();
  ASSERT_EQ(newest.size(), 3u);
  for (const ReleaseRecord& one : newest) EXPECT_EQ(one.version, 3u);
}

}  // namespace
}  // namespace lorikeet
