#include "device/personalization/forgetting.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/file.h"
#include "common/base/strings.h"
#include "device/personalization/history.h"
#include "tests/support/shared_data.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

PersonalAdapter SomeAdapter(uint64_t seed) {
  return PersonalAdapter::Merge(
      Adapter{},
      MakeAdapter(*LoadTinyModel(), {.kind = AdapterKind::kLora, .rank = 2, .seed = seed}).value());
}

class ForgettingTest : public testing::Test {
 protected:
  ForgettingTest()
      : dir_(MakeTempDir("forgetting")),
        out_(dir_ + "/me.gguf"),
        random_("forgetting-test", 1),
        clock_(absl::FromUnixSeconds(1000000)),
        vault_(Open()) {
    for (int i = 0; i < 9; ++i) {
      vault_->Add("notes", PrivateText("entry " + std::to_string(i))).value();
    }
  }
  std::unique_ptr<Vault> Open() {
    return Vault::Open({.dir = dir_ + "/v", .create = true},
                       {.key_file = dir_ + "/key", .passphrase = {}}, &clock_, &random_)
        .value();
  }
  void Remember(const std::string& path) {
    VaultAdapter adapter;
    adapter.path = path;
    adapter.model = "/model";
    ASSERT_TRUE(vault_->RememberAdapter(adapter).ok());
  }
  void Append(const std::string& path, std::vector<int64_t> records, uint64_t seed) {
    HistoryEntry entry;
    entry.kind = history_kind::kPersonalized;
    entry.records = std::move(records);
    auto history = History::Open(path, &clock_);
    ASSERT_TRUE(history.ok()) << history.status();
    ASSERT_TRUE(history->Append(entry, SomeAdapter(seed)).ok());
  }
  int KeptVersions(const std::string& path) {
    int kept = 0;
    const std::vector<HistoryEntry> entries = History::Read(path).value();
    for (const HistoryEntry& entry : entries) {
      kept += entry.adapter_file.empty() ? 0 : 1;
    }
    return kept;
  }

  std::string dir_, out_;
  SeededRandom random_;
  ManualClock clock_;
  std::unique_ptr<Vault> vault_;
};

TEST_F(ForgettingTest, EveryVersionThatARecordShapedGoesAndTheOneInUseIsToBeRebuilt) {
  Remember(out_);
  Append(out_, {1, 2}, 1);
  Append(out_, {1, 2, 3}, 2);
  Append(out_, {1, 2, 3, 4}, 3);
  ASSERT_TRUE(vault_->Forget({3}).ok());
  EXPECT_THAT(UnsettledNotice(*vault_, "V", out_).value(), HasSubstr("trained on 1 records"));
  EXPECT_THAT(UnsettledNotice(*vault_, "V", out_).value(), HasSubstr("vault forget --vault V"));

  const auto purged = PurgeAdapters(vault_.get(), &clock_, /*rebuild=*/true);
  ASSERT_TRUE(purged.ok()) << purged.status();
  ASSERT_EQ(purged->size(), 1u);
  EXPECT_THAT(purged->front().versions, ElementsAre(2, 3));
  EXPECT_TRUE(purged->front().was_in_use);
  EXPECT_FALSE(FileExists(out_));
  EXPECT_EQ(KeptVersions(out_), 1);
  EXPECT_THAT(vault_->Unsettled().value(), IsEmpty());
  EXPECT_TRUE(vault_->Adapters().value().front().rebuild);
  EXPECT_EQ(UnsettledNotice(*vault_, "V", out_).value(), "");
  EXPECT_THAT(PurgeAdapters(vault_.get(), &clock_, true).value(), IsEmpty());
}

TEST_F(ForgettingTest, AnAdapterThatNeverSawTheRecordStays) {
  Remember(out_);
  Append(out_, {1, 2}, 1);
  ASSERT_TRUE(vault_->Forget({5}).ok());
  EXPECT_EQ(UnsettledNotice(*vault_, "V", out_).value(), "");
  const auto purged = PurgeAdapters(vault_.get(), &clock_, true).value();
  ASSERT_EQ(purged.size(), 1u);
  EXPECT_THAT(purged.front().versions, IsEmpty());
  EXPECT_TRUE(FileExists(out_));
  EXPECT_FALSE(vault_->Adapters().value().front().rebuild);
}

TEST_F(ForgettingTest, ExpiredRecordsAreFollowedLikeForgottenOnes) {
  Remember(out_);
  Append(out_, {1, 2}, 1);
  SourceConsent consent;
  consent.retention_days = 3;
  ASSERT_TRUE(vault_->SetConsent("notes", consent).ok());
  clock_.Advance(absl::Hours(24 * 4));
  vault_.reset();
  vault_ = Open();
  EXPECT_THAT(UnsettledNotice(*vault_, "V", out_).value(), HasSubstr("trained on 2 records"));
  EXPECT_TRUE(PurgeAdapters(vault_.get(), &clock_, false).value().front().was_in_use);
  EXPECT_FALSE(FileExists(out_));
  EXPECT_FALSE(vault_->Adapters().value().front().rebuild);
}

TEST_F(ForgettingTest, ALostAdapterIsDroppedAndAHeldOneIsWaitedFor) {
  Remember(dir_ + "/deleted-by-hand.gguf");
  Remember(out_);
  Append(out_, {1}, 1);
  ASSERT_TRUE(vault_->Forget({1}).ok());
  {
    const auto held = History::Open(out_, &clock_);
    ASSERT_TRUE(held.ok());
    const auto status = PurgeAdapters(vault_.get(), &clock_, true).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_THAT(vault_->Unsettled().value(), ElementsAre(1));
  }
  const auto purged = PurgeAdapters(vault_.get(), &clock_, true);
  ASSERT_TRUE(purged.ok()) << purged.status();
  EXPECT_THAT(purged->back().versions, ElementsAre(1));
  EXPECT_EQ(vault_->Adapters().value().size(), 1u);
}

// Killed between the purge and its note: the second run knows that a rebuild is owed.
TEST_F(ForgettingTest, ASecondRunStillOwesTheRebuild) {
  Remember(out_);
  Append(out_, {1}, 1);
  ASSERT_TRUE(vault_->Forget({1}).ok());
  VaultAdapter owed = vault_->Adapters().value().front();
  owed.rebuild = true;
  ASSERT_TRUE(vault_->RememberAdapter(owed).ok());
  ASSERT_TRUE(History::Open(out_, &clock_)->PurgeRecords({1}).ok());

  const auto purged = PurgeAdapters(vault_.get(), &clock_, true);
  ASSERT_TRUE(purged.ok()) << purged.status();
  EXPECT_THAT(purged->front().versions, IsEmpty());
  EXPECT_TRUE(vault_->Adapters().value().front().rebuild);
  EXPECT_THAT(vault_->Unsettled().value(), IsEmpty());
}

TEST_F(ForgettingTest, WhatIsForgottenWhileItIsTrainedOnDoesNotStayInUse) {
  Remember(out_);
  Append(out_, {1, 2}, 1);
  EXPECT_TRUE(CheckStillKnown(vault_.get(), &clock_, out_, {1, 2}).ok());
  ASSERT_TRUE(vault_->Forget({2}).ok());
  EXPECT_EQ(CheckStillKnown(vault_.get(), &clock_, out_, {1, 2}).code(),
            absl::StatusCode::kAborted);
  EXPECT_FALSE(FileExists(out_));
  EXPECT_EQ(KeptVersions(out_), 0);
}

}  // namespace
}  // namespace lorikeet
