// What a session keeps between calls: adapters that come and go, reused prompts, files.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "device/runtime/session.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/model/naive_forward.h"

namespace lorikeet {
namespace {

std::vector<TokenId> RandomTokens(int count, uint64_t seed = 7) {
  Rng rng(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& t : tokens) t = static_cast<TokenId>(rng.Below(288));
  return tokens;
}

class SessionState : public testing::Test {
 protected:
  void SetUp() override {
    options_.type = TensorType::kQ8_0;
    options_.head_size = 32;
    model_ = *Model::Load(WriteTinyModel(options_));
  }

  std::unique_ptr<Session> MakeSession(Precision precision,
                                       std::optional<TensorType> kv_type = std::nullopt) {
    auto session = Session::Create(
        model_, nullptr, {.context_length = 128, .precision = precision, .kv_type = kv_type});
    EXPECT_TRUE(session.ok()) << session.status();
    return std::move(*session);
  }

  std::vector<float> Logits(Session& session, std::span<const TokenId> tokens) {
    const auto logits = session.Decode(tokens, false);
    EXPECT_TRUE(logits.ok()) << logits.status();
    return {logits->row(0), logits->row(0) + logits->cols};
  }

  double Error(Session& session, const std::vector<AdapterRef>& adapters) {
    const auto tokens = RandomTokens(17);
    session.Rewind(0);
    return RelativeRms(NaiveLogits(model_->file(), tokens, adapters).back(),
                       Logits(session, tokens));
  }

  Adapter Lora(int rank, uint64_t seed) {
    return RandomAdapter(model_->file(), AdapterKind::kLora, rank, *ParseModules("all"), seed);
  }

  TinyModelOptions options_;
  std::shared_ptr<const Model> model_;
};

TEST_F(SessionState, AdaptersComeAndGo) {
  const Adapter first = Lora(4, 1), second = Lora(3, 2);
  const Adapter core = RandomAdapter(model_->file(), AdapterKind::kCore, 2,
                                     {Module::kV, Module::kGate, Module::kDown}, 3);
  for (const Precision precision : {Precision::kExact, Precision::kFast}) {
    const double tolerance = precision == Precision::kExact ? 1e-5 : 0.06;
    const auto session = MakeSession(precision);
    constexpr auto kForget = CachedPositions::kForget;
    const auto a = session->AddAdapter({&first, 0.5f}, kForget);
    const auto b = session->AddAdapter({&second, -0.25f}, kForget);
    const auto c = session->AddAdapter({&core, 0.5f}, kForget);
    ASSERT_TRUE(a.ok() && b.ok() && c.ok());
    EXPECT_LT(Error(*session, {{&first, 0.5f}, {&second, -0.25f}, {&core, 0.5f}}), tolerance);
    // They matter: without one of them the answer is another.
    EXPECT_GT(Error(*session, {{&first, 0.5f}, {&core, 0.5f}}), 2 * tolerance);
    ASSERT_TRUE(session->RemoveAdapter(*b, kForget).ok());
    EXPECT_LT(Error(*session, {{&first, 0.5f}, {&core, 0.5f}}), tolerance);
    ASSERT_TRUE(session->ScaleAdapter(*a, -0.125f, kForget).ok());
    EXPECT_LT(Error(*session, {{&first, -0.125f}, {&core, 0.5f}}), tolerance);
    ASSERT_TRUE(session->RemoveAdapter(*a, kForget).ok());
    ASSERT_TRUE(session->RemoveAdapter(*c, kForget).ok());
    EXPECT_LT(Error(*session, {}), tolerance);
    for (const absl::Status& status :
         {session->RemoveAdapter(*a, kForget), session->ScaleAdapter(*b, 1, kForget)}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
    }
  }
}

// Factors of any size: what is rounded is their shape, not their size.
TEST_F(SessionState, RoundedAdaptersKeepTheirRange) {
  Adapter lora = Lora(4, 1);
  for (AdapterMatrix& matrix : lora.matrices) {
    for (float& a : matrix.a) a *= 1e-9f;
    for (float& b : matrix.b) b *= 1e9f;
  }
  const auto session = MakeSession(Precision::kFast);
  ASSERT_TRUE(session->SetAdapters(std::vector<AdapterRef>{{&lora, 0.5f}}).ok());
  EXPECT_LT(Error(*session, {{&lora, 0.5f}}), 0.06);
}

TEST_F(SessionState, ChangedAdaptersForgetOrKeepPositions) {
  const Adapter lora = Lora(4, 1);
  const auto session = MakeSession(Precision::kExact);
  const auto tokens = RandomTokens(10);
  Logits(*session, tokens);
  const auto handle = session->AddAdapter({&lora, 1.0f}, CachedPositions::kKeep);
  ASSERT_TRUE(handle.ok());
  EXPECT_EQ(session->position(), 10);
  const std::string path = MakeTempDir("session") + "/mixed";
  EXPECT_EQ(session->Save(path).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(session->ScaleAdapter(*handle, 0.5f, CachedPositions::kForget).ok());
  EXPECT_EQ(session->position(), 0);
  Logits(*session, tokens);
  EXPECT_TRUE(session->Save(path).ok());
}

TEST_F(SessionState, ReusesTheCommonBeginning) {
  const auto session = MakeSession(Precision::kExact);
  const auto tokens = RandomTokens(20);
  std::vector<TokenId> other = tokens;
  other[15] = (other[15] + 1) % 288;
  EXPECT_EQ(session->Reuse(tokens).size(), 20u);
  Logits(*session, tokens);
  EXPECT_TRUE(std::ranges::equal(session->tokens(), tokens));
  // The same again: one token is left, for its logits.
  EXPECT_EQ(session->Reuse(tokens).size(), 1u);
  EXPECT_EQ(session->position(), 19);
  Logits(*session, std::span(tokens).last(1));
  const std::span<const TokenId> rest = session->Reuse(other);
  ASSERT_EQ(rest.size(), 5u);
  EXPECT_EQ(rest.data(), other.data() + 15);
  EXPECT_LT(RelativeRms(NaiveLogits(model_->file(), other).back(), Logits(*session, rest)), 1e-5);
  EXPECT_TRUE(std::ranges::equal(session->tokens(), other));
  // A prompt that is a beginning of what is cached; and no prompt.
  EXPECT_EQ(session->Reuse(std::span(other).first(4)).size(), 1u);
  EXPECT_EQ(session->position(), 3);
  EXPECT_TRUE(session->Reuse({}).empty());
  EXPECT_EQ(session->position(), 0);
}

TEST_F(SessionState, GoesOnFromAFile) {
  const Adapter lora = Lora(4, 1);
  const std::vector<AdapterRef> refs = {{&lora, 0.5f}};
  const auto tokens = RandomTokens(30);
  const auto beginning = std::span(tokens).first(25);
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kQ8_0}) {
    const auto session = MakeSession(Precision::kFast, type);
    ASSERT_TRUE(session->SetAdapters(refs).ok());
    Logits(*session, beginning);
    const std::string path = MakeTempDir("session") + "/saved";
    ASSERT_TRUE(session->Save(path).ok());
    const auto expected = Logits(*session, std::span(tokens).subspan(25));

    const auto resumed = MakeSession(Precision::kFast, type);
    ASSERT_TRUE(resumed->SetAdapters(refs).ok());
    Logits(*resumed, std::span(tokens).last(3));
    const absl::Status loaded = resumed->Load(path);
    ASSERT_TRUE(loaded.ok()) << loaded;
    EXPECT_TRUE(std::ranges::equal(resumed->tokens(), beginning));
    EXPECT_EQ(Logits(*resumed, resumed->Reuse(tokens)), expected);
  }
}

TEST_F(SessionState, RefusesFilesOfOtherSessions) {
  const Adapter lora = Lora(4, 1), other = Lora(4, 2);
  const std::string path = MakeTempDir("session") + "/saved";
  const auto session = MakeSession(Precision::kFast);
  ASSERT_TRUE(session->SetAdapters(std::vector<AdapterRef>{{&lora, 0.5f}}).ok());
  Logits(*session, RandomTokens(25));
  ASSERT_TRUE(session->Save(path).ok());

  const auto expect = [&](Session& target, absl::StatusCode code, std::string_view words) {
    const absl::Status status = target.Load(path);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_TRUE(absl::StrContains(status.message(), ToAbsl(words))) << status;
    EXPECT_EQ(target.position(), 0);
  };
  constexpr auto kOther = absl::StatusCode::kFailedPrecondition;
  expect(*MakeSession(Precision::kFast), kOther, "expected active adapters 0, got 1");
  const auto scaled = MakeSession(Precision::kFast);
  ASSERT_TRUE(scaled->SetAdapters(std::vector<AdapterRef>{{&lora, 0.25f}}).ok());
  expect(*scaled, kOther, "at scale 0.25");
  const auto replaced = MakeSession(Precision::kFast);
  ASSERT_TRUE(replaced->SetAdapters(std::vector<AdapterRef>{{&other, 0.5f}}).ok());
  expect(*replaced, kOther, "expected adapter 1 to be");
  expect(*MakeSession(Precision::kExact, TensorType::kF16), kOther,
         "expected precision exact, got fast");
  expect(*MakeSession(Precision::kFast, TensorType::kQ8_0), kOther,
         "expected cache type Q8_0, got F16");
  const auto small =
      *Session::Create(model_, nullptr, {.context_length = 24, .precision = Precision::kFast});
  ASSERT_TRUE(small->SetAdapters(std::vector<AdapterRef>{{&lora, 0.5f}}).ok());
  expect(*small, absl::StatusCode::kResourceExhausted, "expected at most 24 positions, got 25");
  options_.seed = 2;
  model_ = *Model::Load(WriteTinyModel(options_));
  expect(*MakeSession(Precision::kFast), kOther, "expected base");
}

TEST_F(SessionState, RefusesDamagedFiles) {
  const std::string path = MakeTempDir("session") + "/saved";
  const auto session = MakeSession(Precision::kFast);
  Logits(*session, RandomTokens(5));
  ASSERT_TRUE(session->Save(path).ok());
  const std::string good = *ReadFile(path);
  const auto code = [&](const std::string& bytes) {
    EXPECT_TRUE(WriteFileAtomic(path, bytes).ok());
    return session->Load(path).code();
  };
  EXPECT_EQ(code(good), absl::StatusCode::kOk);
  constexpr size_t kMagicBytes = 16, kVersionBytes = 4;
  for (size_t i = 0; i < good.size(); i += i < 200 ? 1 : 97) {
    std::string flipped = good;
    flipped[i] = static_cast<char>(flipped[i] ^ 0x20);
    EXPECT_EQ(code(flipped), i < kMagicBytes + kVersionBytes ? absl::StatusCode::kInvalidArgument
                                                             : absl::StatusCode::kDataLoss)
        << i;
    EXPECT_EQ(code(good.substr(0, i)),
              i < kMagicBytes ? absl::StatusCode::kInvalidArgument : absl::StatusCode::kDataLoss)
        << i;
  }
  EXPECT_EQ(code(good + "x"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(session->Load(path + "-none").code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace lorikeet
