// Loading of base models: what is read, and what is refused with which words.
#include "device/model/model.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"
#include "device/model/weights_only_model.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/model/naive_forward.h"

namespace lorikeet {
namespace {

std::shared_ptr<const GgufFile> OpenTiny(const TinyModelOptions& options = {}) {
  return *GgufFile::Open(WriteTinyModel(options));
}

struct Change {
  std::vector<std::string> drop_keys;
  std::vector<std::string> drop_tensors;
  std::function<void(GgufWriter&)> add;
};

// `file` with keys and tensors left out and others added.
absl::StatusOr<std::shared_ptr<const Model>> LoadChanged(const GgufFile& file,
                                                         const Change& change) {
  const auto dropped = [](const std::vector<std::string>& list, std::string_view name) {
    return std::find(list.begin(), list.end(), name) != list.end();
  };
  GgufWriter writer;
  for (const auto& [key, value] : file.metadata()) {
    if (!dropped(change.drop_keys, key)) writer.CopyMetadata(file, key);
  }
  for (const GgufTensor& t : file.tensors()) {
    if (!dropped(change.drop_tensors, t.name)) writer.AddTensor(t.name, t.type, t.shape, t.data);
  }
  if (change.add) change.add(writer);
  const std::string path = MakeTempDir("model-test") + "/changed.gguf";
  EXPECT_TRUE(writer.Write(path).ok());
  return Model::Load(path);
}

// Loading fails as INVALID_ARGUMENT with `words` in the message.
void ExpectRefused(const GgufFile& file, const Change& change, std::string_view words) {
  const auto model = LoadChanged(file, change);
  ASSERT_FALSE(model.ok()) << words;
  EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << model.status();
  EXPECT_TRUE(absl::StrContains(model.status().message(), ToAbsl(words))) << model.status();
}

TEST(Model, ReadsTheConfiguration) {
  TinyModelOptions options;
  options.architecture = "qwen2";
  options.tied = false;
  const auto model = Model::Load(WriteTinyModel(options));
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelConfig& c = (*model)->config();
  EXPECT_EQ(c.architecture, "qwen2");
  EXPECT_EQ(c.vocabulary_size, options.vocab);
  EXPECT_EQ(c.layer_count, options.layers);
  EXPECT_EQ(c.embedding_length, options.dim);
  EXPECT_EQ(c.head_count, options.heads);
  EXPECT_EQ(c.kv_head_count, options.kv_heads);
  EXPECT_EQ(c.head_size, options.dim / options.heads);
  EXPECT_EQ(c.feed_forward_length, options.ffn);
  EXPECT_EQ(c.context_length, options.context);
  EXPECT_TRUE(c.rope_half_split);
  EXPECT_FALSE(c.tied_output);
  EXPECT_NE((*model)->layer(1).bias_q, nullptr);
  EXPECT_NE((*model)->output().data, (*model)->token_embedding().data);
  EXPECT_EQ((*model)->fingerprint().size(), 64u);
}

TEST(Model, FingerprintIsOfTheWeights) {
  TinyModelOptions other;
  other.seed = 2;
  const auto a = *Model::Load(WriteTinyModel());
  const auto b = *Model::Load(WriteTinyModel());
  const auto c = *Model::Load(WriteTinyModel(other));
  EXPECT_EQ(a->fingerprint(), b->fingerprint());
  EXPECT_NE(a->fingerprint(), c->fingerprint());
}

TEST(Model, ScalesRopeLinearly) {
  const auto file = OpenTiny();
  const auto plain = LoadChanged(*file, {});
  const auto scaled =
      LoadChanged(*file, {.drop_keys = {}, .drop_tensors = {}, .add = [](GgufWriter& w) {
                            w.AddString("llama.rope.scaling.type", "linear");
                            w.AddFloat32("llama.rope.scaling.factor", 4.0f);
                          }});
  ASSERT_TRUE(plain.ok() && scaled.ok());
  const auto& a = (*plain)->rope_inverse_frequencies();
  const auto& b = (*scaled)->rope_inverse_frequencies();
  EXPECT_FLOAT_EQ(a[0], 1.0f);
  for (size_t i = 0; i < a.size(); ++i) EXPECT_FLOAT_EQ(b[i], a[i] / 4);
}

TEST(Model, DividesFrequenciesByTheirFactors) {
  TinyModelOptions options;
  const auto plain = *Model::Load(WriteTinyModel(options));
  options.rope_freqs = true;
  const auto divided = *Model::Load(WriteTinyModel(options));
  const size_t last = plain->rope_inverse_frequencies().size() - 1;
  EXPECT_FLOAT_EQ(divided->rope_inverse_frequencies()[0], plain->rope_inverse_frequencies()[0]);
  EXPECT_FLOAT_EQ(divided->rope_inverse_frequencies()[last],
                  plain->rope_inverse_frequencies()[last] / 8);
}

TEST(Model, RefusesWhatItCannotCompute) {
  const auto file = OpenTiny();
  const auto with = [](std::function<void(GgufWriter&)> add, std::vector<std::string> keys = {}) {
    return Change{.drop_keys = std::move(keys), .drop_tensors = {}, .add = std::move(add)};
  };
  ExpectRefused(
      *file,
      with([](auto& w) { w.AddString("general.architecture", "mamba"); }, {"general.architecture"}),
      "unsupported architecture \"mamba\"; supported: llama, qwen2, qwen3");
  ExpectRefused(*file, with([](auto& w) { w.AddString("general.type", "adapter"); }),
                "expected a model, got general.type = \"adapter\"");
  ExpectRefused(*file, with([](auto& w) { w.AddString("llama.rope.scaling.type", "longrope"); }),
                "unsupported rope scaling \"longrope\"; supported: none, linear, yarn");
  ExpectRefused(*file, with([](auto& w) { w.AddUint32("llama.expert_count", 8); }),
                "expected a dense model");
  ExpectRefused(*file, with([](auto& w) { w.AddUint32("llama.attention.value_length", 8); }),
                "expected values as long as keys");
  ExpectRefused(*file,
                with([](auto& w) { w.AddUint32("llama.attention.head_count_kv", 3); },
                     {"llama.attention.head_count_kv"}),
                "4 heads do not divide by 3");
  ExpectRefused(
      *file,
      with([](auto& w) { w.AddUint32("llama.rope.dimension_count", 17); },
           {"llama.rope.dimension_count"}),
      "llama.rope.dimension_count: expected an even number up to the head size 16, got 17");
  ExpectRefused(
      *file,
      with([](auto& w) { w.AddUint32("llama.block_count", 1u << 20); }, {"llama.block_count"}),
      "llama.block_count is 1048576, the file has only");
  ExpectRefused(
      *file,
      with([](auto& w) { w.AddUint32("llama.embedding_length", 0); }, {"llama.embedding_length"}),
      "llama.embedding_length: expected 1 to");
  ExpectRefused(*file, with([](auto& w) {
    w.AddTensor("blk.0.attn_q_norm.weight", {16}, std::vector<float>(16, 1.0f));
  }),
                "tensor blk.0.attn_q_norm.weight is not part of architecture llama");
}

TEST(Model, RefusesMissingAndMisshapenTensors) {
  const auto file = OpenTiny();
  const auto replace = [](std::string name, std::vector<int64_t> shape) {
    return Change{.drop_keys = {}, .drop_tensors = {name}, .add = [=](GgufWriter& w) {
                    int64_t count = 1;
                    for (const int64_t n : shape) count *= n;
                    w.AddTensor(name, shape, std::vector<float>(count, 0.0f));
                  }};
  };
  const auto drop = [](std::string name) {
    return Change{.drop_keys = {}, .drop_tensors = {std::move(name)}, .add = nullptr};
  };
  ExpectRefused(*file, drop("blk.1.ffn_up.weight"), "no tensor blk.1.ffn_up.weight");
  ExpectRefused(*file, drop("token_embd.weight"), "no tensor token_embd.weight");
  ExpectRefused(*file, drop("output_norm.weight"), "no tensor output_norm.weight");
  ExpectRefused(*file, replace("blk.0.attn_k.weight", {64, 64}),
                "blk.0.attn_k.weight: expected shape [32, 64], got [64, 64]");
  ExpectRefused(*file, replace("blk.0.ffn_norm.weight", {32}),
                "blk.0.ffn_norm.weight: expected shape [64], got [32]");
  TinyModelOptions options;
  options.architecture = "qwen2";
  ExpectRefused(*OpenTiny(options), drop("blk.0.attn_v.bias"), "no tensor blk.0.attn_v.bias");
}

TEST(WeightsOnlyModel, IsTheModelWithoutItsVocabulary) {
  const std::string path = WriteTinyModel();
  const auto whole = Model::Load(path);
  const auto weights = LoadWeightsOnlyModel(path);
  ASSERT_TRUE(whole.ok() && weights.ok()) << weights.status();
  EXPECT_EQ((*weights)->fingerprint(), (*whole)->fingerprint());
  EXPECT_EQ((*weights)->config().vocabulary_size, (*whole)->config().vocabulary_size);
  EXPECT_EQ((*weights)->file().tensors().size(), (*whole)->file().tensors().size());
  EXPECT_TRUE((*whole)->file().Has("tokenizer.ggml.tokens"));
  EXPECT_FALSE((*weights)->file().Has("tokenizer.ggml.tokens"));
  EXPECT_TRUE((*weights)->file().Has("tokenizer.ggml.model"));
  // What is left out was looked at.
  std::string bytes = TinyModelBytes();
  bytes.resize(bytes.size() / 2);
  const std::string cut = MakeTempDir("weights-only") + "/cut.gguf";
  ASSERT_TRUE(WriteFileAtomic(cut, bytes).ok());
  EXPECT_EQ(LoadWeightsOnlyModel(cut).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(Model, ChecksAdapters) {
  const auto model = *Model::Load(WriteTinyModel());
  const Adapter good =
      RandomAdapter(model->file(), AdapterKind::kLora, 2, {Module::kQ, Module::kUp}, 1);
  EXPECT_TRUE(model->CheckAdapter(good).ok());

  Adapter named = good;
  named.info.base_fingerprint = model->fingerprint();
  EXPECT_TRUE(model->CheckAdapter(named).ok());
  named.info.base_fingerprint = std::string(64, 'a');
  const absl::Status wrong_base = model->CheckAdapter(named);
  EXPECT_EQ(wrong_base.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(absl::StrContains(wrong_base.message(), std::string(64, 'a')));
  EXPECT_TRUE(absl::StrContains(wrong_base.message(), model->fingerprint()));

  Adapter wide = good;
  wide.matrices[1].out_features = 7;
  const absl::Status wrong_shape = model->CheckAdapter(wide);
  EXPECT_EQ(wrong_shape.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(wrong_shape.message(), "blk.0.ffn_up.weight")) << wrong_shape;

  Adapter deep = good;
  deep.matrices[0].target.layer_index = 2;
  EXPECT_EQ(model->CheckAdapter(deep).code(), absl::StatusCode::kInvalidArgument);
  Adapter foreign = good;
  foreign.info.architecture = "qwen2";
  EXPECT_EQ(model->CheckAdapter(foreign).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lorikeet
