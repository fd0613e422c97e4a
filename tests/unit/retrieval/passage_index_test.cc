#include "device/retrieval/passage_index.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

std::unique_ptr<PassageIndex> IndexOf(const std::vector<std::string>& texts) {
  auto index = PassageIndex::Create();
  EXPECT_TRUE(index.ok()) << index.status();
  int64_t id = 1;
  for (const std::string& text : texts) EXPECT_TRUE((*index)->Add(id++, PrivateText(text)).ok());
  return std::move(*index);
}

std::vector<int64_t> Records(PassageIndex& index, std::string_view query, int limit = 5) {
  const auto hits = index.Find(query, limit);
  EXPECT_TRUE(hits.ok()) << hits.status();
  std::vector<int64_t> records;
  if (!hits.ok()) return records;
  for (const PassageHit& hit : *hits) records.push_back(hit.record);
  return records;
}

TEST(PassageIndexTest, FindsWordStemsAndIgnoresCommonWords) {
  auto index = IndexOf({"I baked cookies with my sister.", "What do you do for a living?",
                        "My dog is called Baxter."});
  EXPECT_EQ(Records(*index, "What do you like to bake?"), (std::vector<int64_t>{1}));
  EXPECT_EQ(Records(*index, "And the name of your DOG?"), (std::vector<int64_t>{3}));
  // Only common words: better than nothing.
  EXPECT_EQ(Records(*index, "what do you do"), (std::vector<int64_t>{2}));
  EXPECT_TRUE(Records(*index, "zeppelin").empty());
  EXPECT_TRUE(Records(*index, "").empty());
  EXPECT_TRUE(Records(*index, "dog", 0).empty());
}

TEST(PassageIndexTest, SaysNothingTwiceNorWhatTheQuestionSays) {
  auto index = IndexOf({"The heron stood by the lane.", "the HERON stood, by the lane", "heron",
                        "A heron flew over the flooded meadow."});
  const auto records = Records(*index, "tell me about the heron");
  // "heron" alone is in the question; 1 and 2 say the same.
  EXPECT_EQ(records.size(), 2u);
  EXPECT_TRUE(
      Records(*index, "The heron stood by the lane. A heron flew over the flooded meadow").empty());
}

TEST(PassageIndexTest, AnyBytesAreAQuery) {
  auto index = IndexOf({"quote \" heron", "NEAR the lane AND NOT heron*"});
  EXPECT_EQ(Records(*index, "heron\" OR NEAR(* AND col:x ^ -{").size(), 2u);
  Rng rng(7);
  for (int round = 0; round < 2000; ++round) {
    std::string query;
    const size_t size = rng.Below(40);
    for (size_t i = 0; i < size; ++i) query.push_back(static_cast<char>(rng.Below(256)));
    EXPECT_TRUE(index->Find(query, 3).ok()) << round;
  }
  EXPECT_TRUE(index->Find(std::string(1 << 20, '"'), 3).ok());
  std::string words;
  for (int i = 0; i < 50000; ++i) absl::StrAppend(&words, "w", i, " ");
  EXPECT_EQ(Records(*index, words + "heron").size(), 2u) << "the end of a long prompt counts";
}

TEST(PassageIndexTest, LongRecordsAreCutAtParagraphsAndKeepEveryWord) {
  std::string text;
  for (int i = 0; i < 40; ++i) {
    absl::StrAppend(&text, "Paragraph number", i, " speaks of thing", i, ".\n\n");
  }
  const std::vector<std::string_view> passages = CutPassages(text, 400);
  EXPECT_GT(passages.size(), 3u);
  std::string joined;
  for (const std::string_view passage : passages) {
    EXPECT_LE(passage.size(), 400u);
    EXPECT_TRUE(passage.starts_with("Paragraph") && passage.ends_with(".")) << passage;
    absl::StrAppend(&joined, std::string(passage), "\n\n");
  }
  EXPECT_EQ(joined, text);
  EXPECT_TRUE(CutPassages(" \n\n \n", 400).empty());
  EXPECT_TRUE(CutPassages("", 400).empty());
  for (const std::string_view passage : CutPassages(std::string(5000, 'x'), 400)) {
    EXPECT_LE(passage.size(), 400u);
  }
}

class PassagesOfVaultTest : public testing::Test {
 protected:
  PassagesOfVaultTest() : clock_(absl::FromUnixSeconds(1000000)), random_("passages", 1) {}

  std::unique_ptr<Vault> OpenVault() {
    auto vault = Vault::Open({.dir = dir_ + "/v", .create = true},
                             {.key_file = dir_ + "/key", .passphrase = {}}, &clock_, &random_);
    EXPECT_TRUE(vault.ok()) << vault.status();
    return std::move(*vault);
  }

  // Files below `folder` that hold `word`.
  static std::vector<std::string> FilesWith(const std::string& folder, const std::string& word) {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(
             folder, std::filesystem::directory_options::skip_permission_denied)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      std::stringstream bytes;
      bytes << file.rdbuf();
      if (bytes.str().find(word) != std::string::npos) found.push_back(entry.path().string());
    }
    return found;
  }

  const std::string dir_ = MakeTempDir("passages");
  ManualClock clock_;
  SeededRandom random_;
};

TEST_F(PassagesOfVaultTest, ConsentAndRecordIdsAreKept) {
  auto vault = OpenVault();
  ASSERT_TRUE(vault->Add("secret", PrivateText("the heron nests in the attic")).ok());
  const int64_t shown = vault->Add("notes", PrivateText("the heron fishes at dawn")).value();
  SourceConsent consent;
  consent.Set(Purpose::kRetrieve, false);
  ASSERT_TRUE(vault->SetConsent("secret", consent).ok());
  auto index = PassageIndex::OfVault(*vault).value();
  EXPECT_EQ(index->passage_count(), 1u);
  EXPECT_EQ(Records(*index, "heron"), (std::vector<int64_t>{shown}));
}

TEST_F(PassagesOfVaultTest, OfABigVaultTheNewestIsIndexed) {
  auto vault = OpenVault();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(vault->Add("notes", PrivateText(absl::StrCat("heron number ", i))).ok());
  }
  auto index = PassageIndex::OfVault(*vault, {.most_bytes = 5 * 14}).value();
  EXPECT_EQ(index->passage_count(), 5u);
  EXPECT_EQ(index->left_out_bytes(), 5u * 14);
  EXPECT_TRUE(Records(*index, "number 2 4").size() > 0);
  for (const int64_t record : Records(*index, "heron")) EXPECT_GT(record, 5);
}

// What a thief of the disk could read while the index is in use: big searches with large sorts
// included, for which SQLite would make temporary files.
TEST_F(PassagesOfVaultTest, NoWordReachesTheDisk) {
  const std::string word = absl::StrCat("xylocanthropus", random_.Uint64());
  const std::string temporary = dir_ + "/tmp";
  ASSERT_TRUE(MakeDirs(temporary).ok());
  setenv("TMPDIR", temporary.c_str(), 1);
  setenv("SQLITE_TMPDIR", temporary.c_str(), 1);
  auto vault = OpenVault();
  for (int i = 0; i < 1200; ++i) {
    std::string text = absl::StrCat(word, " and the heron number ", i, ".");
    for (int j = 0; j < 20; ++j) absl::StrAppend(&text, " filling", i, "x", j);
    ASSERT_TRUE(vault->Add("notes", PrivateText(std::move(text))).ok());
  }
  const auto look = [&] {
    EXPECT_TRUE(FilesWith(dir_, word).empty()) << FilesWith(dir_, word)[0];
    EXPECT_TRUE(FilesWith(dir_, "heron").empty());
    EXPECT_TRUE(std::filesystem::is_empty(temporary));
  };
  auto index = PassageIndex::OfVault(*vault).value();
  look();
  EXPECT_EQ(Records(*index, "heron", 1000).size(), 1000u);
  look();
  EXPECT_EQ(vault->Search(word, 1200, Purpose::kRetrieve).value().size(), 1200u);
  look();
}

}  // namespace
}  // namespace lorikeet
