// personalize's history as a shell sees it: what happened, the way back, the way to another base,
// and kill -9 in the middle of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "common/adapter/gguf_io.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "device/personalization/history.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;

std::string WordOf(int number, int slot, const std::array<const char*, 3>& words) {
  for (int i = 0; i < slot; ++i) number /= 3;
  return words[static_cast<size_t>(number % 3)];
}

// Entries of one voice, `first` to `last`, all different.
std::string Shouting(int first, int last) {
  constexpr std::array<const char*, 3> kWords = {"ZAP", "WOW", "OH"};
  std::string text;
  for (int i = first; i < last; ++i) {
    text += "ZAP! " + WordOf(i, 0, kWords) + "! ZAP " + WordOf(i, 1, kWords) + "! OH " +
            WordOf(i, 2, kWords) + "! " + WordOf(i, 3, kWords) + "!\n\n";
  }
  return text;
}

std::string PublicText() {
  std::string text = Shouting(0, 20);
  for (int i = 0; i < 12; ++i) {
    text += "The road number " + std::to_string(i) +
            " runs past the mill and the old bridge. It is long, and few go there.\n\n";
  }
  return text;
}

CommandOutcome Lorikeet(const std::string& arguments) {
  return RunCommand(LORIKEET_BIN_DIR "/lorikeet " + arguments);
}
void Must(const std::string& arguments) {
  const CommandOutcome outcome = Lorikeet(arguments);
  ASSERT_EQ(outcome.code, 0) << arguments << ": " << outcome.err;
}

class PersonalizeCli : public ::testing::Test {
 protected:
  // A base, a catalog of it with one persona, and another quantization with its own.
  static void SetUpTestSuite() {
    shared_ = MakeTempDir("personalize-cli");
    ASSERT_TRUE(WriteFileAtomic(Shared("public.txt"), PublicText()).ok());
    ASSERT_TRUE(WriteFileAtomic(Shared("seed.txt"), Shouting(0, 20)).ok());
    ASSERT_TRUE(WriteFileAtomic(Shared("mine.txt"), Shouting(20, 81)).ok());
    fs::copy_file(WriteTinyModel(), Shared("old.gguf"));
    Must("quantize " + Shared("old.gguf") + " " + Shared("new.gguf") + " Q8_0");
    MakeCatalog("old");
    MakeCatalog("new");
  }
  static void MakeCatalog(const std::string& name) {
    Must("persona init --threads 1 --rank 4 --model " + Shared(name + ".gguf") + " --data " +
         Shared("public.txt") + " --out " + Shared(name + "-catalog.gguf"));
    Must("persona train --threads 1 --epochs 2 --model " + Shared(name + ".gguf") + " --catalog " +
         Shared(name + "-catalog.gguf") + " --id shouting --data " + Shared("seed.txt"));
  }
  static std::string Shared(const std::string& name) { return shared_ + "/" + name; }

  std::string Path(const std::string& name) const { return dir_ + "/" + name; }
  // The command for base and catalog `name`.
  std::string Arguments(const std::string& name) const {
    return "personalize --threads 1 --rank 2 --model " + Shared(name + ".gguf") + " --catalog " +
           Shared(name + "-catalog.gguf") + " --data " + Shared("mine.txt") + " --out " + out_ +
           " ";
  }
  json Json(const std::string& arguments) const {
    const CommandOutcome outcome = Lorikeet(arguments + " --json");
    EXPECT_EQ(outcome.code, 0) << arguments << ": " << outcome.err;
    return json::parse(outcome.out, nullptr, false);
  }
  json Status() const { return Json("personalize --status --out " + out_); }
  std::string Bytes() const { return ReadFile(out_).value(); }

  inline static std::string shared_;
  const std::string dir_ = MakeTempDir("personalize-cli");
  const std::string out_ = dir_ + "/a.gguf";
};

TEST_F(PersonalizeCli, KeepsAHistoryAndGoesBackAndForward) {
  const json first = Json(Arguments("old") + "--epochs 2");
  ASSERT_EQ(first["in_use"], 1) << first["verdict"];
  const std::string version = Bytes();
  // A second run that learns nothing more is an entry, and changes nothing.
  const json second = Json(Arguments("old") + "--steps 1 --lr 1e-9");
  EXPECT_EQ(second["outcome"], "rolled back") << second["verdict"];
  EXPECT_EQ(second["in_use"], 1);
  EXPECT_EQ(Bytes(), version);

  const json status = Status();
  ASSERT_EQ(status["entries"].size(), 2u);
  const json& entry = status["entries"][0];
  EXPECT_EQ(entry["kind"], "personalized");
  EXPECT_EQ(entry["model_path"], Shared("old.gguf"));
  EXPECT_EQ(entry["residual_rank"], 2);
  EXPECT_LT(entry["losses"]["personalized"], entry["losses"]["base"]);
  EXPECT_GT(entry["cost"]["cpu_seconds"], 0);
  EXPECT_EQ(status["in_use"], 1);
  const CommandOutcome table = Lorikeet("personalize --status --out " + out_);
  EXPECT_THAT(table.out, HasSubstr(out_ + ": version 1 serves, for " + Shared("old.gguf")));
  EXPECT_THAT(table.out, HasSubstr(first["verdict"].get<std::string>()));

  const std::string back = "personalize --rollback --out " + out_;
  EXPECT_THAT(Lorikeet(back).out, HasSubstr(out_ + " was removed"));
  EXPECT_FALSE(FileExists(out_));
  EXPECT_EQ(Json(back)["in_use"], 1);
  EXPECT_EQ(Bytes(), version);
  EXPECT_EQ(Status()["entries"].back()["kind"], "rolled-back");
  EXPECT_EQ(fs::status(out_).permissions(), fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(PersonalizeCli, RecordsOfTheVaultReachTheEntry) {
  const std::string vault = " --vault " + Path("vault");
  Must("vault add " + Shared("mine.txt") + " --source diary" + vault);
  const std::string arguments = Arguments("old");
  const size_t data = arguments.find(" --data");
  const json result = Json(arguments.substr(0, data) + vault + " --epochs 1 --out " + out_);
  const json entry = Status()["entries"][0];
  EXPECT_EQ(entry["vault_dir"], Path("vault"));
  EXPECT_FALSE(entry["records"].empty());
}

TEST_F(PersonalizeCli, ErrorsSayWhatToDo) {
  const auto error = [](const std::string& arguments, int code) {
    const CommandOutcome outcome = Lorikeet("personalize " + arguments);
    EXPECT_EQ(outcome.code, code) << arguments << outcome.err;
    return outcome.err;
  };
  EXPECT_THAT(error("--status --out " + out_, 1), HasSubstr("expected its history in"));
  EXPECT_THAT(error("--rollback --out " + out_, 1), HasSubstr("expected its history in"));
  EXPECT_THAT(error("--rollback", 2), HasSubstr("--out is required with --rollback"));
  EXPECT_THAT(error("--status --rollback --out x", 2), HasSubstr("--status"));
  EXPECT_THAT(error("--to 1 --status --out x", 2), HasSubstr("--to goes with --rollback"));
  EXPECT_THAT(error("--out " + out_, 2), HasSubstr("--model is required"));
  EXPECT_THAT(Lorikeet(Arguments("old") + "--rebase").err,
              HasSubstr("expected an adapter to move to the new base, found none"));
  ASSERT_TRUE(WriteFileAtomic(out_, "no adapter").ok());
  EXPECT_THAT(Lorikeet(Arguments("old")).err, HasSubstr(out_));
  EXPECT_EQ(Bytes(), "no adapter");
}

TEST_F(PersonalizeCli, TwoAtATimeDoNotMix) {
  const SystemClock clock;
  const auto held = History::Open(out_, &clock);
  ASSERT_TRUE(held.ok());
  const CommandOutcome outcome = Lorikeet(Arguments("old"));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("another process is at work there"));
}

TEST_F(PersonalizeCli, AnotherQuantizationIsJudgedAgainstTheOldSide) {
  ASSERT_EQ(Json(Arguments("old") + "--epochs 2")["in_use"], 1);
  const std::string version = Bytes();
  const std::string old_base = ReadAdapter(out_)->info.base_fingerprint;
  const json result = Json(Arguments("new") + "--rebase --epochs 2");
  EXPECT_EQ(result["compared"], true) << result;
  EXPECT_GT(result["bits_per_byte_old"], 0);
  EXPECT_NEAR(result["bits_per_byte_old"], result["bits_per_byte_new"], 0.5);
  EXPECT_GT(result["judge_bytes"], 100);
  const json entry = Status()["entries"].back();
  EXPECT_EQ(entry["kind"], "rebased");
  EXPECT_EQ(entry["verdict"], result["verdict"]);
  EXPECT_GT(entry["losses"]["in_use"], 0);
  if (result["kept_new"] == true) {
    EXPECT_NE(ReadAdapter(out_)->info.base_fingerprint, old_base);
    EXPECT_EQ(result["in_use"], 2);
  } else {
    EXPECT_EQ(Bytes(), version);
    EXPECT_EQ(result["in_use"], 1);
  }
  const std::string serving = result["kept_new"] == true ? "new" : "old";
  EXPECT_THAT(Lorikeet(Arguments(serving) + "--rebase").err, HasSubstr("is the base in use"));
}

TEST_F(PersonalizeCli, ABetterBaseIsKeptAndTheWayBackKnowsItsBase) {
  // The new base is the old one that has learned the owner's voice; the old side has no adapter.
  Must(Arguments("old") + "--epochs 4");
  Must("merge --into-base --model " + Shared("old.gguf") + " --adapter " + out_ + " --out " +
       Path("tuned.gguf"));
  Must("persona init --threads 1 --rank 4 --model " + Path("tuned.gguf") + " --data " +
       Shared("public.txt") + " --out " + Path("tuned-catalog.gguf"));
  const std::string version = Bytes();
  Must("personalize --rollback --out " + out_);
  const json result = Json("personalize --rebase --threads 1 --rank 2 --epochs 2 --model " +
                           Path("tuned.gguf") + " --catalog " + Path("tuned-catalog.gguf") +
                           " --data " + Shared("mine.txt") + " --out " + out_);
  EXPECT_EQ(result["compared"], true);
  EXPECT_EQ(result["kept_new"], true) << result["verdict"];
  EXPECT_LT(result["bits_per_byte_new"], result["bits_per_byte_old"]);
  EXPECT_THAT(result["verdict"].get<std::string>(), HasSubstr("kept the new side"));
  // Back to the version of the old base.
  const CommandOutcome back = Lorikeet("personalize --rollback --to 1 --out " + out_);
  EXPECT_EQ(back.code, 0) << back.err;
  EXPECT_EQ(Bytes(), version);
}

TEST_F(PersonalizeCli, AMissingOldBaseCannotBeCompared) {
  ASSERT_TRUE(WriteFileAtomic(Path("gone.gguf"), *ReadFile(Shared("old.gguf"))).ok());
  Must("personalize --threads 1 --rank 2 --epochs 1 --model " + Path("gone.gguf") + " --catalog " +
       Shared("old-catalog.gguf") + " --data " + Shared("mine.txt") + " --out " + out_);
  const CommandOutcome wrong =
      Lorikeet(Arguments("new") + "--rebase --from-model " + Shared("new.gguf"));
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.err, HasSubstr("expected the base in use"));
  fs::remove(Path("gone.gguf"));
  const json result = Json(Arguments("new") + "--rebase --epochs 2");
  EXPECT_EQ(result["compared"], false);
  EXPECT_THAT(result["verdict"].get<std::string>(), HasSubstr("could not be compared"));
  EXPECT_EQ(result["kept_new"], result["in_use"] == 2);
}

TEST_F(PersonalizeCli, KilledAnywhereTheOldSideServesAndASecondRunSucceeds) {
  ASSERT_EQ(Json(Arguments("old") + "--epochs 1")["in_use"], 1);
  std::string serving = Bytes();
  const std::string command =
      LORIKEET_BIN_DIR "/lorikeet " + Arguments("new") + "--rebase --epochs 2";
  int killed = 0;
  for (const std::string seconds : {"0.02", "0.1", "0.3", "0.6", "1", "1.5", "2.5"}) {
    const size_t entries = Status()["entries"].size();
    const CommandOutcome outcome = RunCommand(command + " & pid=$!; sleep " + seconds +
                                              "; kill -9 $pid 2>/dev/null; wait $pid");
    if (outcome.code == 128 + 9) ++killed;
    const json status = Status();  // readable, whatever has happened
    if (status["entries"].size() == entries) {
      EXPECT_EQ(Bytes(), serving) << seconds;
    }
    ASSERT_TRUE(ReadAdapter(out_).ok()) << seconds;
    if (status["in_use"] != 1) break;  // it was done before it was killed
  }
  EXPECT_GE(killed, 1);
  if (Status()["in_use"] == 1) {
    const json again = Json(Arguments("new") + "--rebase --epochs 2");
    EXPECT_EQ(again["compared"], true);
  }
  for (const auto& file : fs::directory_iterator(dir_)) {
    EXPECT_THAT(file.path().filename().string(), ::testing::Not(HasSubstr(".tmp.")));
  }
}

}  // namespace
}  // namespace lorikeet
