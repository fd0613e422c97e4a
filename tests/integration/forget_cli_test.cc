// New text, drift and forgetting as a shell sees them: personalize goes on from the last adapter,
// vault forget deletes and rebuilds, kill -9 in the middle, records that expire.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "common/base/file.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

// Entries of one voice, `first` to `last`, all different.
std::string Voice(const std::array<const char*, 3>& words, int first, int last) {
  std::string text;
  for (int i = first; i < last; ++i) {
    for (int slot = 0, rest = i; slot < 8; ++slot, rest = rest / 3 + (slot == 3 ? i : 0)) {
      text += std::string(words[static_cast<size_t>(rest % 3)]) + " ";
    }
    text += "\n\n";
  }
  return text;
}
std::string Shouting(int first, int last) { return Voice({"ZAP!", "WOW!", "OH"}, first, last); }
std::string Quiet(int first, int last) { return Voice({"nine,", "minus", "one;"}, first, last); }

CommandOutcome Lorikeet(const std::string& arguments) {
  return RunCommand(LORIKEET_BIN_DIR "/lorikeet " + arguments);
}
std::string Must(const std::string& arguments) {
  const CommandOutcome outcome = Lorikeet(arguments);
  EXPECT_EQ(outcome.code, 0) << arguments << ": " << outcome.err;
  return outcome.out;
}
json Json(const std::string& arguments) {
  return json::parse(Must(arguments + " --json"), nullptr, false);
}

class ForgetCli : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    shared_ = MakeTempDir("forget-cli");
    fs::copy_file(WriteTinyModel(), Shared("m.gguf"));
    ASSERT_TRUE(WriteFileAtomic(Shared("public.txt"), Shouting(0, 20) + Quiet(0, 20)).ok());
    ASSERT_TRUE(WriteFileAtomic(Shared("shouting.txt"), Shouting(0, 20)).ok());
    ASSERT_TRUE(WriteFileAtomic(Shared("quiet.txt"), Quiet(0, 20)).ok());
    const std::string catalog = " --threads 1 --model " + Shared("m.gguf");
    Must("persona init --rank 4 --data " + Shared("public.txt") + " --out " + Shared("c.gguf") +
         catalog);
    for (const std::string id : {"shouting", "quiet"}) {
      Must("persona train --epochs 2 --id " + id + " --data " + Shared(id + ".txt") +
           " --catalog " + Shared("c.gguf") + catalog);
    }
  }
  static std::string Shared(const std::string& name) { return shared_ + "/" + name; }

  void Add(const std::string& text, const std::string& source) {
    ASSERT_TRUE(WriteFileAtomic(dir_ + "/in.txt", text).ok());
    Must("vault add " + dir_ + "/in.txt --source " + source + vault_);
  }
  std::string Personalize() const {
    return "personalize --threads 1 --rank 2 --model " + Shared("m.gguf") + " --catalog " +
           Shared("c.gguf") + " --out " + out_ + vault_;
  }
  std::string Bytes() const { return ReadFile(out_).value(); }

  inline static std::string shared_;
  const std::string dir_ = MakeTempDir("forget-cli");
  const std::string out_ = dir_ + "/me.gguf";
  const std::string vault_ = " --vault " + dir_ + "/vault";
};

TEST_F(ForgetCli, NewTextIsLearnedFromTheLastAdapterAndDriftIsSaid) {
  Add(Shouting(20, 81), "diary");
  const json first = Json(Personalize());
  ASSERT_EQ(first["in_use"], 1) << first["verdict"];
  EXPECT_EQ(Json(Personalize())["outcome"], "nothing new");

  Add(Quiet(20, 50), "diary");
  const json second = Json(Personalize());
  EXPECT_EQ(second["outcome"], "kept") << second["verdict"];
  EXPECT_EQ(second["in_use"], 2);
  EXPECT_LT(second["new"]["after"], second["new"]["before"]);
  EXPECT_GT(second["replay_tokens"], 0);
  EXPECT_TRUE(second["drift"]["noticed"]) << second["drift"];
  EXPECT_EQ(second["drift"]["closest"], "quiet");
  const std::string status = Must("personalize --status --out " + out_);
  EXPECT_THAT(status, HasSubstr("incremental"));
  EXPECT_THAT(status, HasSubstr("closest to quiet"));
  // The offer.
  EXPECT_TRUE(Json(Personalize() + " --reselect").contains("ranked"));
}

TEST_F(ForgetCli, ForgettingDeletesEveryVersionAndRebuilds) {
  Add(Shouting(20, 81), "diary");
  Add(Quiet(20, 50), "work");
  ASSERT_EQ(Json(Personalize())["in_use"], 1);
  const std::string before = Bytes();

  const json forgotten = Json("vault forget --source work --threads 1" + vault_);
  EXPECT_EQ(forgotten["forgotten"].size(), 30u);
  ASSERT_EQ(forgotten["adapters"].size(), 1u);
  EXPECT_EQ(forgotten["adapters"][0]["versions_deleted"], json::array({1}));
  ASSERT_EQ(forgotten["rebuilt"].size(), 1u);
  EXPECT_EQ(forgotten["rebuilt"][0]["rebuilt"], true) << forgotten["rebuilt"];
  EXPECT_NE(Bytes(), before);
  EXPECT_FALSE(FileExists(out_ + ".history/001.gguf"));
  EXPECT_THAT(Must("personalize --status --out " + out_), HasSubstr("rebuilt"));

  // The same as if the text had never been there: another vault draws other lots, so not the bytes,
  // but a second forgetting finds nothing to do.
  EXPECT_THAT(Must("vault forget" + vault_), HasSubstr("nothing left to do"));
  const CommandOutcome unknown = Lorikeet("vault forget --source nobody" + vault_);
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("no record of source 'nobody'"));
  EXPECT_EQ(Lorikeet("vault forget --all-before soon" + vault_).code, 2);
}

TEST_F(ForgetCli, WithoutARebuildTheAdapterIsGone) {
  Add(Shouting(20, 81), "diary");
  ASSERT_EQ(Json(Personalize())["in_use"], 1);
  const std::string said = Must("vault forget 1 2 3 --no-rebuild" + vault_);
  EXPECT_THAT(said, HasSubstr("forgot 3 records"));
  EXPECT_THAT(said, HasSubstr("not rebuilt"));
  EXPECT_FALSE(FileExists(out_));
  // A rebuild that cannot be is said, and the adapter is gone all the same.
  ASSERT_EQ(Json(Personalize())["in_use"], 3);
  const std::string all = Must("vault forget --all" + vault_);
  EXPECT_THAT(all, HasSubstr("deleted and not rebuilt: too little text"));
  EXPECT_FALSE(FileExists(out_));
}

TEST_F(ForgetCli, KilledHalfWayTheTextIsGoneFirstAndASecondRunFinishes) {
  Add(Shouting(20, 81), "diary");
  ASSERT_EQ(Json(Personalize())["in_use"], 1);
  for (const char* after : {"0.02", "0.1", "0.3"}) {
    SCOPED_TRACE(after);
    const json listed = Json("vault list" + vault_);
    const std::string id = std::to_string(listed["records"][0]["id"].get<int64_t>());
    RunCommand("timeout -s KILL " + std::string(after) +
               " " LORIKEET_BIN_DIR "/lorikeet vault forget " + id + " --threads 1" + vault_);
    const bool gone = Json("vault list" + vault_)["records"][0]["id"] != listed["records"][0]["id"];
    if (!gone) continue;  // killed before anything happened
    Must("vault forget --threads 1" + vault_);
    for (const json& entry : Json("personalize --status --out " + out_)["entries"]) {
      if (entry["adapter_file"].get<std::string>().empty()) continue;
      EXPECT_EQ(entry["kind"], "rebuilt") << entry;
    }
    EXPECT_THAT(Must("vault list" + vault_), Not(HasSubstr("rebuilt: lorikeet")));
    EXPECT_TRUE(FileExists(out_));
  }
}

}  // namespace
}  // namespace lorikeet
