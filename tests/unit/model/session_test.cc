// device/runtime/session against a forward pass in double precision, and against itself in other
// orders of work.
#include "device/runtime/session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/gguf/writer.h"
#include "device/runtime/memory_estimate.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/model/naive_forward.h"

namespace lorikeet {
namespace {

std::shared_ptr<const Model> LoadTiny(const TinyModelOptions& options) {
  auto model = Model::Load(WriteTinyModel(options));
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

std::vector<TokenId> RandomTokens(int count, int vocabulary, uint64_t seed = 7) {
  Rng rng(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& t : tokens) t = static_cast<TokenId>(rng.Below(vocabulary));
  return tokens;
}

std::unique_ptr<Session> MakeSession(const std::shared_ptr<const Model>& model, ThreadPool* pool,
                                     int context = 0, Precision precision = Precision::kExact) {
  auto session = Session::Create(model, pool, {.context_length = context, .precision = precision});
  EXPECT_TRUE(session.ok()) << session.status();
  return std::move(*session);
}

std::span<const float> Row(ConstMatrix m, int64_t r) {
  return {m.row(r), static_cast<size_t>(m.cols)};
}

// Largest relative RMS of a position.
double WorstRow(const std::vector<std::vector<double>>& expected, ConstMatrix got) {
  EXPECT_EQ(static_cast<int64_t>(expected.size()), got.rows);
  double worst = 0;
  for (int64_t t = 0; t < got.rows; ++t) {
    worst = std::max(worst, RelativeRms(expected[t], Row(got, t)));
  }
  return worst;
}

std::string Describe(const TinyModelOptions& o) {
  return o.architecture + (o.rope_freqs ? " rope_freqs" : "") + (o.tied ? " tied" : "") + " type " +
         std::to_string(static_cast<int>(o.type));
}

std::vector<TinyModelOptions> Variants() {
  std::vector<TinyModelOptions> all;
  for (const std::string arch : {"llama", "qwen2"}) {
    for (const TensorType type :
         {TensorType::kF32, TensorType::kF16, TensorType::kQ8_0, TensorType::kQ4_0}) {
      TinyModelOptions o;
      o.architecture = arch;
      o.type = type;
      o.tied = type != TensorType::kF16;
      o.rope_freqs = arch == "llama" && type == TensorType::kF32;
      o.kv_heads = type == TensorType::kQ8_0 ? 1 : 2;
      all.push_back(o);
    }
  }
  for (const TensorType type : {TensorType::kF32, TensorType::kQ8_0}) {
    TinyModelOptions o;
    o.architecture = "qwen3";
    o.type = type;
    o.head_size = 32;  // wider than dim / heads, as in Qwen3-0.6B
    all.push_back(o);
  }
  return all;
}

TEST(Session, MatchesDoublePrecision) {
  ThreadPool pool(2);
  for (const TinyModelOptions& options : Variants()) {
    SCOPED_TRACE(Describe(options));
    const auto model = LoadTiny(options);
    const auto tokens = RandomTokens(33, options.vocab);
    const auto session = MakeSession(model, &pool);
    const auto logits = session->Decode(tokens, true);
    ASSERT_TRUE(logits.ok()) << logits.status();
    EXPECT_LT(WorstRow(NaiveLogits(model->file(), tokens), *logits), 1e-5);
  }
}

TEST(Session, FastPrecisionIsNear) {
  for (const TensorType type : {TensorType::kQ8_0, TensorType::kQ4_0}) {
    TinyModelOptions options;
    options.type = type;
    const auto model = LoadTiny(options);
    const auto tokens = RandomTokens(20, options.vocab);
    const auto session = MakeSession(model, nullptr, 0, Precision::kFast);
    const auto logits = session->Decode(tokens, true);
    ASSERT_TRUE(logits.ok());
    EXPECT_LT(WorstRow(NaiveLogits(model->file(), tokens), *logits), 0.06);
  }
}

// The tiny model with other rope settings.
std::shared_ptr<const Model> LoadWithRope(const TinyModelOptions& options,
                                          const std::function<void(GgufWriter&)>& add) {
  const auto file = *GgufFile::Open(WriteTinyModel(options));
  GgufWriter writer;
  for (const auto& [key, value] : file->metadata()) writer.CopyMetadata(*file, key);
  for (const GgufTensor& t : file->tensors()) writer.AddTensor(t.name, t.type, t.shape, t.data);
  add(writer);
  const std::string path = MakeTempDir("session-test") + "/rope.gguf";
  EXPECT_TRUE(writer.Write(path).ok());
  auto model = Model::Load(path);
  EXPECT_TRUE(model.ok()) << model.status();
  return *model;
}

TEST(Session, YarnMatchesDoublePrecision) {
  TinyModelOptions options;
  options.architecture = "qwen2";
  options.head_size = 64;
  for (const int original : {64, 1000, 100000}) {
    SCOPED_TRACE(original);
    const auto model = LoadWithRope(options, [&](GgufWriter& w) {
      w.AddString("qwen2.rope.scaling.type", "yarn");
      w.AddFloat32("qwen2.rope.scaling.factor", 4.0f);
      w.AddUint32("qwen2.rope.scaling.original_context_length", original);
    });
    const auto tokens = RandomTokens(40, options.vocab);
    const auto session = MakeSession(model, nullptr);
    const auto logits = session->Decode(tokens, true);
    ASSERT_TRUE(logits.ok()) << logits.status();
    EXPECT_LT(WorstRow(NaiveLogits(model->file(), tokens), *logits), 1e-5);
  }
}

TEST(Session, CacheTypesAreAsNearAsTheyRound) {
  const std::pair<TensorType, double> types[] = {
      {TensorType::kF32, 1e-5}, {TensorType::kF16, 3e-3}, {TensorType::kQ8_0, 3e-2}};
  TinyModelOptions options;
  options.head_size = 32;
  const auto model = LoadTiny(options);
  const auto tokens = RandomTokens(50, options.vocab);
  const auto naive = NaiveLogits(model->file(), tokens);
  double before = 0;
  for (const auto& [type, tolerance] : types) {
    SCOPED_TRACE(TraitsOf(type).name);
    auto session = Session::Create(
        model, nullptr, {.context_length = 64, .precision = Precision::kExact, .kv_type = type});
    ASSERT_TRUE(session.ok()) << session.status();
    const auto logits = (*session)->Decode(tokens, true);
    ASSERT_TRUE(logits.ok());
    const double worst = WorstRow(naive, *logits);
    EXPECT_LT(worst, tolerance);
    EXPECT_GT(worst, before);  // each type rounds more than the one before
    before = worst;
  }
  EXPECT_EQ(DefaultKvType(*model, Precision::kFast), TensorType::kF32);  // all weights are
  options.type = TensorType::kQ8_0;
  const auto rounded = LoadTiny(options);
  EXPECT_EQ(DefaultKvType(*rounded, Precision::kFast), TensorType::kF16);
  EXPECT_EQ(DefaultKvType(*rounded, Precision::kExact), TensorType::kF32);
  const auto refused = [](const std::shared_ptr<const Model>& m, TensorType type) {
    return Session::Create(m, nullptr,
                           {.context_length = 8, .precision = Precision::kFast, .kv_type = type})
        .status();
  };
  EXPECT_EQ(refused(model, TensorType::kQ4_0).code(), absl::StatusCode::kInvalidArgument);
  options.head_size = 0;  // 16: no whole block of Q8_0
  const absl::Status narrow = refused(LoadTiny(options), TensorType::kQ8_0);
  EXPECT_EQ(narrow.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(narrow.message(), "head size 16")) << narrow;
}

// Bytes of anonymous memory that this process holds.
int64_t AnonymousBytes() {
  const std::string status = *ReadFile("/proc/self/status");
  const size_t at = status.find("RssAnon:");
  return std::strtoll(status.c_str() + at + 8, nullptr, 10) * 1024;
}

TEST(Session, NeedsTheMemoryThatIsPredicted) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers hold back freed memory";
#endif
  TinyModelOptions options;
  options.type = TensorType::kQ8_0;
  options.dim = 256;
  options.ffn = 8192;
  options.head_size = 64;
  options.context = 8192;
  const auto model = LoadTiny(options);
  const auto tokens = RandomTokens(2048, options.vocab);
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kQ8_0}) {
    for (const Precision precision : {Precision::kExact, Precision::kFast}) {
      SCOPED_TRACE(TraitsOf(type).name);
      const MemoryEstimate estimate = EstimateMemory(
          *model,
          {.context_length = 2048, .kv_type = type, .exact = precision == Precision::kExact});
      EXPECT_EQ(estimate.file, static_cast<int64_t>(model->file().size_bytes()));
      const int64_t before = AnonymousBytes();
      const auto session = *Session::Create(
          model, nullptr, {.context_length = 2048, .precision = precision, .kv_type = type});
      // Nothing is touched before it is needed.
      EXPECT_LT(AnonymousBytes() - before, estimate.anonymous() / 10);
      ASSERT_TRUE(session->Decode(tokens, false).ok());
      const double grown = static_cast<double>(AnonymousBytes() - before);
      EXPECT_NEAR(grown / static_cast<double>(estimate.anonymous()), 1.0, 0.1);
    }
  }
}

TEST(Session, RefusesMoreThanThereIsBeforeItStarts) {
  const TinyModelOptions options;
  const auto model = LoadTiny(options);
  const MemoryEstimate estimate = EstimateMemory(*model, {.context_length = 4096});
  EXPECT_TRUE(CheckMemory(estimate, 4096, estimate.anonymous()).ok());
  const absl::Status refused = CheckMemory(estimate, 4096, estimate.anonymous() - 1);
  EXPECT_EQ(refused.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(refused.message(), "context of 4096 positions")) << refused;
  EXPECT_GT(MemoryLimitBytes(), int64_t{1} << 20);
}

TEST(Session, LongPromptInChunksEqualsOneByOne) {
  TinyModelOptions options;
  options.architecture = "qwen2";
  options.layers = 1;
  options.context = 700;
  const auto model = LoadTiny(options);
  ThreadPool pool(2);
  const auto tokens = RandomTokens(600, options.vocab);  // three chunks
  const auto at_once = MakeSession(model, &pool);
  const auto stepwise = MakeSession(model, &pool);
  const auto logits = at_once->Decode(tokens, true);
  ASSERT_TRUE(logits.ok());
  for (size_t t = 0; t < tokens.size(); ++t) {
    const auto row = stepwise->Decode(std::span(tokens).subspan(t, 1), false);
    ASSERT_TRUE(row.ok());
    const std::vector<double> expected(row->row(0), row->row(0) + row->cols);
    ASSERT_LT(RelativeRms(expected, Row(*logits, static_cast<int64_t>(t))), 1e-5) << t;
  }
  EXPECT_EQ(at_once->position(), 600);
  EXPECT_EQ(stepwise->position(), 600);
  for (int c = 0; c < options.dim; ++c) {
    EXPECT_NEAR(at_once->last_hidden()[c], stepwise->last_hidden()[c], 1e-4);
  }
  // The last row alone is the same numbers as the last of all rows.
  const auto last_only = MakeSession(model, &pool);
  const auto row = last_only->Decode(tokens, false);
  ASSERT_TRUE(row.ok());
  ASSERT_EQ(row->rows, 1);
  for (int64_t v = 0; v < row->cols; ++v) EXPECT_NEAR(row->row(0)[v], logits->row(599)[v], 1e-4);
}

TEST(Session, RewindForgetsWhatCameAfter) {
  const TinyModelOptions options;
  const auto model = LoadTiny(options);
  const auto session = MakeSession(model, nullptr);
  const auto tokens = RandomTokens(12, options.vocab);
  const auto other = RandomTokens(5, options.vocab, 99);
  ASSERT_TRUE(session->Decode(tokens, false).ok());
  ASSERT_TRUE(session->Decode(other, false).ok());
  session->Rewind(8);
  const auto again = session->Decode(std::span(tokens).subspan(8), false);
  ASSERT_TRUE(again.ok());
  const auto naive = NaiveLogits(model->file(), tokens);
  EXPECT_LT(RelativeRms(naive.back(), Row(*again, 0)), 1e-5);
}

TEST(Session, AdaptersAddTheirProducts) {
  for (const TensorType type : {TensorType::kF32, TensorType::kQ8_0}) {
    TinyModelOptions options;
    options.type = type;
    const auto model = LoadTiny(options);
    const auto all = *ParseModules("all");
    const Adapter lora = RandomAdapter(model->file(), AdapterKind::kLora, 4, all, 1);
    const Adapter core =
        RandomAdapter(model->file(), AdapterKind::kCore, 3, {Module::kQ, Module::kDown}, 2);
    const auto tokens = RandomTokens(17, options.vocab);
    const auto session = MakeSession(model, nullptr);
    const std::vector<AdapterRef> one = {{&lora, 0.5f}};
    const std::vector<AdapterRef> two = {{&lora, 0.5f}, {&core, -0.7f}};
    for (const auto& refs : {one, two, std::vector<AdapterRef>{}}) {
      ASSERT_TRUE(session->SetAdapters(refs).ok());
      EXPECT_EQ(session->position(), 0);
      const auto logits = session->Decode(tokens, true);
      ASSERT_TRUE(logits.ok());
      EXPECT_LT(WorstRow(NaiveLogits(model->file(), tokens, refs), *logits), 1e-5);
    }
    // The adapters matter.
    EXPECT_GT(RelativeRms(NaiveLogits(model->file(), tokens, two).back(),
                          Row(*session->Decode(std::span(tokens).first(1), false), 0)),
              1e-2);
  }
}

TEST(Session, ScoreEqualsLogSoftmaxOfLogits) {
  TinyModelOptions options;
  options.context = 400;
  options.layers = 1;
  const auto model = LoadTiny(options);
  const auto session = MakeSession(model, nullptr);
  const auto tokens = RandomTokens(300, options.vocab);
  const auto nll = session->Score(tokens);
  ASSERT_TRUE(nll.ok()) << nll.status();
  ASSERT_EQ(nll->size(), 299u);
  EXPECT_EQ(session->position(), 0);
  const auto tail = session->ScoreTail(tokens, 290);
  ASSERT_TRUE(tail.ok());
  ASSERT_EQ(tail->size(), 10u);
  const auto naive = NaiveLogits(model->file(), tokens);
  for (int t : {0, 1, 100, 255, 256, 298}) {
    double total = 0;
    for (const double v : naive[t]) total += std::exp(v);
    EXPECT_NEAR((*nll)[t], std::log(total) - naive[t][tokens[t + 1]], 1e-4) << t;
    if (t >= 289) {
      EXPECT_NEAR((*tail)[t - 289], (*nll)[t], 1e-5);
    }
  }
}

TEST(Session, RefusesBadTokensAndOverflow) {
  const TinyModelOptions options;
  const auto model = LoadTiny(options);
  const auto session = MakeSession(model, nullptr, 10);
  EXPECT_EQ(session->context_length(), 10);
  const auto status = [&](std::vector<TokenId> tokens) {
    return session->Decode(tokens, false).status();
  };
  EXPECT_EQ(status({}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status({1, -1}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status({options.vocab}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status(std::vector<TokenId>(11, 1)).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(session->position(), 0);
  EXPECT_TRUE(status(std::vector<TokenId>(10, 1)).ok());
  EXPECT_EQ(status({1}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(session->Score({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(session->Score(std::vector<TokenId>{1, options.vocab}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(session->Score(std::vector<TokenId>{1})->empty());
  // n - 1 positions are enough to score n tokens.
  EXPECT_TRUE(session->Score(std::vector<TokenId>(11, 1)).ok());
  EXPECT_EQ(session->Score(std::vector<TokenId>(12, 1)).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_FALSE(Session::Create(model, nullptr, {.context_length = -1}).ok());
  const auto huge = Session::Create(model, nullptr, {.context_length = 2'000'000'000});
  EXPECT_EQ(huge.status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace lorikeet
