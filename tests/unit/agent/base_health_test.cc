#include "device/agent/base_health.h"

#include <gmock/gmock.h>

#include <cstring>
#include <limits>

#include "common/base/file.h"
#include "common/base/strings.h"
#include "tests/support/shared_data.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

class BaseHealthTest : public ::testing::Test {
 protected:
  BaseHealthTest() {
    for (const std::string& text : QuietTexts(20)) judge_.emplace_back(text);
  }
  // The tiny model with all of one tensor of floats multiplied.
  std::string WriteAltered(const std::string& tensor_name, float factor) {
    std::string bytes = TinyModelBytes();
    const auto file = GgufFile::Parse(AsBytes(bytes), "tiny").value();
    const GgufTensor* tensor = file->FindTensor(tensor_name);
    const size_t offset = static_cast<size_t>(tensor->data.data() - AsBytes(bytes).data());
    for (size_t at = offset; at < offset + tensor->data.size(); at += sizeof(float)) {
      float value;
      std::memcpy(&value, bytes.data() + at, sizeof(float));
      value *= factor;
      std::memcpy(bytes.data() + at, &value, sizeof(float));
    }
    const std::string path = MakeTempDir("altered") + "/model.gguf";
    EXPECT_TRUE(WriteFileAtomic(path, bytes).ok());
    return path;
  }
  BaseHealth Check(const std::string& path, bool first = false) {
    BaseHealthInput input = {.path = path,
                             .fingerprint = "",
                             .current = first ? nullptr : LoadTinyModel(),
                             .judge = judge_,
                             .has_adapter = true};
    if (const auto model = Model::Load(path); model.ok())
      input.fingerprint = (*model)->fingerprint();
    return CheckBaseHealth(input, TestPool(), options_);
  }

  // One core, shared: how fast something is proves nothing here unless it is very slow.
  BaseHealthOptions options_ = {.speed_floor = 0.02};
  std::vector<PrivateText> judge_;
};

TEST_F(BaseHealthTest, TheSameWeightsInAnotherTypeAreHealthy) {
  TinyModelOptions half;
  half.type = TensorType::kF16;
  const BaseHealth health = Check(WriteTinyModel(half));
  EXPECT_TRUE(health.healthy) << health.summary;
  EXPECT_THAT(health.summary, HasSubstr("loads, golden prompts are finite"));
  EXPECT_THAT(health.summary, HasSubstr("of the owner's text"));
  EXPECT_GT(health.speed, 0);
  EXPECT_NEAR(health.owners_loss, health.owners_loss_before, 0.01 * health.owners_loss_before);
}

TEST_F(BaseHealthTest, TheFirstBaseIsNotCompared) {
  const BaseHealth health = Check(WriteTinyModel(), /*first=*/true);
  EXPECT_TRUE(health.healthy) << health.summary;
  EXPECT_EQ(health.summary, "loads, golden prompts are finite");
}

TEST_F(BaseHealthTest, WhatDoesNotLoadIsUnhealthy) {
  const std::string path = MakeTempDir("broken") + "/model.gguf";
  ASSERT_TRUE(WriteFileAtomic(path, TinyModelBytes().substr(0, 100000)).ok());
  const BaseHealth health = Check(path);
  EXPECT_FALSE(health.healthy);
  EXPECT_FALSE(health.summary.empty());
}

TEST_F(BaseHealthTest, AnotherModelThanTheReleaseSaysIsUnhealthy) {
  const BaseHealth health = CheckBaseHealth({.path = WriteTinyModel(),
                                             .fingerprint = std::string(64, 'a'),
                                             .current = nullptr,
                                             .judge = {},
                                             .has_adapter = false},
                                            TestPool(), options_);
  EXPECT_FALSE(health.healthy);
  EXPECT_THAT(health.summary, HasSubstr("expected the base aaaa"));
}

TEST_F(BaseHealthTest, LogitsThatAreNoNumbersAreUnhealthy) {
  const BaseHealth health =
      Check(WriteAltered("output_norm.weight", std::numeric_limits<float>::quiet_NaN()));
  EXPECT_FALSE(health.healthy);
  EXPECT_THAT(health.summary, HasSubstr("golden prompt"));
  EXPECT_THAT(Check(WriteAltered("output_norm.weight", 0)).summary, HasSubstr("golden prompt"));
}

TEST_F(BaseHealthTest, WorseReadingIsUnhealthy) {
  const std::string path = WriteAltered("output_norm.weight", 30);
  EXPECT_THAT(Check(path).summary, HasSubstr("on golden prompts it needs"));
  options_.golden_bound = 1000;
  const BaseHealth health = Check(path);
  EXPECT_FALSE(health.healthy);
  EXPECT_THAT(health.summary, HasSubstr("on the owner's held-out text it needs"));
}

TEST_F(BaseHealthTest, AFractionOfTheSpeedIsUnhealthy) {
  TinyModelOptions deep;
  deep.layers = 80;
  options_ = {.speed_floor = 0.5, .loss_bound = 1000, .golden_bound = 1000};
  const BaseHealth health = Check(WriteTinyModel(deep));
  EXPECT_FALSE(health.healthy);
  EXPECT_THAT(health.summary, HasSubstr("of the speed of the base in use; at least 0.50"));
  EXPECT_LT(health.speed, 0.5);
}

}  // namespace
}  // namespace lorikeet
