// Model files as a shell sees them: made by make-random, rounded by quantize, cut short while a
// command uses them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "common/base/file.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class ModelFileCli : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return dir_ + "/" + name; }

  int Run(const std::string& arguments) {
    outcome_ = RunCommand(LORIKEET_BIN_DIR "/lorikeet " + arguments);
    return outcome_.code;
  }
  // Of the last command.
  const std::string& Out() const { return outcome_.out; }
  const std::string& Err() const { return outcome_.err; }

  const std::string dir_ = MakeTempDir("model-file-cli");

 private:
  CommandOutcome outcome_;
};

TEST_F(ModelFileCli, RandomModelsAreMadeRoundedAndRun) {
  ASSERT_EQ(Run("make-random --arch qwen2 --layers 3 --embedding 96 --heads 4 --kv-heads 2 "
                "--head-size 24 --ffn 256 --vocabulary 1024 --threads 1 " +
                Path("f16.gguf")),
            0)
      << Err();
  ASSERT_EQ(
      Run("quantize --threads 1 --json " + Path("f16.gguf") + " " + Path("q4.gguf") + " q4_k_m"), 0)
      << Err();
  const json quantized = json::parse(Out());
  EXPECT_EQ(quantized["type"], "Q4_K_M");
  EXPECT_LT(quantized["bytes_out"], quantized["bytes_in"]);
  EXPECT_EQ(quantized["bytes_out"], std::filesystem::file_size(Path("q4.gguf")));
  EXPECT_GT(quantized["rmse"], 0);
  ASSERT_EQ(Run("generate --threads 1 -n 3 --json --prompt abc --model " + Path("q4.gguf")), 0)
      << Err();
}

TEST_F(ModelFileCli, BadTypesAndShapesAreNamed) {
  EXPECT_EQ(Run("quantize " + WriteTinyModel() + " " + Path("x") + " Q9_9"), 2);
  EXPECT_THAT(Err(), HasSubstr("Q4_K_M"));
  EXPECT_EQ(Run("make-random --shape cathedral " + Path("x")), 2);
  EXPECT_THAT(Err(), HasSubstr("qwen2.5-0.5b"));
  EXPECT_EQ(Run("make-random --heads 3 --kv-heads 2 " + Path("x")), 1);
  EXPECT_THAT(Err(), HasSubstr("divisor"));
  EXPECT_FALSE(FileExists(Path("x")));
}

// The chat waits for its second line while the file is cut: what it maps is then gone.
TEST_F(ModelFileCli, AFileThatShrinksInUseIsNamed) {
  const std::string model = WriteTinyModel();
  const auto bytes = std::filesystem::file_size(model);
  const std::string command = std::string(LORIKEET_BIN_DIR "/lorikeet chat --threads 1 -n 2") +
                              " --model " + model + " >" + Path("stdout") + " 2>" + Path("stderr");
  const auto said = [this](const char* stream) { return ReadFile(Path(stream)).value_or(""); };
  FILE* pipe = popen(command.c_str(), "w");
  ASSERT_NE(pipe, nullptr);
  std::fputs("Hello\n", pipe);
  std::fflush(pipe);
  for (int i = 0; i < 600 && said("stdout").empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  ASSERT_NE(said("stdout"), "") << said("stderr");
  std::filesystem::resize_file(model, 4096);
  std::fputs("And now?\n", pipe);
  const int status = pclose(pipe);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 1);
  EXPECT_THAT(said("stderr"), HasSubstr("lorikeet: " + model + " shrank while in use: expected " +
                                        std::to_string(bytes) + " bytes, has 4096\n"));
}

}  // namespace
}  // namespace lorikeet
