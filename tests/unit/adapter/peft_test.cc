#include "common/adapter/peft.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "common/adapter/gguf_io.h"
#include "common/adapter/peft_config.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kWidth = 16;

PeftBase Base(const std::string& architecture = "llama") {
  return {.architecture = architecture,
          .name = "tiny",
          .layer_count = 2,
          .head_count = 4,
          .kv_head_count = 2};
}

std::vector<float> Random(Rng& rng, int count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& x : values) x = static_cast<float>(rng.Normal());
  return values;
}

AdapterMatrix RandomMatrix(AdapterTarget target, int rank, AdapterKind kind, Rng& rng) {
  AdapterMatrix matrix;
  matrix.target = target;
  matrix.rank = rank;
  matrix.in_features = kWidth;
  matrix.out_features = target.module == Module::kK ? kWidth / 2 : kWidth;
  matrix.a = Random(rng, rank * matrix.in_features);
  matrix.b = Random(rng, rank * matrix.out_features);
  if (kind == AdapterKind::kCore) matrix.core = Random(rng, rank * rank);
  return matrix;
}

// All modules of all layers; matrix i has rank ranks[i % size].
Adapter RandomAdapter(AdapterKind kind, const std::vector<int>& ranks, float alpha,
                      const std::string& architecture = "llama") {
  Rng rng(7);
  Adapter adapter;
  adapter.info.architecture = architecture;
  adapter.info.name = "friend";
  adapter.info.kind = kind;
  adapter.info.alpha = alpha;
  adapter.info.base_fingerprint = std::string(64, 'a');
  adapter.info.persona_id = "finch \"7\"";
  adapter.info.version = 12;
  adapter.info.parent = std::string(64, 'b');
  for (int i = 0; i < 2 * kModuleCount; ++i) {
    const AdapterTarget target{i / kModuleCount, static_cast<Module>(i % kModuleCount)};
    adapter.matrices.push_back(
        RandomMatrix(target, ranks[static_cast<size_t>(i) % ranks.size()], kind, rng));
  }
  return adapter;
}

absl::StatusOr<Adapter> Import(const PeftFiles& files, const PeftBase& base) {
  const auto weights = SafetensorsFile::Parse(AsBytes(files.weights));
  if (!weights.ok()) return weights.status();
  return FromPeft(files.config, *weights, base);
}

void ExpectSameInfo(const AdapterInfo& got, const AdapterInfo& expected) {
  EXPECT_EQ(got.architecture, expected.architecture);
  EXPECT_EQ(got.name, expected.name);
  EXPECT_EQ(got.alpha, expected.alpha);
  EXPECT_EQ(got.base_fingerprint, expected.base_fingerprint);
  EXPECT_EQ(got.persona_id, expected.persona_id);
  EXPECT_EQ(got.version, expected.version);
  EXPECT_EQ(got.parent, expected.parent);
}

// The tensors of a file by name.
std::map<std::string, std::vector<float>> Tensors(const PeftFiles& files) {
  const auto weights = SafetensorsFile::Parse(AsBytes(files.weights)).value();
  std::map<std::string, std::vector<float>> tensors;
  for (const auto& tensor : weights.tensors()) tensors[tensor.name] = tensor.Values();
  return tensors;
}

TEST(PeftTest, LoraSurvivesToTheBit) {
  for (const char* architecture : {"llama", "qwen2", "qwen3"}) {
    for (const float alpha : {16.0f, 0.0f, 0.3f}) {
      for (const std::vector<int>& ranks : {std::vector<int>{4}, std::vector<int>{4, 2, 4}}) {
        const Adapter adapter = RandomAdapter(AdapterKind::kLora, ranks, alpha, architecture);
        const PeftBase base = Base(architecture);
        const auto files = ToPeft(adapter, base, {});
        ASSERT_TRUE(files.ok()) << files.status();
        const auto back = Import(*files, base);
        ASSERT_TRUE(back.ok()) << back.status();
        for (size_t i = 0; i < adapter.matrices.size(); ++i) {
          EXPECT_EQ(back->matrices[i].target, adapter.matrices[i].target);
          EXPECT_EQ(back->matrices[i].a, adapter.matrices[i].a);
          EXPECT_EQ(back->matrices[i].b, adapter.matrices[i].b);
          EXPECT_EQ(back->BaseScale(back->matrices[i]), adapter.BaseScale(adapter.matrices[i]));
        }
        AdapterInfo expected = adapter.info;
        if (alpha == 0 && ranks.size() == 1) expected.alpha = 4;  // the same scale, 1
        ExpectSameInfo(back->info, expected);
        const auto again = ToPeft(*back, base, {});
        ASSERT_TRUE(again.ok()) << again.status();
        EXPECT_EQ(Tensors(*again), Tensors(*files));
        EXPECT_EQ(again->config, files->config);
      }
    }
  }
}

TEST(PeftTest, CoresLeaveAsPlainLora) {
  const Adapter adapter = RandomAdapter(AdapterKind::kCore, {3}, 6);
  const auto files = ToPeft(adapter, Base(), {});
  ASSERT_TRUE(files.ok()) << files.status();
  const auto weights = SafetensorsFile::Parse(AsBytes(files->weights)).value();
  EXPECT_EQ(weights.metadata().at("lorikeet.adapter.kind"), "core");
  EXPECT_EQ(weights.metadata().at("format"), "pt");
  EXPECT_THAT(weights.metadata().at("lorikeet.note"), HasSubstr("B R"));
  const auto back = Import(*files, Base());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->info.kind, AdapterKind::kLora);
  ExpectSameInfo(back->info, adapter.info);
  for (size_t i = 0; i < adapter.matrices.size(); ++i) {
    EXPECT_EQ(back->matrices[i].a, adapter.matrices[i].a);
    EXPECT_EQ(back->matrices[i].b, adapter.matrices[i].EffectiveB());
  }
}

// Two numbers that rotate together are neighbours in GGUF, half a head apart in PEFT.
TEST(PeftTest, RowsOfLlamaQueriesAndKeysChangePlaces) {
  Adapter adapter;
  adapter.info.architecture = "llama";
  adapter.info.alpha = 1;
  for (const Module module : {Module::kQ, Module::kK, Module::kV}) {
    AdapterMatrix matrix;
    matrix.target = {0, module};
    matrix.rank = matrix.in_features = 1;
    for (int row = 0; row < 8; ++row) matrix.b.push_back(static_cast<float>(row));
    matrix.out_features = 8;
    matrix.a = {1};
    adapter.matrices.push_back(matrix);
  }
  const PeftBase base{
      .architecture = "llama", .name = "", .layer_count = 1, .head_count = 2, .kv_head_count = 1};
  const std::string prefix = "base_model.model.model.layers.0.self_attn.";
  auto tensors = Tensors(ToPeft(adapter, base, {}).value());
  EXPECT_THAT(tensors[prefix + "q_proj.lora_B.weight"], ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
  EXPECT_THAT(tensors[prefix + "k_proj.lora_B.weight"], ElementsAre(0, 2, 4, 6, 1, 3, 5, 7));
  EXPECT_THAT(tensors[prefix + "v_proj.lora_B.weight"], ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  adapter.info.architecture = "qwen2";
  PeftBase qwen = base;
  qwen.architecture = "qwen2";
  tensors = Tensors(ToPeft(adapter, qwen, {}).value());
  EXPECT_THAT(tensors[prefix + "q_proj.lora_B.weight"], ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

TEST(PeftTest, ConfigSaysWhatPeftNeeds) {
  Adapter adapter = RandomAdapter(AdapterKind::kLora, {4}, 16);
  json config = json::parse(ToPeft(adapter, Base(), {.base_model = "org/base"})->config);
  EXPECT_EQ(config["peft_type"], "LORA");
  EXPECT_EQ(config["task_type"], "CAUSAL_LM");
  EXPECT_EQ(config["base_model_name_or_path"], "org/base");
  EXPECT_EQ(config["r"], 4);
  EXPECT_TRUE(config["lora_alpha"].is_number_integer());
  EXPECT_EQ(config["lora_alpha"], 16);
  EXPECT_EQ(config["bias"], "none");
  EXPECT_EQ(config["rank_pattern"], json::object());
  EXPECT_EQ(config["target_modules"],
            json({"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}));
  // One matrix less: its module is now listed layer by layer.
  adapter.matrices.erase(adapter.matrices.begin());
  adapter.matrices.resize(7);  // k v o gate up down of layer 0, q of layer 1
  config = json::parse(ToPeft(adapter, Base(), {})->config);
  EXPECT_EQ(config["base_model_name_or_path"], "tiny");
  EXPECT_EQ(config["target_modules"][0], "model.layers.0.self_attn.k_proj");
  EXPECT_EQ(config["target_modules"][6], "model.layers.1.self_attn.q_proj");
}

// A file of PEFT's: one pair of q_proj in layer 0, one of down_proj in layer 1.
PeftFiles Foreign(const std::function<void(json&)>& change = nullptr,
                  const std::string& second = "model.layers.1.mlp.down_proj", int rank = 2) {
  Rng rng(3);
  SafetensorsWriter writer;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    const int count = static_cast<int>(shape[0] * shape[1]);
    ASSERT_TRUE(
        writer.AddTensor("base_model.model." + name, TensorType::kF32, shape, Random(rng, count))
            .ok());
  };
  add("model.layers.0.self_attn.q_proj.lora_A.weight", {2, kWidth});
  add("model.layers.0.self_attn.q_proj.lora_B.weight", {kWidth, 2});
  add(second + ".lora_A.weight", {rank, kWidth});
  add(second + ".lora_B.weight", {kWidth, rank});
  json config = {{"peft_type", "LORA"},
                 {"r", 2},
                 {"lora_alpha", 4},
                 {"bias", "none"},
                 {"target_modules", ".*_proj"},
                 {"init_lora_weights", true},
                 {"use_dora", false},
                 {"modules_to_save", nullptr},
                 {"lora_dropout", 0.1},
                 {"fan_in_fan_out", true}};
  if (change) change(config);
  return {.weights = writer.Serialize(), .config = config.dump()};
}

TEST(PeftTest, ReadsForeignAdapters) {
  const auto adapter = Import(Foreign(), Base());
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  EXPECT_EQ(adapter->info.alpha, 4);
  EXPECT_EQ(adapter->info.base_fingerprint, "");
  ASSERT_EQ(adapter->matrices.size(), 2u);
  EXPECT_EQ(adapter->matrices[1].target, (AdapterTarget{1, Module::kDown}));
  // Without the language-model head around it.
  EXPECT_TRUE(Import(Foreign(nullptr, "layers.1.mlp.down_proj"), Base()).ok());
}

TEST(PeftTest, RankStabilizedScale) {
  const auto adapter =
      Import(Foreign([](json& config) { config["use_rslora"] = true; }), Base()).value();
  EXPECT_FLOAT_EQ(adapter.BaseScale(adapter.matrices[0]), 4 / std::sqrt(2.0f));
  const auto plain = Import(Foreign(), Base()).value();
  EXPECT_EQ(plain.matrices[0].b, adapter.matrices[0].b);
}

// Alphas that differ have no place in a GGUF file: the scales move into B.
TEST(PeftTest, PatternsOfRankAndAlpha) {
  const auto files = Foreign(
      [](json& config) {
        config["rank_pattern"] = {{"down_proj", 4}};
        config["alpha_pattern"] = {{R"(^model\.layers\.\d+\.mlp.*)", 10}};
      },
      "model.layers.1.mlp.down_proj", 4);
  const auto adapter = Import(files, Base());
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  const auto tensors = Tensors(files);
  const std::vector<float>& b =
      tensors.at("base_model.model.model.layers.1.mlp.down_proj.lora_B.weight");
  EXPECT_EQ(adapter->info.alpha, 0);
  ASSERT_EQ(adapter->matrices[1].rank, 4);
  for (size_t i = 0; i < b.size(); ++i) EXPECT_FLOAT_EQ(adapter->matrices[1].b[i], 2.5f * b[i]);
  // The first row of a head is first in both orders.
  EXPECT_FLOAT_EQ(
      adapter->matrices[0].b[0],
      2 * tensors.at("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight")[0]);
}

TEST(PeftTest, PatternsMatchAsPeftMatchesThem) {
  const std::string path = "model.layers.10.self_attn.q_proj";
  for (const char* pattern : {"q_proj", "self_attn.q_proj", "model.layers.10.self_attn.q_proj",
                              R"(layers\.1\d\..*q_proj)", ".*", "[kq]_proj", "[a-r]_pro?j",
                              "^model.*", "q_proj$", R"(layers\.\d+\.\w+\.\w+)", "q_projx?"}) {
    EXPECT_TRUE(PeftPatternMatches(pattern, path)) << pattern;
    EXPECT_TRUE(CheckPeftPattern(pattern).ok()) << pattern;
  }
  for (const char* pattern : {"_proj", "q_pro", "proj", "^q_proj", R"(layers\.1\..*)", "k_proj",
                              R"(\d+)", "model.layers.1.self_attn.q_proj", "[a-p]_proj"}) {
    EXPECT_FALSE(PeftPatternMatches(pattern, path)) << pattern;
    EXPECT_TRUE(CheckPeftPattern(pattern).ok()) << pattern;
  }
  for (const char* pattern : {"(q|k)_proj", "q_proj{1}", "", "*", "[^q]_proj", R"(\bq_proj)",
                              "[z-a]", "a**", "q$p", "[", R"(\)", "a|b"}) {
    EXPECT_FALSE(CheckPeftPattern(pattern).ok()) << pattern;
    EXPECT_FALSE(PeftPatternMatches(pattern, path)) << pattern;
  }
}

void ExpectImportError(const PeftFiles& files, const std::string& words) {
  const auto adapter = Import(files, Base());
  EXPECT_EQ(adapter.status().code(), absl::StatusCode::kInvalidArgument) << words;
  EXPECT_THAT(std::string(Message(adapter.status())), HasSubstr(words));
}

TEST(PeftTest, ConfigsThatAreNoPlainLora) {
  const auto set = [](const char* key, const json& value) {
    return Foreign([&](json& config) { config[key] = value; });
  };
  ExpectImportError(set("peft_type", "IA3"), "expected \"peft_type\" to be \"LORA\", got \"IA3\"");
  ExpectImportError(set("use_dora", true), "\"use_dora\"");
  ExpectImportError(set("bias", "all"), "\"bias\"");
  ExpectImportError(set("modules_to_save", {"lm_head"}), "got [\"lm_head\"]");
  ExpectImportError(set("lora_bias", true), "\"lora_bias\"");
  ExpectImportError(set("layer_replication", {{0, 4}}), "\"layer_replication\"");
  ExpectImportError(set("init_lora_weights", "pissa_niter_4"), "got \"pissa_niter_4\"");
  ExpectImportError(set("r", 0), "expected \"r\" to be a rank of 1 or more, got 0");
  ExpectImportError(set("r", "8"), "got \"8\"");
  ExpectImportError(set("r", nullptr), "got none");
  ExpectImportError(set("lora_alpha", 0), "\"lora_alpha\"");
  ExpectImportError(set("lora_alpha", 1e300), "\"lora_alpha\"");
  ExpectImportError(set("lora_alpha", 1e-300), "\"lora_alpha\"");  // 0 as a float
  ExpectImportError(set("use_rslora", 1), "\"use_rslora\"");
  ExpectImportError(set("rank_pattern", json::array({1})), "\"rank_pattern\"");
  ExpectImportError(set("rank_pattern", {{"(a|b)", 3}}), "rank_pattern: expected a module's name");
  ExpectImportError(set("alpha_pattern", {{"q_proj", "x"}}), "\"alpha_pattern.q_proj\"");
  ExpectImportError(set("base_model_name_or_path", 3), "\"base_model_name_or_path\"");
  PeftFiles files = Foreign();
  files.config = "[1, 2]";
  ExpectImportError(files, "adapter_config.json: expected a JSON object, got [1,2]");
  files.config = "{";
  ExpectImportError(files, "no JSON");
  files.config = std::string(1 << 20, ' ');
  ExpectImportError(files, "expected at most 262144 bytes");
}

TEST(PeftTest, TensorsThatAreNoPlainLora) {
  ExpectImportError(Foreign(nullptr, "model.layers.2.mlp.down_proj"), "expected 0 to 1");
  ExpectImportError(Foreign(nullptr, "model.layers.01.mlp.down_proj"), "layers.<N>");
  ExpectImportError(Foreign(nullptr, "lm_head"), "base_model.model.lm_head.lora_A.weight");
  ExpectImportError(Foreign(nullptr, "layers.0.self_attn.q_proj"), "mean the same weight");
  ExpectImportError(Foreign([](json& config) { config["rank_pattern"] = {{"down_proj", 3}}; }),
                    "down_proj: expected lora_A [3, in] and lora_B [out, 3]");
  const auto only = [](const std::string& name, float value = 1) {
    SafetensorsWriter writer;
    EXPECT_TRUE(writer.AddTensor(name, TensorType::kF32, {1, 1}, std::vector<float>{value}).ok());
    return PeftFiles{.weights = writer.Serialize(),
                     .config = R"({"peft_type":"LORA","r":1,"lora_alpha":1})"};
  };
  const std::string layer = "base_model.model.model.layers.0.";
  ExpectImportError(only(layer + "mlp.up_proj.lora_A.weight"), "found only lora_A");
  ExpectImportError(only("base_model.model.model.embed_tokens.lora_embedding_A"), "embeddings");
  ExpectImportError(only(layer + "mlp.up_proj.lora_magnitude_vector"), "DoRA");
  ExpectImportError(only(layer + "mlp.up_proj.lora_B.bias"), "trained biases");
  ExpectImportError(only("base_model.model.lm_head.weight"), "modules_to_save?");
  ExpectImportError(only("lora_A.weight"), "expected base_model.model.");
  PeftFiles empty = Foreign();
  empty.weights = SafetensorsWriter().Serialize();
  ExpectImportError(empty, "adapter_model.safetensors: expected LoRA tensors, found none");
}

TEST(PeftTest, HeadsThatDoNotDivide) {
  PeftBase base = Base();
  base.head_count = 5;
  const auto adapter = Import(Foreign(), base);
  EXPECT_THAT(std::string(Message(adapter.status())),
              HasSubstr("blk.0.attn_q.weight: expected rows for 5 heads of an even size, got 16"));
}

TEST(PeftTest, AdaptersThatDoNotFitTheBase) {
  const Adapter adapter = RandomAdapter(AdapterKind::kLora, {2}, 4);
  EXPECT_THAT(std::string(Message(ToPeft(adapter, Base("qwen2"), {}).status())),
              HasSubstr("expected an adapter for qwen2, got one for \"llama\""));
  PeftBase shallow = Base();
  shallow.layer_count = 1;
  EXPECT_FALSE(ToPeft(adapter, shallow, {}).ok());
  EXPECT_FALSE(ToPeft(Adapter{.info = adapter.info, .matrices = {}}, Base(), {}).ok());
}

TEST(PeftTest, DirectoriesRoundTrip) {
  const std::string directory = MakeTempDir("peft") + "/made/here";
  const Adapter adapter = RandomAdapter(AdapterKind::kLora, {4}, 8);
  ASSERT_TRUE(
      ExportPeft(adapter, Base(), {.type = TensorType::kF16, .base_model = ""}, directory).ok());
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++files;
  EXPECT_EQ(files, 2);
  const auto back = ImportPeft(directory, Base());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_NEAR(back->matrices[0].a[0], adapter.matrices[0].a[0], 2e-3);
  // What was rounded once is not rounded again.
  ASSERT_TRUE(
      ExportPeft(*back, Base(), {.type = TensorType::kF16, .base_model = ""}, directory + "/2")
          .ok());
  EXPECT_EQ(ReadFile(directory + "/2/adapter_model.safetensors").value(),
            ReadFile(directory + "/adapter_model.safetensors").value());
  std::filesystem::rename(directory + "/adapter_model.safetensors",
                          directory + "/adapter_model.bin");
  EXPECT_THAT(std::string(Message(ImportPeft(directory, Base()).status())),
              HasSubstr("got adapter_model.bin"));
}

TEST(PeftTest, ANamelessAdapterIsCalledAsItsDirectory) {
  const std::string directory = MakeTempDir("peft") + "/sparrow";
  const PeftFiles files = Foreign();
  ASSERT_TRUE(MakeDirs(directory).ok());
  ASSERT_TRUE(WriteFileAtomic(directory + "/adapter_model.safetensors", files.weights).ok());
  ASSERT_TRUE(WriteFileAtomic(directory + "/adapter_config.json", files.config).ok());
  EXPECT_EQ(ImportPeft(directory + "/", Base())->info.name, "sparrow");
}

TEST(PeftTest, TheBaseIsReadFromItsFile) {
  const auto file = GgufFile::Open(WriteTinyModel()).value();
  const auto base = ReadPeftBase(*file);
  ASSERT_TRUE(base.ok()) << base.status();
  EXPECT_EQ(base->architecture, "llama");
  EXPECT_EQ(base->layer_count, 2);
  EXPECT_EQ(base->head_count, 4);
  EXPECT_EQ(base->kv_head_count, 2);
  GgufWriter writer;
  writer.AddString("general.architecture", "gemma");
  const std::string bytes = writer.Serialize();
  const auto other = GgufFile::Parse(AsBytes(bytes), "gemma.gguf").value();
  EXPECT_THAT(std::string(Message(ReadPeftBase(*other).status())),
              HasSubstr("gemma.gguf: expected architecture llama, qwen2 or qwen3, got \"gemma\""));
}

}  // namespace
}  // namespace lorikeet
