// Adapters as a shell exchanges them: export to a PEFT directory and back, merge to one adapter and
// into the base.  A numpy program that knows nothing of our code checks what a Hugging Face model
// would compute with the exported files; without numpy that test skips.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class AdapterExchangeCli : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(WriteFileAtomic(Path("tokens.json"), "[3, 14, 15, 92, 65, 35, 89, 79]").ok());
  }
  std::string Path(const std::string& name) const { return dir_ + "/" + name; }
  int Shell(const std::string& command) {
    outcome_ = RunCommand(command);
    return outcome_.code;
  }
  int Run(const std::string& arguments) { return Shell(LORIKEET_BIN_DIR "/lorikeet " + arguments); }
  // Of the last command.
  const std::string& Out() const { return outcome_.out; }
  const std::string& Err() const { return outcome_.err; }

  // An adapter of every module of the tiny model, strong enough to change its logits.
  std::string MakeAdapter(const std::string& name, const std::string& architecture, int rank,
                          AdapterKind kind = AdapterKind::kLora) const {
    const TinyModelOptions shape;
    Rng rng(static_cast<uint64_t>(rank));
    const auto values = [&](int count) {
      std::vector<float> result(static_cast<size_t>(count));
      for (float& value : result) value = static_cast<float>(0.2 * rng.Normal());
      return result;
    };
    const int kv = shape.dim / shape.heads * shape.kv_heads;
    const int sizes[kModuleCount][2] = {{shape.dim, shape.dim}, {shape.dim, kv},
                                        {shape.dim, kv},        {shape.dim, shape.dim},
                                        {shape.dim, shape.ffn}, {shape.dim, shape.ffn},
                                        {shape.ffn, shape.dim}};
    Adapter adapter;
    adapter.info.architecture = architecture;
    adapter.info.kind = kind;
    adapter.info.alpha = 5;
    for (int i = 0; i < shape.layers * kModuleCount; ++i) {
      AdapterMatrix matrix;
      matrix.target = {i / kModuleCount, static_cast<Module>(i % kModuleCount)};
      matrix.rank = rank;
      matrix.in_features = sizes[i % kModuleCount][0];
      matrix.out_features = sizes[i % kModuleCount][1];
      matrix.a = values(rank * matrix.in_features);
      matrix.b = values(rank * matrix.out_features);
      if (kind == AdapterKind::kCore) matrix.core = values(rank * rank);
      adapter.matrices.push_back(std::move(matrix));
    }
    EXPECT_TRUE(WriteAdapter(adapter, Path(name)).ok());
    return Path(name);
  }

  std::vector<float> Logits(const std::string& model, const std::string& adapters = "") {
    EXPECT_EQ(Run("logits --threads 1 --model " + model + " --tokens " + Path("tokens.json") +
                  " --out " + Path("logits.f32") + adapters),
              0)
        << Err();
    const std::string bytes = ReadFile(Path("logits.f32")).value();
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }

  static double Difference(const std::vector<float>& a, const std::vector<float>& b) {
    EXPECT_EQ(a.size(), b.size());
    double largest = 0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
      largest = std::max(largest, std::fabs(double{a[i]} - b[i]));
    }
    return largest;
  }

  const std::string dir_ = MakeTempDir("adapter-exchange");

 private:
  CommandOutcome outcome_;
};

std::string TinyOf(const std::string& architecture) {
  TinyModelOptions options;
  options.architecture = architecture;
  return WriteTinyModel(options);
}

TEST_F(AdapterExchangeCli, ThereAndBackIsTheSameAdapter) {
  for (const char* architecture : {"llama", "qwen2"}) {
    const std::string model = TinyOf(architecture);
    const std::string adapter = MakeAdapter("a.gguf", architecture, 3);
    ASSERT_EQ(
        Run("export --json --model " + model + " --adapter " + adapter + " --out " + Path("peft")),
        0)
        << Err();
    EXPECT_EQ(json::parse(Out())["format"], "peft");
    ASSERT_EQ(Run("export --to gguf --model " + model + " --adapter " + Path("peft") + " --out " +
                  Path("back.gguf")),
              0)
        << Err();
    EXPECT_THAT(Out(), HasSubstr("14 matrices, rank 3, GGUF"));
    const Adapter was = ReadAdapter(adapter).value(), is = ReadAdapter(Path("back.gguf")).value();
    EXPECT_EQ(is.info.alpha, was.info.alpha);
    ASSERT_EQ(is.matrices.size(), was.matrices.size());
    for (size_t i = 0; i < was.matrices.size(); ++i) {
      EXPECT_EQ(is.matrices[i].a, was.matrices[i].a);
      EXPECT_EQ(is.matrices[i].b, was.matrices[i].b);
    }
  }
}

// W + s B A of the exported files, in the order of rows that Hugging Face uses, run by numpy.
TEST_F(AdapterExchangeCli, NumpyComputesTheSameFromTheExportedFiles) {
  std::string python;
  for (const char* candidate : {"/usr/bin/python3", "python3"}) {
    if (Shell(std::string(candidate) + " -c 'import numpy'") == 0) python = candidate;
  }
  if (python.empty()) GTEST_SKIP() << "no python3 with numpy";
  for (const char* architecture : {"llama", "qwen2"}) {
    const std::string model = TinyOf(architecture);
    const std::string adapter = MakeAdapter("a.gguf", architecture, 3, AdapterKind::kCore);
    ASSERT_EQ(Run("export --model " + model + " --adapter " + adapter + " --out " + Path("peft")),
              0)
        << Err();
    const std::vector<float> base = Logits(model);
    const std::vector<float> adapted = Logits(model, " --adapter " + adapter);
    EXPECT_GT(Difference(base, adapted), 0.1);
    ASSERT_EQ(Shell(python + " " LORIKEET_SOURCE_DIR "/tests/integration/peft_forward.py " + model +
                    " " + Path("peft") + " " + Path("tokens.json") + " " + Path("logits.f32")),
              0)
        << Out() << Err();
  }
}

TEST_F(AdapterExchangeCli, ASumAddsUp) {
  const std::string model = TinyOf("llama");
  const std::string a = MakeAdapter("a.gguf", "llama", 3), b = MakeAdapter("b.gguf", "llama", 2);
  const std::string both = " --adapter " + a + " --adapter " + b + "=-0.5";
  ASSERT_EQ(Run("merge --json --model " + model + both + " --out " + Path("sum.gguf")), 0) << Err();
  const json result = json::parse(Out());
  EXPECT_EQ(result["rank"], 5);
  EXPECT_EQ(result["kind"], "adapter");
  EXPECT_LT(Difference(Logits(model, both), Logits(model, " --adapter " + Path("sum.gguf"))), 1e-4);
}

TEST_F(AdapterExchangeCli, CoresOfOneBasisAddUpToACore) {
  const std::string model = TinyOf("llama");
  const std::string a = MakeAdapter("a.gguf", "llama", 2, AdapterKind::kCore);
  const std::string twice = " --adapter " + a + "=2 --adapter " + a;
  ASSERT_EQ(Run("merge --json --model " + model + twice + " --out " + Path("sum.gguf")), 0)
      << Err();
  EXPECT_EQ(json::parse(Out())["adapter_kind"], "core");
  EXPECT_EQ(json::parse(Out())["rank"], 2);
  EXPECT_LT(Difference(Logits(model, twice), Logits(model, " --adapter " + Path("sum.gguf"))),
            1e-4);
}

TEST_F(AdapterExchangeCli, AMergedBaseNeedsNoAdapter) {
  const std::string model = TinyOf("llama");
  const std::string adapter = " --adapter " + MakeAdapter("a.gguf", "llama", 3) + "=0.7";
  const std::string merged = Path("merged.gguf");
  ASSERT_EQ(Run("merge --json --into-base --model " + model + adapter + " --out " + merged), 0)
      << Err();
  const json result = json::parse(Out());
  EXPECT_EQ(result["tensors_changed"], 14);
  EXPECT_NE(result["fingerprint"], result["merged_from"]);
  EXPECT_LT(Difference(Logits(model, adapter), Logits(merged)), 1e-4);
  ASSERT_EQ(Run("merge --into-base --type q8_0 --model " + model + adapter + " --out " + merged), 0)
      << Err();
  const double rounded = Difference(Logits(model, adapter), Logits(merged));
  EXPECT_GT(rounded, 0);
  EXPECT_LT(rounded, 0.3 * Difference(Logits(model, adapter), Logits(model)));
}

TEST_F(AdapterExchangeCli, BadUsageAndBadFilesLeaveNothing) {
  const std::string model = TinyOf("llama"), out = " --out " + Path("out");
  const std::string adapter = MakeAdapter("a.gguf", "llama", 2);
  const auto fails = [&](const std::string& arguments, int code, const std::string& words) {
    EXPECT_EQ(Run(arguments + out), code) << arguments;
    EXPECT_THAT(Err(), HasSubstr(words));
    EXPECT_FALSE(std::filesystem::exists(Path("out")));
  };
  fails("export --to gguf --model " + model + " --adapter " + adapter, 2, "PEFT directory");
  fails("export --to peft --model " + model + " --adapter " + dir_, 2, "GGUF file");
  fails("export --model " + model + " --adapter " + dir_, 1, "adapter_config.json");
  fails("export --model " + TinyOf("qwen2") + " --adapter " + adapter, 1, "llama");
  fails("export --model " + adapter + " --adapter " + adapter, 1, "a.gguf");
  fails("merge --model " + model, 2, "at least one --adapter");
  fails("merge --type Q4_0 --model " + model + " --adapter " + adapter, 2, "--into-base");
  fails("merge --into-base --type Q9 --model " + model + " --adapter " + adapter, 2, "Q4_K_M");
  fails("merge --model " + model + " --adapter " + model, 1, "not a LoRA adapter");
  fails("merge --model " + model + " --adapter " + adapter + "=inf", 1, "not finite");
}

}  // namespace
}  // namespace lorikeet
