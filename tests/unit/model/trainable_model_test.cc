#include "device/model/trainable_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "kernels/quant.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/model/naive_forward.h"

namespace lorikeet {
namespace {

std::shared_ptr<const Model> LoadTiny(const TinyModelOptions& options) {
  return Model::Load(WriteTinyModel(options)).value();
}

std::vector<float> Numbers(const GgufTensor& tensor) {
  std::vector<float> values(tensor.elements());
  const int64_t row_bytes = RowBytes(tensor.type, tensor.row_length());
  for (int64_t r = 0; r < tensor.rows(); ++r) {
    DequantizeRow(tensor.type, tensor.data.data() + r * row_bytes, tensor.row_length(),
                  values.data() + r * tensor.row_length());
  }
  return values;
}

TEST(TrainableModelTest, HoldsTheNumbersOfEveryTypeOfFile) {
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kQ4_0}) {
    const auto base = LoadTiny({.architecture = "qwen2", .type = type, .tied = false});
    const auto trainable = TrainableModel::Create(*base).value();
    ASSERT_EQ(trainable->tensors().size(), base->file().tensors().size());
    for (size_t i = 0; i < trainable->tensors().size(); ++i) {
      const TrainableTensor& tensor = trainable->tensors()[i];
      const GgufTensor& before = base->file().tensors()[i];
      EXPECT_EQ(tensor.name, before.name);
      EXPECT_EQ(tensor.rows, before.rows());
      EXPECT_EQ(tensor.columns, before.row_length());
      const std::vector<float> want = Numbers(before);
      EXPECT_TRUE(std::equal(want.begin(), want.end(), tensor.values.begin(), tensor.values.end()))
          << tensor.name;
    }
    EXPECT_EQ(trainable->dequantized(), type == TensorType::kF32 ? 0 : 16) << TraitsOf(type).name;
  }
}

const float* Floats(const WeightView& weight) {
  return reinterpret_cast<const float*>(weight.data);
}

// Every pointer of the model leads to the numbers that can be changed.
TEST(TrainableModelTest, TheModelReadsTheNumbersWhereTheyAre) {
  const auto base = LoadTiny({.architecture = "qwen2", .tied = false});
  const auto trainable = TrainableModel::Create(*base).value();
  const std::shared_ptr<const Model> model = trainable->model();
  std::map<std::string, const float*> read = {
      {"token_embd.weight", Floats(model->token_embedding())},
      {"output.weight", Floats(model->output())},
      {"output_norm.weight", model->output_norm()}};
  for (int i = 0; i < model->config().layer_count; ++i) {
    const LayerWeights& layer = model->layer(i);
    const std::string prefix = absl::StrCat("blk.", i, ".");
    read[prefix + "attn_norm.weight"] = layer.attention_norm;
    read[prefix + "ffn_norm.weight"] = layer.ffn_norm;
    read[prefix + "attn_q.bias"] = layer.bias_q;
    read[prefix + "attn_k.bias"] = layer.bias_k;
    read[prefix + "attn_v.bias"] = layer.bias_v;
    for (int m = 0; m < kModuleCount; ++m) {
      read[WeightName(i, static_cast<Module>(m))] = Floats(layer.weights[m]);
    }
  }
  ASSERT_EQ(trainable->tensors().size(), read.size());
  for (const TrainableTensor& tensor : trainable->tensors()) {
    EXPECT_EQ(tensor.values.data(), read[tensor.name]) << tensor.name;
  }
}

TEST(TrainableModelTest, TheModelKeepsItsMemoryAlive) {
  const std::vector<int> tokens = {3, 1, 4, 1, 5};
  const auto base = LoadTiny({});
  auto trainable = TrainableModel::Create(*base).value();
  const std::shared_ptr<const Model> model = trainable->model();
  EXPECT_EQ(NaiveLogits(model->file(), tokens), NaiveLogits(base->file(), tokens));
  trainable->tensors()[0].values[3 * 64] += 1.0f;
  trainable.reset();
  EXPECT_NE(NaiveLogits(model->file(), tokens), NaiveLogits(base->file(), tokens));
}

TEST(TrainableModelTest, WritesAnF32FileWithTheSameMetadata) {
  const std::string path = MakeTempDir("trainable") + "/out.gguf";
  const auto base = LoadTiny({.type = TensorType::kQ8_0, .rope_freqs = true});
  auto trainable = TrainableModel::Create(*base).value();
  for (const TrainableTensor& tensor : trainable->tensors()) {
    EXPECT_NE(tensor.name, "rope_freqs.weight") << "not for learning";
    tensor.values[0] = 0.25f;
  }
  ASSERT_TRUE(trainable->Write(path).ok());
  const auto written = Model::Load(path).value();
  const GgufFile& file = written->file();
  EXPECT_EQ(file.GetInt("general.file_type").value(), 0);
  for (const auto& [key, value] : base->file().metadata()) {
    if (key == "general.file_type" || key == "general.quantization_version") continue;
    const auto want = base->file().RawMetadata(key), got = file.RawMetadata(key);
    EXPECT_TRUE(std::equal(want.begin(), want.end(), got.begin(), got.end())) << key;
  }
  EXPECT_EQ(file.tensors().size(), base->file().tensors().size());
  for (const TrainableTensor& tensor : trainable->tensors()) {
    const GgufTensor* there = file.FindTensor(tensor.name);
    ASSERT_EQ(there->type, TensorType::kF32) << tensor.name;
    const std::vector<float> got = Numbers(*there);
    EXPECT_EQ(got[0], 0.25f) << tensor.name;
    EXPECT_TRUE(std::equal(got.begin(), got.end(), tensor.values.begin())) << tensor.name;
  }
  EXPECT_EQ(written->rope_inverse_frequencies(), base->rope_inverse_frequencies());
  EXPECT_EQ(written->fingerprint(), trainable->model()->fingerprint());
}

TEST(TrainableModelTest, SaysWhenItCannotWrite) {
  const auto trainable = TrainableModel::Create(*LoadTiny({})).value();
  const std::string folder = MakeTempDir("trainable");
  EXPECT_FALSE(trainable->Write(folder + "/absent/out.gguf").ok());
  EXPECT_FALSE(FileExists(folder + "/absent"));
}

}  // namespace
}  // namespace lorikeet
