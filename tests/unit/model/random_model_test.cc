#include "device/model/random_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "common/base/file.h"
#include "common/base/strings.h"
#include "device/model/model.h"
#include "kernels/quant.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

class RandomModelTest : public testing::Test {
 protected:
  RandomModelTest() {
    options_.shape.vocabulary = 2048;
    options_.shape.embedding = 96;
    options_.shape.heads = 4;
    options_.shape.kv_heads = 2;
    options_.shape.head_size = 24;
    options_.shape.ffn = 256;
    options_.shape.layers = 2;
  }
  std::shared_ptr<const GgufFile> Write() {
    const auto bytes = WriteRandomModel(options_, path_, &pool_);
    EXPECT_TRUE(bytes.ok()) << bytes.status();
    auto file = GgufFile::Open(path_).value();
    EXPECT_EQ(file->size_bytes(), *bytes);
    return file;
  }
  std::vector<float> Values(const GgufFile& file, const char* name) {
    const GgufTensor* tensor = file.FindTensor(name);
    std::vector<float> values(tensor->elements());
    DequantizeRow(tensor->type, tensor->data.data(), tensor->elements(), values.data());
    return values;
  }
  RandomModelOptions options_;
  ThreadPool pool_{2};
  std::string path_ = MakeTempDir("random-model") + "/random.gguf";
};

TEST_F(RandomModelTest, LoadsInEveryArchitectureAndType) {
  for (const char* architecture : {"llama", "qwen2", "qwen3"}) {
    for (const FileType type : {FileType::kF16, FileType::kQ4_0, FileType::kQ4_K_M}) {
      options_.shape.architecture = architecture;
      options_.shape.rope_factors = options_.shape.architecture == "llama";
      options_.type = type;
      const auto model = Model::FromFile(Write());
      EXPECT_TRUE(model.ok()) << architecture << " " << FileTypeName(type) << model.status();
    }
  }
}

TEST_F(RandomModelTest, WeightsHaveTheVarianceThatKeepsActivations) {
  const auto file = Write();
  for (const auto& [name, columns] :
       {std::pair{"blk.1.ffn_up.weight", 96}, std::pair{"blk.1.ffn_down.weight", 256}}) {
    double squares = 0;
    const std::vector<float> values = Values(*file, name);
    for (const float value : values) squares += static_cast<double>(value) * value;
    // 24576 normal values: 1 +- 0.009 at one deviation; ten of them here.
    EXPECT_NEAR(squares / static_cast<double>(values.size()) * columns, 1, 0.09) << name;
  }
}

TEST_F(RandomModelTest, OneSeedIsOneModelInEveryTypeAndThreadCount) {
  const auto f16 = Write();
  const std::string first = ReadFile(path_).value();
  const std::vector<float> exact = Values(*f16, "blk.0.attn_q.weight");
  options_.type = FileType::kQ8_0;
  const std::vector<float> rounded = Values(*Write(), "blk.0.attn_q.weight");
  for (size_t i = 0; i < exact.size(); ++i) EXPECT_NEAR(rounded[i], exact[i], 0.003) << i;
  options_.type = FileType::kF16;
  ThreadPool one(1);
  ASSERT_TRUE(WriteRandomModel(options_, path_, &one).ok());
  EXPECT_EQ(ReadFile(path_).value(), first);
  options_.seed = 2;
  EXPECT_NE(Values(*Write(), "blk.0.attn_q.weight"), exact);
}

// Spreads to within ten deviations; every number its own draw.
TEST_F(RandomModelTest, TrainingStartsFromSmallNormalWeights) {
  options_.init = WeightInit::kTraining;
  options_.type = FileType::kF32;
  options_.shape.architecture = "qwen2";
  options_.shape.tied = false;
  const auto file = Write();
  const std::string first = ReadFile(path_).value();
  for (const GgufTensor& tensor : file->tensors()) {
    const std::string name(tensor.name);
    const std::vector<float> values = Values(*file, name.c_str());
    if (tensor.rows() == 1) {
      const float want = name.ends_with("bias") ? 0.0f : 1.0f;
      EXPECT_EQ(values, std::vector<float>(values.size(), want)) << name;
      continue;
    }
    double squares = 0;
    for (const float value : values) squares += static_cast<double>(value) * value;
    const bool residual = name.ends_with("attn_output.weight") || name.ends_with("ffn_down.weight");
    const double spread = residual ? 0.01 : 0.02;  // two layers
    const auto count = static_cast<double>(values.size());
    EXPECT_NEAR(std::sqrt(squares / count) / spread, 1, 10 / std::sqrt(2 * count)) << name;
    EXPECT_GT(std::set<float>(values.begin(), values.end()).size(), values.size() / 2) << name;
  }
  ThreadPool one(1);
  ASSERT_TRUE(WriteRandomModel(options_, path_, &one).ok());
  EXPECT_EQ(ReadFile(path_).value(), first);
}

TEST_F(RandomModelTest, CopiesAVocabularyAndPadsIt) {
  const std::string tiny = TinyModelBytes();
  options_.vocabulary = GgufFile::Parse(AsBytes(tiny), "tiny").value();
  const auto file = Write();
  EXPECT_EQ(file->GetArray("tokenizer.ggml.tokens").value()->strings.size(), 2048u);
  EXPECT_EQ(file->GetInt("tokenizer.ggml.eos_token_id").value(), TinyModelEos({}));
  EXPECT_TRUE(Model::FromFile(file).ok());
}

TEST_F(RandomModelTest, RefusesShapesThatNoModelHas) {
  const auto refused = [&](auto change) {
    RandomModelOptions bad = options_;
    change(bad);
    return WriteRandomModel(bad, path_, &pool_).status().code() ==
           absl::StatusCode::kInvalidArgument;
  };
  EXPECT_TRUE(refused([](auto& o) { o.shape.architecture = "gpt9"; }));
  EXPECT_TRUE(refused([](auto& o) { o.shape.layers = 0; }));
  EXPECT_TRUE(refused([](auto& o) { o.shape.embedding = 1 << 30; }));
  EXPECT_TRUE(refused([](auto& o) { o.shape.kv_heads = 3; }));
  EXPECT_TRUE(refused([](auto& o) { o.shape.head_size = 7; }));
  EXPECT_TRUE(refused([](auto& o) { o.shape.vocabulary = 100; }));
  EXPECT_FALSE(FileExists(path_));
}

TEST_F(RandomModelTest, KnowsPublishedShapes) {
  for (const char* name : {"qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-3b", "qwen3-0.6b",
                           "llama-3.2-1b", "llama-3.2-3b", "llama-3.1-8b"}) {
    EXPECT_TRUE(FindModelShape(name).has_value()) << name;
    EXPECT_NE(ModelShapeNames().find(name), std::string::npos);
  }
  EXPECT_FALSE(FindModelShape("qwen").has_value());
}

}  // namespace
}  // namespace lorikeet
