#include "device/agent/device_work.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/strings.h"
#include "device/personalization/forgetting.h"
#include "device/personalization/history.h"
#include "device/personalization/incremental.h"
#include "tests/support/shared_data.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

// A device with a base, a catalog and forty entries in its vault.
class DeviceWorkTest : public ::testing::Test {
 protected:
  DeviceWorkTest()
      : dir_(MakeTempDir("device-work")),
        adapter_(dir_ + "/adapter.gguf"),
        random_("device-work-test", 1),
        store_(DirectoryAgentStore::Open(dir_).value()) {
    action_.catalog_file = Blake2b(AsBytes(SerializeCatalog(TwoPersonas())));
    const std::string path = store_->FilePath(action_.catalog_file);
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    EXPECT_TRUE(WriteCatalog(TwoPersonas(), path).ok());
    for (const std::string& text : ShoutingTexts(60)) {
      OpenVault()->Add("notes", PrivateText(text)).value();
    }
  }
  std::unique_ptr<Vault> OpenVault() {
    return Vault::Open({.dir = dir_ + "/vault", .create = true},
                       {.key_file = dir_ + "/key", .passphrase = {}}, &clock_, &random_)
        .value();
  }
  DeviceWork Work() {
    PersonalizeOptions options;
    options.rank = 4;
    options.train = DefaultPersonalTraining();
    return DeviceWork({.model_path = LoadTinyModel()->file().path(),
                       .adapter_path = adapter_,
                       .personalize = options,
                       .vault_dir = dir_ + "/vault",
                       .open_vault = [this] { return OpenVault(); },
                       .on_personalized = {},
                       .progress = {}},
                      store_.get(), TestPool(), &clock_, &random_);
  }

  std::string dir_, adapter_;
  SeededRandom random_;
  SystemClock clock_;
  std::unique_ptr<DirectoryAgentStore> store_;
  PersonalizeAction action_;
};

TEST_F(DeviceWorkTest, TrainsOnRecordsThatDoNotJudgeAndSaysWhere) {
  const auto summary = Work().Personalize(action_);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->chosen, "shouting");
  const std::vector<HistoryEntry> entries = History::Read(adapter_).value();
  ASSERT_EQ(entries.size(), 1u);
  const OwnerText text = HoldOutRecords(OpenVault()->Records(Purpose::kTrain).value());
  EXPECT_FALSE(text.judge.empty());
  EXPECT_EQ(entries[0].records, text.record_ids);
  EXPECT_LT(text.record_ids.size(), 60u);
  EXPECT_EQ(entries[0].vault_dir, dir_ + "/vault");
  EXPECT_EQ(entries[0].catalog_path, store_->FilePath(action_.catalog_file));
}

TEST_F(DeviceWorkTest, ForgettingReachesItsAdapter) {
  ASSERT_TRUE(Work().Personalize(action_).ok());
  ASSERT_TRUE(FileExists(adapter_));
  const auto vault = OpenVault();
  const auto adapters = vault->Adapters().value();
  ASSERT_EQ(adapters.size(), 1u);
  EXPECT_EQ(adapters[0].path, adapter_);
  EXPECT_EQ(adapters[0].model, LoadTinyModel()->file().path());
  EXPECT_EQ(adapters[0].catalog, store_->FilePath(action_.catalog_file));
  EXPECT_EQ(adapters[0].residual_rank, 4);
  const int64_t record = History::Read(adapter_).value()[0].records.front();
  ASSERT_TRUE(vault->Forget({record}).ok());
  const auto purged = PurgeAdapters(vault.get(), &clock_, /*rebuild=*/true);
  ASSERT_TRUE(purged.ok()) << purged.status();
  ASSERT_EQ(purged->size(), 1u);
  EXPECT_TRUE(purged->front().was_in_use);
  EXPECT_FALSE(FileExists(adapter_));
  EXPECT_TRUE(vault->Adapters().value()[0].rebuild);
}

TEST_F(DeviceWorkTest, WhatWasForgottenInTheMeantimeDoesNotServeOn) {
  ASSERT_TRUE(Work().Personalize(action_).ok());
  const int64_t record = History::Read(adapter_).value()[0].records.front();
  ASSERT_TRUE(OpenVault()->Forget({record}).ok());
  ASSERT_TRUE(Work().Personalize(action_).ok());
  const std::vector<HistoryEntry> entries = History::Read(adapter_).value();
  EXPECT_TRUE(entries.front().adapter_file.empty());
  EXPECT_FALSE(std::ranges::binary_search(entries.back().records, record));
  EXPECT_TRUE(OpenVault()->Unsettled().value().empty());
}

}  // namespace
}  // namespace lorikeet
