// device/runtime against the shared golden data: logits, greedy tokens and perplexity of exact
// arithmetic and of llama.cpp, for every architecture, weight type and adapter there is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "device/runtime/generate.h"
#include "device/runtime/perplexity.h"
#include "device/runtime/session.h"
#include "kernels/isa.h"
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

// llama.cpp rounds activations too; how far that took it from the reference is part of each case.
// Where it rounds nothing (F32), no more than float arithmetic is allowed.
double AllowedDeviation(const GoldenRun& run) {
  return std::max(1e-4, 1.3 * run.golden["deviation"]["relative_rms"].get<double>());
}

// Back to the best instruction set when a test ends.
class IsaGuard {
 public:
  ~IsaGuard() { SetIsaForTest(best_); }

 private:
  Isa best_ = CurrentIsa();
};

TEST(RuntimeGolden, FastLogitsAreAsNearAsLlamaCpp) {
  LORIKEET_SHARED_OR_SKIP(dir, "golden/models");
  ThreadPool pool(2);
  const IsaGuard guard;
  for (const fs::path& path : Cases(dir)) {
    const GoldenCase golden(path);
    for (const GoldenRun& run : golden.runs()) {
      const std::vector<float> reference = golden.Reference(run);
      const auto tokens = golden.document()["prompt_tokens"].get<std::vector<TokenId>>();
      for (const Isa isa : AvailableIsas()) {
        SCOPED_TRACE(absl::StrCat(path.stem().string(), " ", run.name, " ", ToAbsl(IsaName(isa))));
        ASSERT_TRUE(SetIsaForTest(isa));
        const auto session = golden.MakeSession(run, &pool, Precision::kFast);
        const auto logits = session->Decode(tokens, true);
        ASSERT_TRUE(logits.ok()) << logits.status();
        const double at_once = RelativeRms(reference, *logits);
        EXPECT_LT(at_once, AllowedDeviation(run));
        // One by one other kernels work.
        session->Rewind(0);
        std::vector<float> rows;
        for (const TokenId token : tokens) {
          const auto row = session->Decode({&token, 1}, false);
          ASSERT_TRUE(row.ok()) << row.status();
          rows.insert(rows.end(), row->row(0), row->row(0) + row->cols);
        }
        const int64_t count = static_cast<int64_t>(tokens.size());
        const ConstMatrix one_by_one(rows.data(), count, static_cast<int64_t>(rows.size()) / count);
        EXPECT_LT(RelativeRms(reference, one_by_one), AllowedDeviation(run));
      }
    }
  }
}

// The same tokens as exact arithmetic as long as the margin is above what rounding can turn.
TEST(RuntimeGolden, FastGreedyTokens) {
  LORIKEET_SHARED_OR_SKIP(dir, "golden/models");
  int compared = 0;
  for (const fs::path& path : Cases(dir)) {
    const GoldenCase golden(path);
    for (const GoldenRun& run : golden.runs()) {
      SCOPED_TRACE(path.stem().string() + " " + run.name);
      const auto session = golden.MakeSession(run, nullptr, Precision::kFast);
      const auto prompt = golden.document()["prompt_tokens"].get<std::vector<TokenId>>();
      const auto expected = run.golden["reference_greedy"].get<std::vector<TokenId>>();
      const auto margins = run.golden["reference_greedy_margins"].get<std::vector<double>>();
      // Two logits move against each other by sqrt(2) of the deviation; six times that never seen.
      const double rms = run.golden["deviation"]["rms"].get<double>();
      const double safe = std::max(1e-3, 6 * std::sqrt(2.0) * rms);
      GenerateOptions options;
      options.max_tokens = static_cast<int>(expected.size());
      options.ignore_end = true;
      const auto result = Generate(*session, prompt, options);
      ASSERT_TRUE(result.ok()) << result.status();
      for (size_t i = 0; i < expected.size() && margins[i] > safe; ++i) {
        ASSERT_EQ(result->tokens[i], expected[i]) << "step " << i;
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 100);
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
