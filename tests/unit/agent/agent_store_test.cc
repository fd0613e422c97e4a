// What survives a restart, for both stores.
#include "device/agent/agent_store.h"

#include "common/base/file.h"
#include "tests/support/shared_data.h"
#include "tests/unit/agent/agent_fixture.h"

namespace lorikeet {
namespace {

class AgentStoreTest : public testing::TestWithParam<bool> {
 protected:
  AgentStoreTest() {
    if (GetParam()) {
      store_ = DirectoryAgentStore::Open(dir_).value();
    } else {
      store_ = std::make_unique<MemoryAgentStore>();
    }
  }
  const std::string dir_ = MakeTempDir("agent-store");
  std::unique_ptr<AgentStore> store_;
  const TestRelease release_{.content = std::string(3000, 'r')};
};

TEST_P(AgentStoreTest, KeepsTheState) {
  EXPECT_EQ(store_->Load()->rounds_done, 0) << "defaults at first";
  AgentState state;
  state.base = InstalledRelease{3, Blake2b(AsBytes("base")), kTestBase};
  state.catalog = InstalledRelease{9, Blake2b(AsBytes("catalog")), kTestBase};
  state.personal = PersonalSummary{.catalog_version = 9,
                                   .chosen = "brief+formal",
                                   .contributes_to = "brief",
                                   .reason = "a \"quoted\" reason",
                                   .verdict = "kept",
                                   .loss_base = 3.5,
                                   .loss_persona = 3.25,
                                   .loss_personalized = 3,
                                   .kept = true,
                                   .at = absl::FromUnixMillis(1700000000123)};
  state.joined = {Blake2b(AsBytes("one")), Blake2b(AsBytes("two"))};
  state.rounds_done = 2;
  state.last_round_catalog = 8;
  state.ledger.terms.max_total_epsilon = 1.0 / 3;
  ASSERT_TRUE(store_->Save(state).ok());
  const AgentState back = store_->Load().value();
  EXPECT_EQ(back.base->file_hash, state.base->file_hash);
  EXPECT_EQ(back.catalog->version, 9u);
  EXPECT_EQ(back.catalog->base_fingerprint, kTestBase);
  EXPECT_EQ(back.personal->reason, state.personal->reason);
  EXPECT_EQ(back.personal->contributes_to, "brief");
  EXPECT_EQ(back.personal->loss_persona, 3.25);
  EXPECT_TRUE(back.personal->kept);
  EXPECT_EQ(back.personal->at, state.personal->at);
  EXPECT_EQ(back.joined, state.joined);
  EXPECT_EQ(back.rounds_done, 2);
  EXPECT_EQ(back.last_round_catalog, 8u);
  EXPECT_EQ(back.ledger.terms.max_total_epsilon, 1.0 / 3) << "to the last bit";
}

TEST_P(AgentStoreTest, AssemblesVerifiesAndDeletesFiles) {
  const ManifestFile file = release_.File();
  using Chunks = std::vector<bool>;
  const auto chunk = [&](size_t i) { return release_.content.substr(i * 1024, 1024); };
  ASSERT_EQ(file.chunks.size(), 3u);
  EXPECT_EQ(store_->ChunksPresent(file).value(), Chunks({false, false, false}));
  ASSERT_TRUE(store_->WriteChunk(file, 2, chunk(2)).ok()) << "in any order";
  ASSERT_TRUE(store_->WriteChunk(file, 0, chunk(0)).ok());
  EXPECT_EQ(store_->ChunksPresent(file).value(), Chunks({true, false, true}));
  EXPECT_FALSE(store_->HasFile(file.hash));
  ASSERT_TRUE(store_->WriteChunk(file, 1, chunk(1)).ok());
  ASSERT_TRUE(store_->FinishFile(file).ok());
  EXPECT_TRUE(store_->HasFile(file.hash));
  EXPECT_EQ(store_->FileContent(file.hash).value(), release_.content);
  EXPECT_EQ(store_->ChunksPresent(file).value(), Chunks({false, false, false}));
  ASSERT_TRUE(store_->KeepOnly({file.hash}).ok());
  EXPECT_TRUE(store_->HasFile(file.hash));
  ASSERT_TRUE(store_->KeepOnly({}).ok());
  EXPECT_FALSE(store_->HasFile(file.hash));
}

TEST_P(AgentStoreTest, WhatIsNotTheFileIsAskedForAgain) {
  const ManifestFile file = release_.File();
  const auto none = std::vector<bool>(3, false);
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(store_->WriteChunk(file, i, std::string(file.ChunkLength(i), 'x')).ok());
  }
  EXPECT_TRUE(absl::IsDataLoss(store_->FinishFile(file)));
  EXPECT_FALSE(store_->HasFile(file.hash));
  EXPECT_EQ(store_->ChunksPresent(file).value(), none) << "starts afresh";
  EXPECT_FALSE(store_->FinishFile(file).ok());
}

TEST_P(AgentStoreTest, DownloadsOfOtherFilesAreDropped) {
  TestRelease other = release_;
  other.content += "more";
  const ManifestFile file = release_.File(), other_file = other.File();
  ASSERT_TRUE(store_->WriteChunk(file, 0, release_.content.substr(0, 1024)).ok());
  ASSERT_TRUE(store_->WriteChunk(other_file, 0, other.content.substr(0, 1024)).ok());
  ASSERT_TRUE(store_->KeepOnly({}).ok()) << "only what is finished";
  ASSERT_TRUE(store_->KeepOnlyDownloads({file.hash}).ok());
  EXPECT_TRUE(store_->ChunksPresent(file).value()[0]);
  EXPECT_FALSE(store_->ChunksPresent(other_file).value()[0]);
}

INSTANTIATE_TEST_SUITE_P(Stores, AgentStoreTest, testing::Bool(),
                         [](const auto& one) { return one.param ? "Directory" : "Memory"; });

TEST(DirectoryAgentStoreTest, AStateThatIsNotOneIsDataLoss) {
  const std::string dir = MakeTempDir("agent-state");
  const auto store = DirectoryAgentStore::Open(dir).value();
  AgentState state;
  state.catalog = InstalledRelease{1, {}, kTestBase};
  ASSERT_TRUE(store->Save(state).ok());
  const std::string good = ReadFile(dir + "/state.json").value();
  std::string other_format = good;
  other_format.replace(other_format.find("\"format\": 2"), 11, "\"format\": 9");
  for (const std::string& bad :
       {std::string(), good.substr(0, good.size() / 2), std::string("[]"), other_format}) {
    ASSERT_TRUE(WriteFileAtomic(dir + "/state.json", bad).ok());
    EXPECT_TRUE(absl::IsDataLoss(store->Load().status())) << bad;
    EXPECT_THAT(std::string(store->Load().status().message()), testing::HasSubstr("state.json"));
  }
}

// What a program before the ledger had entries has left behind still counts.
TEST(DirectoryAgentStoreTest, AStateOfTheFirstFormatIsCarriedOver) {
  const std::string dir = MakeTempDir("agent-old-state");
  const auto store = DirectoryAgentStore::Open(dir).value();
  const std::string session(64, 'a');
  const auto write = [&](const std::string& spent) {
    return WriteFileAtomic(dir + "/state.json", R"({"format": 1, "joined": [")" + session +
                                                    "\", \"" + std::string(64, 'b') +
                                                    R"("], "rounds_done": 1,
                               "last_round_catalog": 4, "epsilon_spent": )" +
                                                    spent + "}");
  };
  ASSERT_TRUE(write("2.5").ok());
  const AgentState state = store->Load().value();
  EXPECT_EQ(state.joined.size(), 2u);
  ASSERT_EQ(state.ledger.entries.size(), 1u);
  const LedgerTotal total = TotalOf(state.ledger, 1e-5).value();
  EXPECT_EQ(total.epsilon, 2.5);
  EXPECT_NEAR(total.delta, 1e-5 + 2 * 1e-5, 1e-18) << "two rounds of the largest delta";
  ASSERT_TRUE(store->Save(state).ok());
  EXPECT_EQ(TotalOf(store->Load()->ledger, 1e-5)->epsilon, 2.5);
  ASSERT_TRUE(write("0").ok());
  EXPECT_TRUE(store->Load()->ledger.entries.empty());
}

}  // namespace
}  // namespace lorikeet
