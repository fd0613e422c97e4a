#include "device/vault/vault.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "common/base/file.h"
#include "common/base/strings.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

constexpr std::string_view kCanary = "the heron stood by the flooded lane";

class VaultTest : public testing::Test {
 protected:
  VaultTest()
      : dir_(MakeTempDir("vault")),
        random_("vault-test", 1),
        clock_(absl::FromUnixSeconds(1000000)) {}

  VaultSecret KeyFile() { return {.key_file = dir_ + "/key", .passphrase = {}}; }
  static VaultSecret Passphrase(std::string_view word) {
    return {.key_file = "", .passphrase = SecretBytes::CopyOf(AsBytes(word))};
  }
  absl::StatusOr<std::unique_ptr<Vault>> Open(const VaultSecret& secret, bool create = true) {
    return Vault::Open({.dir = dir_ + "/v", .create = create}, secret, &clock_, &random_);
  }
  std::unique_ptr<Vault> OpenOrDie() {
    auto vault = Open(KeyFile());
    EXPECT_TRUE(vault.ok()) << vault.status();
    return std::move(*vault);
  }
  static std::string Words(const PrivateText& text) {
    return std::string(text.Open(TextAccess("test")));
  }
  // Every byte of the vault's files, as a thief would read them.
  std::string StolenBytes() const {
    std::string all;
    for (const auto& entry : std::filesystem::directory_iterator(dir_ + "/v")) {
      all += ReadFile(entry.path().string()).value();
    }
    return all;
  }

  std::string dir_;
  SeededRandom random_;
  ManualClock clock_;
};

TEST_F(VaultTest, KeepsTextAcrossReopening) {
  const int64_t id = OpenOrDie()->Add("notes", PrivateText(std::string(kCanary))).value();
  auto vault = OpenOrDie();
  EXPECT_EQ(Words(vault->Read(id).value()), kCanary);
  const auto records = vault->List().value();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].source, "notes");
  EXPECT_EQ(records[0].size_bytes, kCanary.size());
  EXPECT_EQ(records[0].added, clock_.Now());
}

TEST_F(VaultTest, StolenFileShowsNoWordNorSourceName) {
  OpenOrDie()->Add("diary-of-mine", PrivateText(std::string(kCanary))).value();
  const std::string stolen = StolenBytes();
  for (const std::string_view word : {"heron", "flooded", "diary-of-mine"}) {
    EXPECT_EQ(stolen.find(word), std::string::npos) << word;
  }
}

TEST_F(VaultTest, WrongPassphraseAndWrongKindOfSecretAreRefused) {
  ASSERT_TRUE(Open(Passphrase("right")).ok());
  EXPECT_TRUE(Open(Passphrase("right"), false).ok());
  EXPECT_EQ(Open(Passphrase("wrong")).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(Open(KeyFile()).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Open(VaultSecret{}).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(VaultTest, MissingVaultIsNotFoundAndNotMade) {
  EXPECT_EQ(Open(KeyFile(), /*create=*/false).status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(FileExists(dir_ + "/v/vault.db"));
}

TEST_F(VaultTest, KeyFileIsReadableByItsOwnerOnly) {
  OpenOrDie();
  struct stat info;
  ASSERT_EQ(stat((dir_ + "/key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(VaultTest, SameTextIsStoredOnce) {
  auto vault = OpenOrDie();
  const int64_t id = vault->Add("a", PrivateText("same")).value();
  EXPECT_EQ(vault->Add("a", PrivateText("same")).value(), id);
  EXPECT_NE(vault->Add("b", PrivateText("same")).value(), id);
  EXPECT_EQ(vault->Verify().value().records, 2);
}

TEST_F(VaultTest, RejectsEmptyAndInvalidText) {
  auto vault = OpenOrDie();
  EXPECT_EQ(vault->Add("a", PrivateText("")).status().code(), absl::StatusCode::kInvalidArgument);
  const auto status = vault->Add("a", PrivateText("ab\xff")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(Message(status).find("position 2"), std::string::npos) << status;
  EXPECT_FALSE(vault->Add("", PrivateText("x")).ok());
}

TEST_F(VaultTest, EveryFlippedByteOfARecordIsDataLoss) {
  auto vault = OpenOrDie();
  const int64_t id = vault->Add("a", PrivateText(std::string(kCanary))).value();
  auto database = Database::Open(dir_ + "/v/vault.db", {}).value();
  auto read = database->Prepare("SELECT sealed FROM records").value();
  ASSERT_TRUE(read.Step().value());
  const std::vector<uint8_t> sealed(read.Blob(0).begin(), read.Blob(0).end());
  read.Reset();
  for (size_t i = 0; i < sealed.size(); ++i) {
    auto flipped = sealed;
    flipped[i] ^= 1 << (i % 8);
    ASSERT_TRUE(
        database->Prepare("UPDATE records SET sealed = ?").value().BindBlob(1, flipped).Run().ok());
    EXPECT_EQ(vault->Read(id).status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(vault->Verify().status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST_F(VaultTest, VerifyNoticesARemovedRecord) {
  auto vault = OpenOrDie();
  vault->Add("a", PrivateText("one")).value();
  vault->Add("a", PrivateText("two")).value();
  ASSERT_TRUE(vault->Verify().ok());
  auto database = Database::Open(dir_ + "/v/vault.db", {}).value();
  ASSERT_TRUE(database->Execute("DELETE FROM records WHERE id = 1").ok());
  EXPECT_EQ(vault->Verify().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(VaultTest, SwappedRecordsAreDataLoss) {
  auto vault = OpenOrDie();
  vault->Add("a", PrivateText("one")).value();
  vault->Add("a", PrivateText("two")).value();
  auto database = Database::Open(dir_ + "/v/vault.db", {}).value();
  ASSERT_TRUE(
      database
          ->Execute(
              "CREATE TEMP TABLE t AS SELECT sealed FROM records WHERE id = 1;"
              "UPDATE records SET sealed = (SELECT sealed FROM records WHERE id = 2) WHERE id = 1;"
              "UPDATE records SET sealed = (SELECT sealed FROM t) WHERE id = 2;")
          .ok());
  EXPECT_EQ(vault->Read(1).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(VaultTest, ConsentDecidesWhatLeaves) {
  auto vault = OpenOrDie();
  vault->Add("notes", PrivateText("mine")).value();
  EXPECT_EQ(vault->Documents(Purpose::kTrain).value().size(), 1u);
  EXPECT_EQ(vault->Documents(Purpose::kFederate).value().size(), 0u);  // not without being asked
  ASSERT_TRUE(
      vault
          ->SetConsent("notes",
                       {.train = false, .federate = true, .retrieve = false, .retention_days = {}})
          .ok());
  vault = OpenOrDie();
  EXPECT_EQ(vault->Documents(Purpose::kTrain).value().size(), 0u);
  EXPECT_EQ(vault->Documents(Purpose::kFederate).value().size(), 1u);
  EXPECT_EQ(vault->Search("mine", 5, Purpose::kRetrieve).value().size(), 0u);
}

TEST_F(VaultTest, RetentionDeletesOldRecords) {
  auto vault = OpenOrDie();
  vault->Add("chat", PrivateText("old")).value();
  ASSERT_TRUE(
      vault
          ->SetConsent("chat",
                       {.train = true, .federate = false, .retrieve = true, .retention_days = 7})
          .ok());
  clock_.Advance(absl::Hours(24 * 6));
  vault->Add("chat", PrivateText("new")).value();
  EXPECT_EQ(OpenOrDie()->List().value().size(), 2u);
  clock_.Advance(absl::Hours(24 * 2));
  const auto records = OpenOrDie()->List().value();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].size_bytes, 3u);
  EXPECT_EQ(records[0].id, 2);
}

TEST_F(VaultTest, SearchRanksAndIgnoresOperators) {
  auto vault = OpenOrDie();
  vault->Add("a", PrivateText("herons nest in the reeds, a heron every spring")).value();
  vault->Add("a", PrivateText("one heron passed today over the very long road to the market town"))
      .value();
  vault->Add("a", PrivateText("nothing of note")).value();
  const auto hits = vault->Search("heron\" OR NEAR(*", 10, Purpose::kRetrieve).value();
  ASSERT_EQ(hits.size(), 2u);
  EXPECT_EQ(hits[0].record.id, 1);
  EXPECT_GT(hits[0].score, hits[1].score);
  EXPECT_FALSE(vault->Search("?!", 10, Purpose::kRetrieve).ok());
}

TEST_F(VaultTest, ForgetLeavesNothingBehindAndIsAllOrNothing) {
  auto vault = OpenOrDie();
  const int64_t id = vault->Add("a", PrivateText(std::string(kCanary))).value();
  vault->Add("a", PrivateText("stays")).value();
  auto database = Database::Open(dir_ + "/v/vault.db", {}).value();
  auto read = database->Prepare("SELECT sealed FROM records WHERE id = 1").value();
  ASSERT_TRUE(read.Step().value());
  const std::string sealed(AsChars(read.Blob(0)));
  read.Reset();
  ASSERT_NE(StolenBytes().find(sealed.substr(0, 24)), std::string::npos);
  EXPECT_EQ(vault->Forget({id, 99}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(vault->List().value().size(), 2u);
  ASSERT_TRUE(vault->Forget({id}).ok());
  EXPECT_EQ(vault->Verify().value().records, 1);
  EXPECT_EQ(StolenBytes().find(sealed.substr(0, 24)), std::string::npos);
  EXPECT_EQ(vault->Read(id).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(VaultTest, AFileThatIsNoDatabaseIsDataLossAndLeftAlone) {
  ASSERT_TRUE(MakeDirs(dir_ + "/v").ok());
  const std::string garbage(4096, 'x');
  ASSERT_TRUE(WriteFileAtomic(dir_ + "/v/vault.db", garbage).ok());
  EXPECT_EQ(Open(KeyFile()).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadFile(dir_ + "/v/vault.db").value(), garbage);
}

}  // namespace
}  // namespace lorikeet
