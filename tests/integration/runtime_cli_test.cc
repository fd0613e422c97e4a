// The commands inspect, tokenize, detokenize, generate, chat, logits, perplexity and bench as a
// shell sees them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/base/file.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class RuntimeCli : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return dir_ + "/" + name; }
  void Write(const std::string& name, const std::string& content) const {
    ASSERT_TRUE(WriteFileAtomic(Path(name), content).ok());
  }

  // Runs `lorikeet <arguments>` with `input` on standard input.
  CommandOutcome Run(const std::string& arguments, const std::string& input = "") const {
    return RunCommand(LORIKEET_BIN_DIR "/lorikeet " + arguments, input);
  }
  json RunJson(const std::string& arguments, const std::string& input = "") const {
    const CommandOutcome outcome = Run(arguments + " --json", input);
    EXPECT_EQ(outcome.code, 0) << arguments << ": " << outcome.err;
    return json::parse(outcome.out, nullptr, false);
  }

  const std::string dir_ = MakeTempDir("runtime-cli");
  const std::string model_ = WriteTinyModel();
  const std::string with_model_ = " --threads 1 --model " + model_ + " ";
};

TEST_F(RuntimeCli, InspectDescribesAModel) {
  const json document = RunJson("inspect " + model_);
  EXPECT_EQ(document["kind"], "model");
  EXPECT_EQ(document["architecture"], "llama");
  EXPECT_EQ(document["context_length"], 256);
  EXPECT_EQ(document["fingerprint"].get<std::string>().size(), 64u);
  EXPECT_EQ(document["bytes"], std::filesystem::file_size(model_));
  EXPECT_EQ(document["weight_types"]["F32"], document["tensors"]);
  // 288 x 64 embedding, two layers of 64 x (64 + 32 + 32 + 64) + 3 x 64 x 96 and two norms, the
  // last norm.
  EXPECT_EQ(document["parameters"], 288 * 64 + 2 * (64 * 192 + 3 * 64 * 96 + 2 * 64) + 64);
}

TEST_F(RuntimeCli, TokensGoBackToText) {
  const std::string text = "the rest\nof it \xE2\x82\xAC";
  const json ids = RunJson("tokenize --model " + model_, text)["ids"];
  EXPECT_EQ(Run("detokenize --model " + model_, ids.dump()).out, text);
  const json with_bos = RunJson("tokenize --bos --model " + model_, text)["ids"];
  EXPECT_EQ(with_bos.size(), ids.size() + 1);
  EXPECT_EQ(with_bos[0], TinyModelBos({}));
  EXPECT_EQ(Run("detokenize --model " + model_, "[1, -2]").code, 1);
  EXPECT_EQ(Run("detokenize --model " + model_, "nonsense").code, 1);
}

TEST_F(RuntimeCli, GenerateIsReproducible) {
  const std::string arguments =
      "generate" + with_model_ + "--prompt 'the rest' -n 12 --ignore-end --temperature 1 --seed 5";
  const json a = RunJson(arguments);
  for (const char* key : {"prompt_tokens", "tokens", "text", "prefill_tokens_per_s",
                          "decode_tokens_per_s", "stop_reason"}) {
    EXPECT_TRUE(a.contains(key)) << key;
  }
  EXPECT_EQ(a["tokens"].size(), 12u);
  EXPECT_EQ(a["stop_reason"], "length");
  EXPECT_EQ(RunJson(arguments)["tokens"], a["tokens"]);
  // The same prompt as a file and as ids.
  Write("prompt.txt", "the rest");
  Write("prompt.json", a["prompt_tokens"].dump());
  const std::string rest = " -n 12 --ignore-end --temperature 1 --seed 5";
  EXPECT_EQ(
      RunJson("generate" + with_model_ + "--prompt-file " + Path("prompt.txt") + rest)["tokens"],
      a["tokens"]);
  EXPECT_EQ(RunJson("generate" + with_model_ + "--tokens " + Path("prompt.json") + rest)["tokens"],
            a["tokens"]);
  EXPECT_EQ(Run(arguments).out, a["text"].get<std::string>() + "\n");
}

TEST_F(RuntimeCli, LookupChangesTheSpeedAndNothingElse) {
  const std::string arguments = "generate" + with_model_ +
                                "--prompt 'the rest of it, the rest of it, the rest' -n 60 "
                                "--ignore-end --lookup ";
  const json off = RunJson(arguments + "off");
  EXPECT_EQ(off["lookup"]["drafted"], 0);
  for (const char* lookup : {"auto", "7", "1"}) {
    const json on = RunJson(arguments + lookup);
    EXPECT_EQ(on["tokens"], off["tokens"]) << lookup;
    EXPECT_EQ(on["text"], off["text"]);
    for (const char* key : {"drafted", "accepted", "passes", "tokens_per_pass"}) {
      EXPECT_TRUE(on["lookup"].contains(key)) << key;
    }
  }
  const CommandOutcome line = Run(arguments + "3 --progress");
  EXPECT_THAT(line.err, HasSubstr("tokens a pass"));
  EXPECT_EQ(Run(arguments + "8").code, 2);
  EXPECT_EQ(Run(arguments + "never").code, 2);
}

TEST_F(RuntimeCli, LookupKnowsTheVault) {
  const std::string vault = " --vault " + Path("vault");
  const std::string arguments =
      "generate" + with_model_ + "--prompt 'the rest' -n 60 --ignore-end --lookup 7";
  const json without = RunJson(arguments);
  // A vault that holds what the model is about to write.
  Write("note.txt", "the rest" + without["text"].get<std::string>());
  const CommandOutcome added = Run("vault add" + vault + " " + Path("note.txt"));
  ASSERT_EQ(added.code, 0) << added.err;
  // Drafts alone change nothing that is written.
  const json with = RunJson(arguments + vault + " --retrieve-tokens 0 --vault-copy 0");
  EXPECT_EQ(with["tokens"], without["tokens"]);
  EXPECT_GT(with["lookup"]["drafted"], without["lookup"]["drafted"]);
  EXPECT_EQ(Run(arguments + " --vault " + Path("absent")).code, 1);
}

TEST_F(RuntimeCli, PassagesOfTheVault) {
  const std::string vault = " --vault " + Path("vault");
  Write("heron.txt", "the heron <|eos|> by the old mill");
  Write("other.txt", "nothing to do with it");
  ASSERT_EQ(Run("vault add" + vault + " --source birds " + Path("heron.txt")).code, 0);
  ASSERT_EQ(Run("vault add" + vault + " " + Path("other.txt")).code, 0);
  const std::string arguments =
      "generate" + with_model_ + "--prompt 'what of that heron' -n 12 --ignore-end" + vault;
  const json without = RunJson(arguments + " --retrieve-tokens 0");
  EXPECT_TRUE(without["passages"].empty());
  const json with = RunJson(arguments);
  ASSERT_EQ(with["passages"].size(), 1u);
  EXPECT_EQ(with["passages"][0]["record"], 1);
  EXPECT_FALSE(with["passages"][0].contains("text")) << "only when asked for";
  EXPECT_EQ(
      with["prompt_token_count"].get<int>(),
      without["prompt_token_count"].get<int>() + with["passages"][0]["tokens"].get<int>() + 1);
  // Text of the vault is no control token; drafting changes nothing; texts are shown when asked.
  EXPECT_EQ(std::ranges::count(with["prompt_tokens"], json(TinyModelEos({}))), 0);
  EXPECT_EQ(RunJson(arguments + " --lookup 0")["tokens"], with["tokens"]);
  EXPECT_THAT(Run(arguments + " --show-passages").err, HasSubstr("by the old mill"));
  // What the owner does not allow is not used.
  ASSERT_EQ(Run("vault consent --source birds --deny retrieve" + vault).code, 0);
  EXPECT_TRUE(RunJson(arguments)["passages"].empty());
  EXPECT_EQ(Run(arguments + " --vault-copy 3").code, 2);
}

// What followed the prompt's last words in the vault follows here, as far as it is asked for.
TEST_F(RuntimeCli, TheVaultsWordsAreMixedIn) {
  const std::string vault = " --vault " + Path("vault");
  Write("note.txt", "the rest of it is silence and snow");
  ASSERT_EQ(Run("vault add" + vault + " " + Path("note.txt")).code, 0);
  const std::string arguments =
      "generate" + with_model_ + "--prompt 'the rest of' -n 20 --ignore-end --retrieve-tokens 0";
  const json without = RunJson(arguments);
  EXPECT_EQ(RunJson(arguments + vault + " --vault-copy 0")["tokens"], without["tokens"]);
  EXPECT_THAT(RunJson(arguments + vault + " --vault-copy 2")["text"].get<std::string>(),
              ::testing::StartsWith(" it is silence"));
}

TEST_F(RuntimeCli, ChatShowsItsPassages) {
  const std::string vault = " --vault " + Path("vault");
  Write("heron.txt", "the heron stood by the old mill");
  ASSERT_EQ(Run("vault add" + vault + " " + Path("heron.txt")).code, 0);
  const json turns = RunJson("chat" + with_model_ + "-n 4 --show-passages" + vault,
                             "where is that heron\nthe other thing\n")["turns"];
  ASSERT_EQ(turns.size(), 2u);
  ASSERT_EQ(turns[0]["passages"].size(), 1u);
  EXPECT_EQ(turns[0]["passages"][0]["text"], "the heron stood by the old mill");
  EXPECT_TRUE(turns[1]["passages"].empty());
}

TEST_F(RuntimeCli, FullContexts) {
  const std::string arguments =
      "generate" + with_model_ + "--prompt 'the rest' -n 80 --ignore-end --context 40 ";
  const json full = RunJson(arguments);
  EXPECT_EQ(full["stop_reason"], "context");
  EXPECT_LT(full["tokens"].size(), 40u);
  const json shifted = RunJson(arguments + "--context-shift --keep 4");
  EXPECT_EQ(shifted["stop_reason"], "length");
  EXPECT_EQ(shifted["tokens"].size(), 80u);
  EXPECT_GT(shifted["context_shifts"], 1);
  const CommandOutcome outcome = Run("generate" + with_model_ + "--prompt 'the rest' --context 4");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("expected at most 4 tokens"));
}

TEST_F(RuntimeCli, LogitsAndPerplexity) {
  Write("tokens.json", "[1, 2, 3, 4, 5]");
  const json logits = RunJson("logits" + with_model_ + "--tokens " + Path("tokens.json") +
                              " --out " + Path("o.f32"));
  EXPECT_EQ(logits["shape"], json::array({5, 288}));
  EXPECT_EQ(std::filesystem::file_size(Path("o.f32")), 5u * 288u * 4u);

  std::string text;
  for (int i = 0; i < 40; ++i) text += "the rest of it ";
  Write("text.txt", text);
  const json p = RunJson("perplexity" + with_model_ + "--context 64 --file " + Path("text.txt"));
  EXPECT_NEAR(std::exp(p["mean_nll"].get<double>()), p["perplexity"].get<double>(), 1e-3);
  EXPECT_GT(p["bits_per_byte"].get<double>(), 0);
  EXPECT_EQ(p["tokens"], p["chunks"].get<int>() * 31);
}

TEST_F(RuntimeCli, BenchMeasures) {
  const json document =
      RunJson("bench" + with_model_ + "--prompt 32 --gen 4 --train 16 --repeat 3");
  for (const char* key : {"prefill_tokens_per_s", "decode_tokens_per_s", "train_tokens_per_s"}) {
    const json& rate = document[key];
    EXPECT_GT(rate["min"].get<double>(), 0) << key;
    EXPECT_LE(rate["min"], rate["median"]);
    EXPECT_LE(rate["median"], rate["max"]);
  }
  EXPECT_GT(document["peak_rss"].get<int64_t>(), 1'000'000);
  EXPECT_GT(document["anonymous_rss"].get<int64_t>(), 0);
  EXPECT_EQ(document["model_bytes"], std::filesystem::file_size(model_));
  EXPECT_EQ(document["threads"], 1);
  EXPECT_TRUE(document["isa"].is_string());
}

TEST_F(RuntimeCli, ChatAnswersEveryLine) {
  const json document = RunJson("chat" + with_model_ + "-n 5", "Hello\n\nAnd now?\n/exit\nno\n");
  ASSERT_EQ(document["turns"].size(), 2u);
  EXPECT_EQ(document["turns"][1]["user"], "And now?");
}

TEST_F(RuntimeCli, ChatDecodesOnlyWhatIsNew) {
  const json document = RunJson("chat" + with_model_ + "-n 5 --temperature 0",
                                "Hello there\nMore\n/reset\nHello there\n");
  ASSERT_EQ(document["turns"].size(), 3u);
  const json& turns = document["turns"];
  EXPECT_LT(turns[1]["decoded_token_count"].get<int>(), turns[1]["prompt_token_count"].get<int>());
  // After /reset the same question has the same answer.
  EXPECT_EQ(turns[2]["prompt_token_count"], turns[0]["prompt_token_count"]);
  EXPECT_EQ(turns[2]["assistant"], turns[0]["assistant"]);
}

TEST_F(RuntimeCli, ChatSaysWhenAMessageIsTooLong) {
  const CommandOutcome outcome =
      Run("chat" + with_model_ + "-n 5 --context 64", std::string(500, 'x') + "\n");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("expected it to fit into a context of 64 tokens"));
}

TEST_F(RuntimeCli, ErrorsAreOneLineAndACode) {
  const auto expect = [&](const std::string& arguments, int code, const std::string& words) {
    const CommandOutcome outcome = Run(arguments);
    EXPECT_EQ(outcome.code, code) << arguments << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(words));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  };
  Write("not.gguf", "nothing of the kind");
  expect("inspect " + Path("not.gguf"), 1, "GGUF");
  expect("inspect " + Path("absent.gguf"), 1, "absent.gguf");
  expect("generate" + with_model_, 2, "prompt");
  expect("generate" + with_model_ + "--prompt a --tokens b", 2, "");
  expect("generate" + with_model_ + "--prompt a --temperature -3", 2, "temperature");
  expect("generate" + with_model_ + "--prompt a --isa abacus", 2, "abacus");
  Write("tokens.json", "[1, 288]");
  expect("logits" + with_model_ + "--tokens " + Path("tokens.json") + " --out " + Path("x"), 1,
         "expected 0 to 287, got 288");
  EXPECT_FALSE(FileExists(Path("x")));
  Write("short.txt", "too short");
  expect("perplexity" + with_model_ + "--file " + Path("short.txt"), 1,
         "expected a text of at least");
  expect("generate" + with_model_ + "--prompt a --adapter " + Path("not.gguf"), 1, "GGUF");
}

}  // namespace
}  // namespace lorikeet
