#include "common/adapter/adapter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "common/adapter/gguf_io.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Sizes {
  int layers = 2;
  int rank = 4;
  int in = 6;
  int out = 5;
};

std::vector<float> Random(Rng& rng, int count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& x : values) x = static_cast<float>(rng.Normal());
  return values;
}

// Factors from `factor_seed`, cores from `core_seed`.
Adapter MakeAdapter(AdapterKind kind, uint64_t factor_seed, uint64_t core_seed, Sizes sizes = {}) {
  Rng factors(factor_seed), cores(core_seed);
  Adapter adapter;
  adapter.info.architecture = "llama";
  adapter.info.name = "test";
  adapter.info.kind = kind;
  adapter.info.alpha = 8;
  for (int layer = 0; layer < sizes.layers; ++layer) {
    for (const Module module : {Module::kQ, Module::kDown}) {
      AdapterMatrix matrix;
      matrix.target = {layer, module};
      matrix.rank = sizes.rank;
      matrix.in_features = sizes.in;
      matrix.out_features = sizes.out;
      matrix.a = Random(factors, sizes.rank * sizes.in);
      matrix.b = Random(factors, sizes.out * sizes.rank);
      if (kind == AdapterKind::kCore) matrix.core = Random(cores, sizes.rank * sizes.rank);
      adapter.matrices.push_back(std::move(matrix));
    }
  }
  return adapter;
}

absl::StatusOr<Adapter> Read(const std::string& bytes) {
  const auto file = GgufFile::Parse(AsBytes(bytes), "test.gguf");
  if (!file.ok()) return file.status();
  return ReadAdapter(**file);
}

void ExpectReadError(const GgufWriter& writer, std::string_view words) {
  const auto adapter = Read(writer.Serialize());
  EXPECT_EQ(adapter.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(adapter.status())), HasSubstr(words));
}

void AddHeader(GgufWriter& writer, std::string_view kind = "lora") {
  writer.AddString("general.type", "adapter");
  writer.AddString("general.architecture", "llama");
  writer.AddString("adapter.type", "lora");
  writer.AddFloat32("adapter.lora.alpha", 16);
  writer.AddString("lorikeet.adapter.kind", kind);
}

TEST(AdapterTest, NamesOfWeightsAndModules) {
  EXPECT_EQ(WeightName(3, Module::kQ), "blk.3.attn_q.weight");
  EXPECT_EQ(WeightName(0, Module::kO), "blk.0.attn_output.weight");
  for (int m = 0; m < kModuleCount; ++m) {
    const auto target = ParseWeightName(WeightName(12, static_cast<Module>(m)));
    ASSERT_TRUE(target.has_value());
    EXPECT_EQ(target->layer_index, 12);
    EXPECT_EQ(target->module, static_cast<Module>(m));
  }
  for (const char* bad :
       {"", "blk.", "blk.1", "blk.1.", "blk.x.attn_q.weight", "blk.01.attn_q.weight",
        "blk.-1.attn_q.weight", "blk.1.attn_norm.weight", "blk.1.attn_q.weight.lora_a",
        "blk.99999999999.attn_q.weight", "token_embd.weight"}) {
    EXPECT_FALSE(ParseWeightName(bad).has_value()) << bad;
  }
}

TEST(AdapterTest, ParsesModuleLists) {
  EXPECT_EQ(ParseModules("all").value().size(), 7u);
  EXPECT_THAT(ParseModules("v,q").value(), ElementsAre(Module::kQ, Module::kV));
  for (const char* bad : {"", "q,", "x", "q;v", "all,q"}) {
    EXPECT_EQ(ParseModules(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
  EXPECT_THAT(std::string(Message(ParseModules("q,head").status())), HasSubstr("\"head\""));
}

TEST(AdapterTest, EffectiveBIsTheProduct) {
  AdapterMatrix matrix;
  matrix.rank = 2;
  matrix.out_features = 1;
  matrix.b = {1, 2};
  EXPECT_THAT(matrix.EffectiveB(), ElementsAre(1, 2));
  matrix.core = {1, 10, 100, 1000};
  EXPECT_THAT(matrix.EffectiveB(), ElementsAre(201, 2010));
}

TEST(AdapterTest, CountsTrainedNumbersAndScales) {
  EXPECT_EQ(MakeAdapter(AdapterKind::kLora, 1, 2).ParameterCount(), 4 * (4 * 6 + 5 * 4));
  Adapter core = MakeAdapter(AdapterKind::kCore, 1, 2);
  EXPECT_EQ(core.ParameterCount(), 4 * 16);
  EXPECT_EQ(core.BaseScale(core.matrices[0]), 2.0f);
  core.info.alpha = 0;
  EXPECT_EQ(core.BaseScale(core.matrices[0]), 1.0f);
}

TEST(AdapterTest, BlendAddsWhatTheAdaptersAdd) {
  const Adapter x = MakeAdapter(AdapterKind::kCore, 1, 2);
  Adapter y = MakeAdapter(AdapterKind::kCore, 1, 3);
  y.info.alpha = 2;  // other scale: the blend counts what is added, not the raw cores
  const Adapter blend = BlendCores({&x, &y}, {0.25f, -2.0f}).value();
  for (size_t m = 0; m < x.matrices.size(); ++m) {
    const auto bx = x.matrices[m].EffectiveB(), by = y.matrices[m].EffectiveB();
    const auto b = blend.matrices[m].EffectiveB();
    for (size_t i = 0; i < b.size(); ++i) {
      const double expected =
          0.25 * x.BaseScale(x.matrices[m]) * bx[i] - 2.0 * y.BaseScale(y.matrices[m]) * by[i];
      EXPECT_NEAR(blend.BaseScale(blend.matrices[m]) * b[i], expected, 1e-4);
    }
  }
}

TEST(AdapterTest, BlendRefusesWhatDoesNotAdd) {
  const Adapter x = MakeAdapter(AdapterKind::kCore, 1, 2);
  const Adapter other_factors = MakeAdapter(AdapterKind::kCore, 9, 2);
  const Adapter lora = MakeAdapter(AdapterKind::kLora, 1, 2);
  Adapter fewer = x, moved = x, based = x;
  fewer.matrices.pop_back();
  moved.matrices.back().target.layer_index = 7;
  based.info.base_fingerprint = std::string(64, 'a');
  for (const Adapter* bad : std::vector<const Adapter*>{&other_factors, &lora, &fewer, &moved}) {
    EXPECT_EQ(BlendCores({&x, bad}, {1, 1}).status().code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(BlendCores({&x, &based}, {1, 1}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(BlendCores({}, {}).ok());
  EXPECT_FALSE(BlendCores({&x}, {1, 1}).ok());
  EXPECT_FALSE(BlendCores({&x}, {std::numeric_limits<float>::infinity()}).ok());
}

TEST(AdapterTest, ScaleMultipliesWhatIsAdded) {
  for (const AdapterKind kind : {AdapterKind::kLora, AdapterKind::kCore}) {
    const Adapter adapter = MakeAdapter(kind, 1, 2);
    const Adapter half = ScaleAdapter(adapter, 0.5f);
    const auto b = adapter.matrices[1].EffectiveB(), h = half.matrices[1].EffectiveB();
    for (size_t i = 0; i < b.size(); ++i) EXPECT_NEAR(h[i], 0.5 * b[i], 1e-6);
    EXPECT_EQ(half.matrices[1].a, adapter.matrices[1].a);
  }
}

TEST(AdapterIoTest, RoundTripsBothKinds) {
  for (const AdapterKind kind : {AdapterKind::kLora, AdapterKind::kCore}) {
    Adapter adapter = MakeAdapter(kind, 1, 2);
    adapter.info.base_fingerprint = std::string(64, 'b');
    adapter.info.parent = std::string(64, 'c');
    adapter.info.persona_id = "sailor";
    adapter.info.version = 17;
    const std::string path = MakeTempDir("adapter") + "/a.gguf";
    ASSERT_TRUE(WriteAdapter(adapter, path).ok());
    const auto read = ReadAdapter(path);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->info.kind, kind);
    EXPECT_EQ(read->info.architecture, "llama");
    EXPECT_EQ(read->info.name, "test");
    EXPECT_EQ(read->info.alpha, 8.0f);
    EXPECT_EQ(read->info.base_fingerprint, adapter.info.base_fingerprint);
    EXPECT_EQ(read->info.parent, adapter.info.parent);
    EXPECT_EQ(read->info.persona_id, "sailor");
    EXPECT_EQ(read->info.version, 17u);
    ASSERT_EQ(read->matrices.size(), adapter.matrices.size());
    for (size_t m = 0; m < adapter.matrices.size(); ++m) {
      EXPECT_EQ(read->matrices[m].target, adapter.matrices[m].target);
      EXPECT_EQ(read->matrices[m].a, adapter.matrices[m].a);
      EXPECT_EQ(read->matrices[m].b, adapter.matrices[m].b);
      EXPECT_EQ(read->matrices[m].core, adapter.matrices[m].core);
    }
    EXPECT_EQ(SerializeAdapter(*read), SerializeAdapter(adapter));
  }
}

TEST(AdapterIoTest, CoreFilesHoldTheProductForOtherRuntimes) {
  const Adapter adapter = MakeAdapter(AdapterKind::kCore, 1, 2);
  const std::string bytes = SerializeAdapter(adapter);
  const auto file = GgufFile::Parse(AsBytes(bytes), "x").value();
  const GgufTensor* b = file->FindTensor("blk.0.attn_q.weight.lora_b");
  ASSERT_NE(b, nullptr);
  EXPECT_THAT(b->shape, ElementsAre(4, 5));
  const std::vector<float> product = adapter.matrices[0].EffectiveB();
  EXPECT_EQ(AsChars(b->data), std::string_view(reinterpret_cast<const char*>(product.data()),
                                               product.size() * sizeof(float)));
}

TEST(AdapterIoTest, ReadsHalfAndBfloat16) {
  GgufWriter writer;
  AddHeader(writer);
  // Halves of 1, -2, the largest, the smallest subnormal; bfloat16s of 1, -2, 0.5, 3.
  const std::vector<uint16_t> half = {0x3C00, 0xC000, 0x7BFF, 0x0001};
  const std::vector<uint16_t> brain = {0x3F80, 0xC000, 0x3F00, 0x4040};
  const auto bytes = [](const std::vector<uint16_t>& values) {
    return std::span(reinterpret_cast<const uint8_t*>(values.data()), values.size() * 2);
  };
  writer.AddTensor("blk.0.attn_q.weight.lora_a", TensorType::kF16, {2, 2}, bytes(half));
  writer.AddTensor("blk.0.attn_q.weight.lora_b", TensorType::kBF16, {2, 2}, bytes(brain));
  const Adapter adapter = Read(writer.Serialize()).value();
  EXPECT_THAT(adapter.matrices[0].a, ElementsAre(1.0f, -2.0f, 65504.0f, std::ldexp(1.0f, -24)));
  EXPECT_THAT(adapter.matrices[0].b, ElementsAre(1.0f, -2.0f, 0.5f, 3.0f));
}

TEST(AdapterIoTest, RefusesWhatIsNotAnAdapter) {
  GgufWriter model;
  model.AddString("general.architecture", "llama");
  ExpectReadError(model, "not a LoRA adapter");
  GgufWriter empty;
  AddHeader(empty);
  ExpectReadError(empty, "no tensors");
  GgufWriter kind;
  AddHeader(kind, "diagonal");
  ExpectReadError(kind, "\"diagonal\"");
}

TEST(AdapterIoTest, RefusesBadTensors) {
  const std::vector<float> values(64, 1.0f);
  const auto with = [&](std::string_view a, std::vector<int64_t> a_shape, std::string_view b,
                        std::vector<int64_t> b_shape, std::string_view words) {
    GgufWriter writer;
    AddHeader(writer);
    const auto add = [&](std::string_view name, const std::vector<int64_t>& shape) {
      if (name.empty()) return;
      size_t count = 1;
      for (const int64_t size : shape) count *= static_cast<size_t>(size);
      writer.AddTensor(name, shape, std::span(values).first(count));
    };
    add(a, a_shape);
    add(b, b_shape);
    ExpectReadError(writer, words);
  };
  const std::string a = "blk.0.attn_q.weight.lora_a", b = "blk.0.attn_q.weight.lora_b";
  with(a, {4, 2}, "", {}, "found .lora_a without .lora_b");
  with("", {}, b, {2, 4}, "found .lora_b without .lora_a");
  with(a, {4, 2}, b, {3, 4}, "same rank");
  with(a, {4}, b, {1, 4}, "two matrices");
  with(a, {4, 2}, "blk.0.attn_q.weight.lora_c", {2, 4}, "lora_c");
  with("output.weight.lora_a", {4, 2}, "", {}, "output.weight.lora_a");
  GgufWriter quantized;
  AddHeader(quantized);
  quantized.AddTensor(a, TensorType::kQ8_0, {32, 1}, std::vector<uint8_t>(34));
  quantized.AddTensor(b, {1, 4}, std::span(values).first(4));
  ExpectReadError(quantized, "type Q8_0: expected F32, F16 or BF16");
  GgufWriter nan;
  AddHeader(nan);
  nan.AddTensor(a, {1, 1}, std::vector<float>{std::nanf("")});
  nan.AddTensor(b, {1, 1}, std::vector<float>{1});
  ExpectReadError(nan, "not finite");
}

TEST(AdapterIoTest, RefusesCoresThatDoNotMatch) {
  const std::string a = "blk.0.attn_q.weight.lora_a", b = "blk.0.attn_q.weight.lora_b";
  const auto with = [&](std::vector<float> product, std::vector<float> core, bool add_b,
                        std::string_view words) {
    GgufWriter writer;
    AddHeader(writer, "core");
    writer.AddFloat32s("lorikeet.core.r", core);
    if (add_b) writer.AddFloat32s("lorikeet.core.b", std::vector<float>{3});
    writer.AddTensor(a, {1, 1}, std::vector<float>{1});
    writer.AddTensor(b, {1, 1}, product);
    if (words.empty()) {
      EXPECT_TRUE(Read(writer.Serialize()).ok());
    } else {
      ExpectReadError(writer, words);
    }
  };
  with({6}, {2}, true, "");
  with({7}, {2}, true, "not the product");
  with({6}, {2, 2}, true, "expected 1 floats, found 2");
  with({6}, {2}, false, "lorikeet.core.b");
}

TEST(AdapterIoTest, RefusesToWriteWhatItWouldNotRead) {
  const std::string path = MakeTempDir("adapter") + "/a.gguf";
  Adapter adapter = MakeAdapter(AdapterKind::kLora, 1, 2);
  adapter.matrices[0].b[0] = std::nanf("");
  EXPECT_FALSE(WriteAdapter(adapter, path).ok());
  adapter = MakeAdapter(AdapterKind::kCore, 1, 2);
  adapter.matrices[0].core.pop_back();
  EXPECT_FALSE(WriteAdapter(adapter, path).ok());
  adapter = MakeAdapter(AdapterKind::kLora, 1, 2);
  std::swap(adapter.matrices[0], adapter.matrices[1]);
  EXPECT_FALSE(WriteAdapter(adapter, path).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(AdapterIoTest, FlippedBitsNeverCrash) {
  const std::string whole = SerializeAdapter(
      MakeAdapter(AdapterKind::kCore, 1, 2, {.layers = 1, .rank = 1, .in = 2, .out = 2}));
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const auto adapter = Read(flipped);
    EXPECT_TRUE(!adapter.ok() || CheckAdapterShape(*adapter).ok());
  }
}

TEST(AdapterIoTest, ReadsAdaptersMadeByLlamaCpp) {
  LORIKEET_SHARED_OR_SKIP(folder, "golden/models");
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.find(".lora-") == std::string::npos || !name.ends_with(".gguf")) continue;
    const auto adapter = ReadAdapter(entry.path().string());
    ASSERT_TRUE(adapter.ok()) << adapter.status();
    const bool small = name.find("qv-r4") != std::string::npos;
    EXPECT_EQ(adapter->info.alpha, small ? 8.0f : 16.0f);
    EXPECT_EQ(adapter->matrices[0].rank, small ? 4 : 8);
    EXPECT_EQ(adapter->matrices.size() % (small ? 2 : 7), 0u);
    EXPECT_EQ(adapter->info.kind, AdapterKind::kLora);
    EXPECT_TRUE(adapter->info.base_fingerprint.empty());
    ++seen;
  }
  EXPECT_GT(seen, 0);
}

}  // namespace
}  // namespace lorikeet
