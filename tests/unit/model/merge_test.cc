#include "device/model/merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "kernels/quant.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

// Of every module of layer 1.
Adapter RandomAdapter(const Model& model, AdapterKind kind, int rank) {
  Rng rng(static_cast<uint64_t>(rank));
  const auto values = [&](int64_t count) {
    std::vector<float> result(static_cast<size_t>(count));
    for (float& value : result) value = static_cast<float>(rng.Normal());
    return result;
  };
  Adapter adapter;
  adapter.info.architecture = model.config().architecture;
  adapter.info.kind = kind;
  adapter.info.alpha = 3;
  for (int m = 0; m < kModuleCount; ++m) {
    const WeightView& weight = model.layer(1).weight(static_cast<Module>(m));
    AdapterMatrix matrix;
    matrix.target = {1, static_cast<Module>(m)};
    matrix.rank = rank;
    matrix.in_features = static_cast<int>(weight.cols);
    matrix.out_features = static_cast<int>(weight.rows);
    matrix.a = values(rank * weight.cols);
    matrix.b = values(rank * weight.rows);
    if (kind == AdapterKind::kCore) matrix.core = values(rank * rank);
    adapter.matrices.push_back(std::move(matrix));
  }
  return adapter;
}

std::vector<float> Numbers(const GgufTensor& tensor) {
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  DequantizeRow(tensor.type, tensor.data.data(), tensor.elements(), values.data());
  return values;
}

// Weight and what the adapters add, [row, column] = W + sum s B A.
std::vector<float> Expected(const GgufTensor& base, const std::vector<AdapterRef>& adapters) {
  std::vector<float> values = Numbers(base);
  for (const AdapterRef& reference : adapters) {
    for (const AdapterMatrix& matrix : reference.adapter->matrices) {
      if (WeightName(matrix.target.layer_index, matrix.target.module) != base.name) continue;
      const std::vector<float> b = matrix.EffectiveB();
      const double scale = double{reference.scale} * reference.adapter->BaseScale(matrix);
      for (size_t i = 0; i < values.size(); ++i) {
        const size_t row = i / static_cast<size_t>(matrix.in_features);
        const size_t column = i % static_cast<size_t>(matrix.in_features);
        double sum = 0;
        for (size_t r = 0; r < static_cast<size_t>(matrix.rank); ++r) {
          sum += double{b[row * static_cast<size_t>(matrix.rank) + r]} *
                 matrix.a[r * static_cast<size_t>(matrix.in_features) + column];
        }
        values[i] = static_cast<float>(values[i] + scale * sum);
      }
    }
  }
  return values;
}

class MergeTest : public testing::Test {
 protected:
  std::shared_ptr<const Model> Tiny(TensorType type) {
    TinyModelOptions options;
    options.type = type;
    return Model::Load(WriteTinyModel(options)).value();
  }

  ThreadPool pool_{2};
  const std::string path_ = MakeTempDir("merge") + "/out.gguf";
};

TEST_F(MergeTest, EveryWeightIsTheSum) {
  const auto model = Tiny(TensorType::kF32);
  const Adapter lora = RandomAdapter(*model, AdapterKind::kLora, 3);
  const Adapter core = RandomAdapter(*model, AdapterKind::kCore, 2);
  const std::vector<AdapterRef> adapters = {{&lora, 0.5f}, {&core, -1.0f}};
  const auto result = MergeIntoBase(*model, {.adapters = adapters, .type = {}}, path_, &pool_);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->tensors_changed, kModuleCount);
  EXPECT_EQ(result->rmse, 0);
  const auto merged = Model::Load(path_);
  ASSERT_TRUE(merged.ok()) << merged.status();
  EXPECT_NE((*merged)->fingerprint(), model->fingerprint());
  for (const GgufTensor& tensor : model->file().tensors()) {
    const std::vector<float> expected = Expected(tensor, adapters);
    const std::vector<float> got = Numbers(*(*merged)->file().FindTensor(tensor.name));
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(got[i], expected[i], 2e-5);
  }
  EXPECT_EQ((*merged)->file().metadata().size(), model->file().metadata().size());
}

TEST_F(MergeTest, EachTensorKeepsItsTypeOrGetsAnother) {
  const auto model = Tiny(TensorType::kQ8_0);
  const Adapter lora = RandomAdapter(*model, AdapterKind::kLora, 2);
  const std::vector<AdapterRef> adapters = {{&lora, 1.0f}};
  ASSERT_TRUE(MergeIntoBase(*model, {.adapters = adapters, .type = {}}, path_, &pool_).ok());
  const auto same = GgufFile::Open(path_).value();
  for (const GgufTensor& tensor : model->file().tensors()) {
    const GgufTensor& merged = *same->FindTensor(tensor.name);
    EXPECT_EQ(merged.type, tensor.type) << tensor.name;
    const bool edited = tensor.name.starts_with("blk.1.") && tensor.rows() > 1;
    EXPECT_EQ(std::ranges::equal(merged.data, tensor.data), !edited) << tensor.name;
    const std::vector<float> expected = Expected(tensor, adapters), got = Numbers(merged);
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 0.2);
  }
  const auto result =
      MergeIntoBase(*model, {.adapters = adapters, .type = FileType::kF16}, path_, &pool_);
  ASSERT_TRUE(result.ok()) << result.status();
  const auto half = GgufFile::Open(path_).value();
  EXPECT_EQ(half->FindTensor("blk.0.attn_q.weight")->type, TensorType::kF16);
  EXPECT_EQ(half->GetInt("general.file_type").value(), 1);
}

TEST_F(MergeTest, ThreadsDoNotChangeTheFile) {
  const auto model = Tiny(TensorType::kQ4_0);
  const Adapter lora = RandomAdapter(*model, AdapterKind::kLora, 2);
  const std::vector<AdapterRef> adapters = {{&lora, 1.0f}};
  ThreadPool one(1);
  ASSERT_TRUE(MergeIntoBase(*model, {.adapters = adapters, .type = {}}, path_, &pool_).ok());
  const std::string first = ReadFile(path_).value();
  ASSERT_TRUE(MergeIntoBase(*model, {.adapters = adapters, .type = {}}, path_, &one).ok());
  EXPECT_EQ(ReadFile(path_).value(), first);
}

TEST_F(MergeTest, WhatCannotBeMergedLeavesNothing) {
  const auto model = Tiny(TensorType::kF16);
  Adapter lora = RandomAdapter(*model, AdapterKind::kLora, 2);
  const auto merge = [&](float scale) {
    const std::vector<AdapterRef> adapters = {{&lora, scale}};
    const auto result = MergeIntoBase(*model, {.adapters = adapters, .type = {}}, path_, &pool_);
    EXPECT_FALSE(FileExists(path_));
    return std::string(Message(result.status()));
  };
  EXPECT_THAT(merge(1e9f), HasSubstr("expected values up to 65504 for F16"));
  lora.info.base_fingerprint = std::string(64, 'a');
  EXPECT_THAT(merge(1), HasSubstr(std::string(64, 'a')));
  lora.info.base_fingerprint.clear();
  lora.matrices[0].b[0] = NAN;
  EXPECT_THAT(merge(1), HasSubstr("not finite"));
  EXPECT_THAT(std::string(Message(MergeIntoBase(*model, {}, path_, &pool_).status())),
              HasSubstr("at least one adapter"));
}

}  // namespace
}  // namespace lorikeet
