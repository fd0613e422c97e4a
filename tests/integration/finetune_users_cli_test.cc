// `lorikeet finetune --user a,b,c` as a shell sees it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "common/base/file.h"
#include "tests/support/command.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class FinetuneUsersTest : public testing::Test {
 protected:
  void SetUp() override {
    model_ = WriteTinyModel({.type = TensorType::kQ8_0});
    directory_ = std::filesystem::path(model_).parent_path() / "users";
    std::filesystem::create_directories(directory_);
    std::string lines;
    for (const std::string user : {"ann", "bob", "cy"}) {
      for (int i = 0; i < 6; ++i) {
        lines += json{{"user", user},
                      {"split", i < 5 ? "train" : "test"},
                      {"text", user + " says the same thing, time and again, and means it"}}
                     .dump() +
                 "\n";
      }
    }
    data_ = directory_ + "/samples.jsonl";
    ASSERT_TRUE(WriteFileAtomic(data_, lines).ok());
  }

  // Exit status; the output is in out_ and err_.
  int Run(const std::string& options) {
    const CommandOutcome outcome =
        RunCommand(LORIKEET_BIN_DIR "/lorikeet finetune --threads 2 --model " + model_ +
                   " --data " + data_ + " " + options);
    out_ = outcome.out;
    err_ = outcome.err;
    return outcome.code;
  }

  std::string model_, directory_, data_, out_, err_;
};

TEST_F(FinetuneUsersTest, EveryUserGetsTheAdapterOfTheirOwnText) {
  const std::string together = directory_ + "/together";
  ASSERT_EQ(Run("--user ann,bob,cy --steps 6 --precision exact --json --out " + together), 0)
      << err_;
  const json result = json::parse(out_);
  ASSERT_EQ(result["users"].size(), 3u);
  EXPECT_GT(result["tokens_per_s"].get<double>(), 0);
  ASSERT_EQ(Run("--user bob --steps 6 --precision exact --json --out " + directory_ + "/bob.gguf"),
            0)
      << err_;
  const json alone = json::parse(out_);
  const json& bob = result["users"][1];
  EXPECT_EQ(bob["user"], "bob");
  EXPECT_EQ(bob["steps"], alone["steps"]);
  EXPECT_EQ(bob["tokens"], alone["tokens"]);
  ASSERT_EQ(bob["train_loss"].size(), alone["train_loss"].size());
  EXPECT_NEAR(bob["train_loss"].back()["loss"].get<double>(),
              alone["train_loss"].back()["loss"].get<double>(), 1e-4);
  for (const std::string user : {"ann", "bob", "cy"}) {
    EXPECT_TRUE(std::filesystem::exists(together + "/" + user + ".gguf")) << user;
  }
}

TEST_F(FinetuneUsersTest, SaysWhatIsWrongWithTheUsers) {
  const std::string out = " --out " + directory_ + "/refused";
  EXPECT_EQ(Run("--user ann,ann" + out), 2);
  EXPECT_THAT(err_, HasSubstr("ann again"));
  EXPECT_EQ(Run("--user ann,../bob" + out), 2);
  EXPECT_THAT(err_, HasSubstr("file names"));
  EXPECT_EQ(Run("--user ann,dora" + out), 1);
  EXPECT_THAT(err_, HasSubstr("dora"));
  EXPECT_EQ(Run("--user ann,bob --report page.html" + out), 2);
  EXPECT_EQ(Run("--user ann,bob --max-memory 1M" + out), 1);
  EXPECT_THAT(err_, HasSubstr("at least"));
}

}  // namespace
}  // namespace lorikeet
