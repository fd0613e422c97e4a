// device/runtime against the shared golden data: logits, greedy tokens and perplexity of exact
// arithmetic and of llama.cpp, for every architecture, weight type and adapter there is.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "device/runtime/generate.h"
#include "device/runtime/perplexity.h"
#include "device/runtime/session.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json ReadJson(const fs::path& path) { return json::parse(*ReadFile(path.string())); }

std::vector<float> ReadFloats(const fs::path& path) {
  const std::string bytes = *ReadFile(path.string());
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

std::vector<fs::path> Cases(const std::string& dir) {
  std::vector<fs::path> cases;
  for (const auto& entry : fs::directory_iterator(dir)) {
    if (entry.path().extension() == ".json") cases.push_back(entry.path());
  }
  std::sort(cases.begin(), cases.end());
  return cases;
}

// RMS(error) / RMS(reference, mean removed per position).
double RelativeRms(const std::vector<float>& reference, ConstMatrix got) {
  double error = 0, size = 0;
  for (int64_t t = 0; t < got.rows; ++t) {
    const float* expected = reference.data() + t * got.cols;
    double mean = 0;
    for (int64_t v = 0; v < got.cols; ++v) mean += expected[v];
    mean /= static_cast<double>(got.cols);
    for (int64_t v = 0; v < got.cols; ++v) {
      error += std::pow(double{got.row(t)[v]} - expected[v], 2);
      size += std::pow(expected[v] - mean, 2);
    }
  }
  return std::sqrt(error / size);
}

// One run of a case: the base, or one adapter.
struct GoldenRun {
  std::string name;
  json golden;
  std::vector<AdapterRef> adapters;
};

class GoldenCase {
 public:
  explicit GoldenCase(const fs::path& path) : dir_(path.parent_path()), document_(ReadJson(path)) {
    const auto model = Model::Load((dir_ / document_["model"].get<std::string>()).string());
    EXPECT_TRUE(model.ok()) << model.status();
    model_ = *model;
    runs_.push_back({.name = "base", .golden = document_["base"], .adapters = {}});
    adapters_.reserve(document_["lora"].size());
    for (const json& lora : document_["lora"]) {
      const fs::path file = dir_ / lora["adapter"].get<std::string>();
      const auto adapter = ReadAdapter(file.string());
      EXPECT_TRUE(adapter.ok()) << adapter.status();
      adapters_.push_back(*adapter);
      runs_.push_back({.name = "lora" + std::to_string(runs_.size()),
                       .golden = lora,
                       .adapters = {{&adapters_.back(), lora["user_scale"].get<float>()}}});
    }
  }

  const json& document() const { return document_; }
  const std::vector<GoldenRun>& runs() const { return runs_; }

  std::unique_ptr<Session> MakeSession(const GoldenRun& run, ThreadPool* pool,
                                       Precision precision) const {
    auto session = Session::Create(model_, pool, {.context_length = 256, .precision = precision});
    EXPECT_TRUE(session.ok()) << session.status();
    EXPECT_TRUE((*session)->SetAdapters(run.adapters).ok());
    return std::move(*session);
  }
  std::vector<float> Reference(const GoldenRun& run) const {
    return ReadFloats(dir_ / run.golden["reference_logits"].get<std::string>());
  }

 private:
  fs::path dir_;
  json document_;
  std::shared_ptr<const Model> model_;
  std::vector<Adapter> adapters_;
  std::vector<GoldenRun> runs_;
};

TEST(RuntimeGolden, ExactLogits) {
  LORIKEET_SHARED_OR_SKIP(dir, "golden/models");
  ThreadPool pool(2);
  std::map<std::string, double> worst;
  for (const fs::path& path : Cases(dir)) {
    const GoldenCase golden(path);
    for (const GoldenRun& run : golden.runs()) {
      SCOPED_TRACE(path.stem().string() + " " + run.name);
      const auto session = golden.MakeSession(run, &pool, Precision::kExact);
      const auto tokens = golden.document()["prompt_tokens"].get<std::vector<TokenId>>();
      const auto logits = session->Decode(tokens, true);
      ASSERT_TRUE(logits.ok()) << logits.status();
      const double error = RelativeRms(golden.Reference(run), *logits);
      EXPECT_LT(error, 1e-4);
      double& entry = worst[path.stem().string()];
      entry = std::max(entry, error);
    }
  }
  EXPECT_FALSE(worst.empty());
  for (const auto& [name, error] : worst) RecordProperty(name, absl::StrFormat("%.1e", error));
}

TEST(RuntimeGolden, FastLogitsAreAsNearAsLlamaCpp) {
  LORIKEET_SHARED_OR_SKIP(dir, "golden/models");
  ThreadPool pool(2);
  for (const fs::path& path : Cases(dir)) {
    const GoldenCase golden(path);
    for (const GoldenRun& run : golden.runs()) {
      SCOPED_TRACE(path.stem().string() + " " + run.name);
      const auto session = golden.MakeSession(run, &pool, Precision::kFast);
      const auto tokens = golden.document()["prompt_tokens"].get<std::vector<TokenId>>();
      const auto logits = session->Decode(tokens, true);
      ASSERT_TRUE(logits.ok()) << logits.status();
      const double theirs = run.golden["deviation"]["relative_rms"].get<double>();
      EXPECT_LT(RelativeRms(golden.Reference(run), *logits), std::max(1e-4, 1.5 * theirs));
    }
  }
}

TEST(RuntimeGolden, GreedyTokens) {
  LORIKEET_SHARED_OR_SKIP(dir, "golden/models");
  for (const fs::path& path : Cases(dir)) {
    const GoldenCase golden(path);
    for (const GoldenRun& run : golden.runs()) {
      SCOPED_TRACE(path.stem().string() + " " + run.name);
      const auto session = golden.MakeSession(run, nullptr, Precision::kExact);
      const auto prompt = golden.document()["prompt_tokens"].get<std::vector<TokenId>>();
      const auto expected = run.golden["reference_greedy"].get<std::vector<TokenId>>();
      const auto margins = run.golden["reference_greedy_margins"].get<std::vector<double>>();
      GenerateOptions options;
      options.max_tokens = static_cast<int>(expected.size());
      options.ignore_end = true;
      const auto result = Generate(*session, prompt, options);
      ASSERT_TRUE(result.ok()) << result.status();
      ASSERT_EQ(result->tokens.size(), expected.size());
      for (size_t i = 0; i < expected.size() && margins[i] > 2e-3; ++i) {
        ASSERT_EQ(result->tokens[i], expected[i]) << "step " << i;
      }
    }
  }
}

TEST(RuntimeGolden, PerplexityOfOneContext) {
  LORIKEET_SHARED_OR_SKIP(dir, "golden/models");
  ThreadPool pool(2);
  for (const fs::path& path : Cases(dir)) {
    const GoldenCase golden(path);
    for (const GoldenRun& run : golden.runs()) {
      if (!run.golden.contains("perplexity")) continue;
      SCOPED_TRACE(path.stem().string() + " " + run.name);
      const auto session = golden.MakeSession(run, &pool, Precision::kExact);
      const auto tokens = golden.document()["perplexity_tokens"].get<std::vector<TokenId>>();
      const auto nll = session->Score(tokens);
      ASSERT_TRUE(nll.ok()) << nll.status();
      double sum = 0;
      for (const float value : *nll) sum += value;
      EXPECT_NEAR(sum / static_cast<double>(nll->size()),
                  run.golden["perplexity"]["reference_mean_nll"].get<double>(), 1e-4);
    }
  }
}

TEST(RuntimeGolden, PerplexityOfAText) {
  LORIKEET_SHARED_OR_SKIP(dir, "golden/perplexity");
  ThreadPool pool(2);
  const std::string text = *ReadFile(dir + "/text.txt");
  for (const fs::path& path : Cases(dir)) {
    SCOPED_TRACE(path.stem().string());
    const json golden = ReadJson(path);
    const auto model = Model::Load((fs::path(dir) / golden["model"].get<std::string>()).string());
    ASSERT_TRUE(model.ok()) << model.status();
    const auto tokens = (*model)->tokenizer().Encode(text, {.add_special = true});
    EXPECT_EQ(tokens, golden["token_ids"].get<std::vector<TokenId>>());
    const int context = golden["n_ctx"].get<int>();
    const auto session =
        Session::Create(*model, &pool, {.context_length = context, .precision = Precision::kExact});
    ASSERT_TRUE(session.ok());
    const auto result = Perplexity(**session, tokens, context);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->chunks, golden["n_chunks"].get<int>());
    EXPECT_EQ(result->tokens, golden["n_scored"].get<int64_t>());
    const double expected = golden["reference_ppl"].get<double>();
    EXPECT_NEAR(result->perplexity / expected, 1.0, 1e-3);
  }
}

// Trained models: greedy continuations of llama.cpp with F32 activations or better.
TEST(RuntimeGolden, GreedyTextOfTrainedModels) {
  LORIKEET_SHARED_OR_SKIP(path, "models/expected_greedy.json");
  const fs::path dir = fs::path(path).parent_path();
  const json document = ReadJson(path);
  for (const auto& [name, prompts] : document.items()) {
    const auto model = Model::Load((dir / (name + "-f32.gguf")).string());
    ASSERT_TRUE(model.ok()) << model.status();
    for (const json& golden : prompts) {
      SCOPED_TRACE(name + ": " + golden["prompt"].get<std::string>());
      const auto prompt =
          (*model)->tokenizer().Encode(golden["prompt"].get<std::string>(), {.add_special = true});
      EXPECT_EQ(prompt, golden["prompt_ids"].get<std::vector<TokenId>>());
      const auto session =
          Session::Create(*model, nullptr, {.context_length = 0, .precision = Precision::kExact});
      ASSERT_TRUE(session.ok());
      const auto expected = golden["greedy_new_ids"].get<std::vector<TokenId>>();
      GenerateOptions options;
      options.max_tokens = static_cast<int>(expected.size());
      const auto result = Generate(**session, prompt, options);
      ASSERT_TRUE(result.ok()) << result.status();
      EXPECT_EQ(result->tokens, expected);
      // The stored text is prompt and continuation decoded at once, where SPM drops the leading
      // space.
      const std::string continued = golden["prompt"].get<std::string>() + result->text;
      const std::string text = golden["text"].get<std::string>();
      EXPECT_TRUE(continued == text || continued == " " + text) << continued;
    }
  }
}

}  // namespace
}  // namespace lorikeet
