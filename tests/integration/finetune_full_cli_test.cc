// A small model of one's own, as a shell sees it: fresh weights, trained, stopped and gone on with,
// rounded, run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "common/base/file.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class FinetuneFullCli : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string text;
    for (int i = 0; i < 60; ++i) text += "the rest of it is there " + std::to_string(i % 7) + ". ";
    ASSERT_TRUE(WriteFileAtomic(Path("text.txt"), text).ok());
    ASSERT_EQ(Run("make-random --init training --layers 2 --embedding 64 --heads 4 --kv-heads 2 "
                  "--head-size 16 --ffn 96 --context 64 " +
                  Path("base.gguf")),
              0)
        << Err();
  }
  std::string Path(const std::string& name) const { return dir_ + "/" + name; }
  int Run(const std::string& arguments) {
    outcome_ = RunCommand(LORIKEET_BIN_DIR "/lorikeet " + arguments);
    return outcome_.code;
  }
  // finetune --form full from `base` to `out`.
  int Train(const std::string& base, const std::string& out, const std::string& more = "") {
    return Run(
        "finetune --form full --threads 1 --context 32 --batch 2 --lr 0.01 --steps 12 --json"
        " --weight-decay 0.1 --data " +
        Path("text.txt") + " --model " + base + " --out " + Path(out) + " " + more);
  }
  // Of the last command.
  const std::string& Out() const { return outcome_.out; }
  const std::string& Err() const { return outcome_.err; }
  std::string Bytes(const std::string& name) const { return ReadFile(Path(name)).value_or(""); }

  const std::string dir_ = MakeTempDir("finetune-full-cli");

 private:
  CommandOutcome outcome_;
};

TEST_F(FinetuneFullCli, AModelIsTrainedRoundedAndRun) {
  ASSERT_EQ(Train(Path("base.gguf"), "new.gguf", "--report " + Path("report.html")), 0) << Err();
  const json result = json::parse(Out());
  EXPECT_EQ(result["steps"], 12);
  EXPECT_EQ(result["parameters"],
            1024 * 64 + 2 * (2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 96 + 128) + 64);
  EXPECT_LT(result["eval_loss"].back()["loss"].get<double>(),
            result["eval_loss"][0]["loss"].get<double>() - 1);
  EXPECT_THAT(Bytes("report.html"), HasSubstr("all weights"));
  EXPECT_EQ(Bytes("new.gguf").size(), Bytes("base.gguf").size());
  ASSERT_EQ(Run("quantize " + Path("new.gguf") + " " + Path("q8.gguf") + " q8_0"), 0) << Err();
  ASSERT_EQ(Run("generate --threads 1 -n 3 --prompt the --model " + Path("q8.gguf")), 0) << Err();
  // What was rounded goes on as F32, and that is said.
  ASSERT_EQ(Train(Path("q8.gguf"), "again.gguf"), 0) << Err();
  EXPECT_EQ(Bytes("again.gguf").size(), Bytes("base.gguf").size());
  ASSERT_EQ(Run("finetune --form full --threads 1 --steps 1 --data " + Path("text.txt") +
                " --model " + Path("q8.gguf") + " --out " + Path("again.gguf")),
            0)
      << Err();
  EXPECT_THAT(Out(), HasSubstr("not F32 in the file"));
}

TEST_F(FinetuneFullCli, AStoppedRunGoesOnToTheSameBytes) {
  ASSERT_EQ(Train(Path("base.gguf"), "whole.gguf"), 0) << Err();
  const std::string state = "--checkpoint-every 1 --checkpoint " + Path("state");
  // Far too short for all steps, yet one is always done.
  ASSERT_EQ(Train(Path("base.gguf"), "part.gguf", state + " --max-seconds 0.001"), 0) << Err();
  ASSERT_EQ(json::parse(Out())["stopped_because"], "time");
  EXPECT_NE(Bytes("part.gguf"), Bytes("whole.gguf"));
  ASSERT_EQ(Train(Path("base.gguf"), "part.gguf", state + " --resume"), 0) << Err();
  EXPECT_TRUE(Bytes("part.gguf") == Bytes("whole.gguf"));
}

TEST_F(FinetuneFullCli, RefusesWhatCannotBeMeant) {
  EXPECT_EQ(Train(Path("base.gguf"), "x.gguf", "--init " + Path("base.gguf")), 2);
  EXPECT_THAT(Err(), HasSubstr("--form full trains the model itself"));
  // Even the default, when it is said.
  for (const std::string shape : {"--rank 8", "--alpha 16", "--modules all"}) {
    EXPECT_EQ(Train(Path("base.gguf"), "x.gguf", shape), 2) << shape;
    EXPECT_THAT(Err(), HasSubstr("expected no --rank, --alpha or --modules, got " +
                                 shape.substr(0, shape.find(' '))));
  }
  EXPECT_EQ(Train(WriteTinyModel({.architecture = "qwen3"}), "x.gguf"), 1);
  EXPECT_THAT(Err(), HasSubstr("qwen3"));
  EXPECT_EQ(Train(Path("base.gguf"), "x.gguf", "--max-memory 100000"), 1);
  EXPECT_THAT(Err(), HasSubstr("need at least"));
  EXPECT_FALSE(FileExists(Path("x.gguf")));
}

}  // namespace
}  // namespace lorikeet
