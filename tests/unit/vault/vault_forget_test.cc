// What forgetting leaves behind: nothing of the record in any file, and a note of who must follow.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "common/base/file.h"
#include "common/base/strings.h"
#include "device/vault/vault.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

class VaultForgetTest : public testing::Test {
 protected:
  VaultForgetTest()
      : dir_(MakeTempDir("vault-forget")),
        random_("vault-forget-test", 1),
        clock_(absl::FromUnixSeconds(1000000)) {}

  std::unique_ptr<Vault> Open() {
    auto vault = Vault::Open({.dir = dir_ + "/v", .create = true},
                             {.key_file = dir_ + "/key", .passphrase = {}}, &clock_, &random_);
    EXPECT_TRUE(vault.ok()) << vault.status();
    return std::move(*vault);
  }
  std::unique_ptr<Database> Raw() { return Database::Open(dir_ + "/v/vault.db", {}).value(); }

  // The sealed bytes and the tag of a record.
  std::pair<std::string, std::string> BytesOf(int64_t id) {
    const auto raw = Raw();
    auto query = raw->Prepare("SELECT sealed, tag FROM records WHERE id = ?").value();
    query.Bind(1, id);
    EXPECT_TRUE(query.Step().value());
    return {std::string(AsChars(query.Blob(0))), std::string(AsChars(query.Blob(1)))};
  }
  // Every byte of every file of the directory, as a thief would read them.
  std::string StolenBytes() const {
    std::string all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_ + "/v")) {
      if (entry.is_regular_file()) all += ReadFile(entry.path().string()).value();
    }
    return all;
  }
  static std::vector<int64_t> Ids(const std::vector<VaultDocument>& documents) {
    std::vector<int64_t> ids;
    for (const VaultDocument& document : documents) ids.push_back(document.id);
    return ids;
  }

  std::string dir_;
  SeededRandom random_;
  ManualClock clock_;
};

TEST_F(VaultForgetTest, NoPieceOfARecordStaysInAnyFile) {
  auto vault = Open();
  std::string text;  // over several pages, so that overflow pages are forgotten too
  for (int i = 0; i < 2000; ++i) text += "word" + std::to_string(i) + " ";
  for (int i = 0; i < 20; ++i) vault->Add("a", PrivateText("stays " + std::to_string(i))).value();
  const int64_t id = vault->Add("a", PrivateText(text)).value();
  for (int i = 20; i < 40; ++i) vault->Add("a", PrivateText("stays " + std::to_string(i))).value();
  const auto [sealed, tag] = BytesOf(id);
  constexpr size_t kPiece = 16;
  ASSERT_NE(StolenBytes().find(tag), std::string::npos);
  ASSERT_NE(StolenBytes().find(sealed.substr(sealed.size() / 2, kPiece)), std::string::npos);

  ASSERT_TRUE(vault->Forget({id}).ok());
  const std::string stolen = StolenBytes();
  EXPECT_EQ(stolen.find(tag), std::string::npos);
  for (size_t i = 0; i + kPiece <= sealed.size(); i += kPiece) {
    ASSERT_EQ(stolen.find(sealed.substr(i, kPiece)), std::string::npos) << "at byte " << i;
  }
  EXPECT_EQ(vault->Verify().value().records, 40);
}

TEST_F(VaultForgetTest, AReaderHoldsCopiesInTheJournalAndTheNextOpenRemovesThem) {
  auto vault = Open();
  const int64_t id = vault->Add("a", PrivateText("the heron stood by the lane")).value();
  vault->Add("a", PrivateText("stays")).value();
  const auto [sealed, tag] = BytesOf(id);
  const std::string piece = sealed.substr(0, 32);
  {
    const auto reader = Raw();
    auto reading = reader->Prepare("SELECT id FROM records").value();
    ASSERT_TRUE(reading.Step().value());  // a snapshot that keeps the journal
    const absl::Status status = vault->Forget({id});
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
    EXPECT_EQ(vault->Read(id).status().code(), absl::StatusCode::kNotFound);
    EXPECT_NE(StolenBytes().find(piece), std::string::npos);
  }
  vault.reset();
  vault = Open();
  EXPECT_EQ(StolenBytes().find(piece), std::string::npos);
  EXPECT_EQ(StolenBytes().find(tag), std::string::npos);
  EXPECT_EQ(vault->Verify().value().records, 1);
}

TEST_F(VaultForgetTest, RemembersAdaptersSealedAndEachPathOnce) {
  auto vault = Open();
  EXPECT_TRUE(vault->Adapters().value().empty());
  ASSERT_TRUE(vault->RememberAdapter({.path = "/somewhere/me.gguf", .model = "/m1"}).ok());
  ASSERT_TRUE(vault->RememberAdapter({.path = "/somewhere/too.gguf", .model = "/m1"}).ok());
  ASSERT_TRUE(vault
                  ->RememberAdapter({.path = "/somewhere/me.gguf",
                                     .model = "/m2",
                                     .catalog = "/c",
                                     .residual_rank = 4,
                                     .rebuild = true})
                  .ok());
  vault = Open();
  const auto adapters = vault->Adapters().value();
  ASSERT_EQ(adapters.size(), 2u);
  EXPECT_EQ(adapters[1].path, "/somewhere/me.gguf");
  EXPECT_EQ(adapters[1].model, "/m2");
  EXPECT_EQ(adapters[1].catalog, "/c");
  EXPECT_EQ(adapters[1].residual_rank, 4);
  EXPECT_TRUE(adapters[1].rebuild);
  EXPECT_EQ(StolenBytes().find("somewhere"), std::string::npos);
}

TEST_F(VaultForgetTest, ForgottenAndExpiredRecordsStayUnsettledUntilAdaptersFollowed) {
  auto vault = Open();
  vault->Add("a", PrivateText("nobody learned this")).value();
  ASSERT_TRUE(vault->Forget({1}).ok());
  EXPECT_TRUE(vault->Unsettled().value().empty());

  ASSERT_TRUE(vault->RememberAdapter({.path = "/me.gguf"}).ok());
  for (const char* text : {"two", "three", "four"}) vault->Add("a", PrivateText(text)).value();
  vault->Add("chat", PrivateText("five")).value();
  ASSERT_TRUE(vault->Forget({3, 2}).ok());
  SourceConsent consent;
  consent.retention_days = 7;
  ASSERT_TRUE(vault->SetConsent("chat", consent).ok());
  clock_.Advance(absl::Hours(24 * 8));
  vault = Open();
  EXPECT_EQ(vault->Unsettled().value(), (std::vector<int64_t>{2, 3, 5}));
  EXPECT_EQ(vault->Forget({99}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(vault->Unsettled().value().size(), 3u);

  ASSERT_TRUE(vault->Settle({2, 5}).ok());
  vault = Open();
  EXPECT_EQ(vault->Unsettled().value(), (std::vector<int64_t>{3}));
  EXPECT_EQ(vault->Adapters().value().size(), 1u);
  ASSERT_TRUE(vault->DropAdapter("/me.gguf").ok());
  EXPECT_TRUE(vault->Adapters().value().empty());
}

TEST_F(VaultForgetTest, LotsAreUniformAndNeverChange) {
  auto vault = Open();
  for (int i = 0; i < 400; ++i) vault->Add("a", PrivateText("entry " + std::to_string(i))).value();
  const auto before = vault->Records(Purpose::kTrain).value();
  int held_out = 0;
  for (const VaultDocument& document : before) {
    ASSERT_GE(document.lot, 0);
    ASSERT_LT(document.lot, 1);
    held_out += document.lot < 0.2 ? 1 : 0;
  }
  // Binomial(400, 0.2): 80 +- 8; seeded, so this says the same every time.
  EXPECT_NEAR(held_out, 80, 48);

  ASSERT_TRUE(vault->Forget({5, 17}).ok());
  vault->Add("a", PrivateText("one more")).value();
  vault = Open();
  const auto after = vault->Records(Purpose::kTrain).value();
  ASSERT_EQ(after.size(), 399u);
  for (const VaultDocument& document : after) {
    if (document.id > 400) continue;
    EXPECT_EQ(document.lot, before[static_cast<size_t>(document.id - 1)].lot);
  }
}

TEST_F(VaultForgetTest, RecordsAreThoseOfAPurposeInOrder) {
  auto vault = Open();
  vault->Add("a", PrivateText("one")).value();
  vault->Add("b", PrivateText("two")).value();
  vault->Add("a", PrivateText("three")).value();
  SourceConsent consent;
  consent.train = false;
  ASSERT_TRUE(vault->SetConsent("b", consent).ok());
  EXPECT_EQ(Ids(vault->Records(Purpose::kTrain).value()), (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(Ids(vault->Records(Purpose::kRetrieve).value()), (std::vector<int64_t>{1, 2, 3}));
}

}  // namespace
}  // namespace lorikeet
