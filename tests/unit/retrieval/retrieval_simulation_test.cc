// The retrieval experiment: what counts as a fact, how ways are scored, and a small run.
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "simulations/retrieval/retrieval_page.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

std::string Line(std::string_view user, std::string_view split, int conversation,
                 std::string_view context, std::string_view text) {
  return absl::StrCat(R"({"user": ")", std::string(user), R"(", "split": ")", std::string(split),
                      R"(", "conv": )", conversation, R"(, "context": ")", std::string(context),
                      R"(", "text": ")", std::string(text), "\"}\n");
}

// Eight people, each with a pet of their own.
class RetrievalSimulationTest : public testing::Test {
 protected:
  RetrievalSimulationTest() {
    const std::vector<std::string> pets = {"heron",  "badger", "lizard", "falcon",
                                           "spider", "walrus", "donkey", "kitten"};
    std::string samples, users;
    for (size_t i = 0; i < pets.size(); ++i) {
      const std::string user = absl::StrCat("u", i);
      for (int k = 0; k < 6; ++k) {
        samples += Line(user, "train", 0, "what do you keep", "i keep a " + pets[i] + " at home");
      }
      samples += Line(user, "test", 1, "tell me of your home", "there is my " + pets[i]);
      samples += Line(user, "test", 2, "so you have a " + pets[i], "a " + pets[i] + " it is");
      absl::StrAppend(&users, R"({"user": ")", user, R"(", "persona": ["My )", pets[i], "s.\"]}\n");
    }
    // A conversation that somebody's training split shows from the other side.
    const std::string_view shown = "this sentence is long enough to be no coincidence at all";
    samples += Line("u7", "test", 3, "really?", shown);
    samples += Line("u8", "train", 3, shown, "indeed");
    EXPECT_TRUE(WriteFileAtomic(path_, samples).ok());
    EXPECT_TRUE(WriteFileAtomic(dir_ + "/users.jsonl", users).ok());
  }

  const std::string dir_ = MakeTempDir("retrieval-simulation");
  const std::string path_ = dir_ + "/samples.jsonl";
};

TEST_F(RetrievalSimulationTest, FactsAreTheUsersOwnWordsThatTheQuestionDoesNotSay) {
  const RetrievalData data = ReadRetrievalData(path_, {.users = 0, .candidates = 4}).value();
  ASSERT_EQ(data.users.size(), 8u);
  EXPECT_EQ(data.leaky_texts, 1);
  const RetrievalUser& user = data.users[0];
  ASSERT_EQ(user.held_out.size(), 2u);
  ASSERT_EQ(user.held_out[0].facts.size(), 1u);
  const auto range = user.held_out[0].facts[0];
  EXPECT_EQ(user.held_out[0].text.substr(range.begin, range.end - range.begin), "heron");
  EXPECT_TRUE(user.held_out[1].facts.empty()) << "the question says it";
  ASSERT_EQ(user.questions.size(), 1u);
  EXPECT_EQ(user.questions[0].before, "tell me of your home");
  EXPECT_EQ(user.questions[0].sentences[0], "My herons.");
}

TEST_F(RetrievalSimulationTest, BadLinesAreNamed) {
  ASSERT_TRUE(WriteFileAtomic(path_, "{\"user\": \"a\"}\nnot json\n").ok());
  EXPECT_NE(ReadRetrievalData(path_, {}).status().message().find(":2:"), std::string::npos);
  ASSERT_TRUE(WriteFileAtomic(path_, "{\"user\": \"a\"}\n").ok());
  EXPECT_EQ(ReadRetrievalData(path_, {}).status().code(), absl::StatusCode::kInvalidArgument);
}

ScoredToken Token(float model, CopyShares shares) {
  ScoredToken token;
  token.model[0][0] = model;
  token.copy[static_cast<int>(CopySource::kVault)] = shares;
  return token;
}

TEST(RetrievalResultTest, FittedWeightsAreTheMixturesOwn) {
  // Tokens drawn from 0.7 model + 0.3 copy where the model knows nothing of what copies say.
  ScoredUser user;
  Rng rng(5);
  ScoredText text;
  for (int i = 0; i < 20000; ++i) {
    const bool copied = rng.Uniform() < 0.3;
    text.push_back(copied ? Token(0.0001f, {0.5f, -1, -1}) : Token(0.25f, {0, -1, -1}));
  }
  user.texts.push_back(text);
  const CopyWeights weights =
      FitWeights(std::span(&user, 1), {.name = "", .copy = CopySource::kVault});
  EXPECT_NEAR(weights[0], 0.3, 0.01);
}

TEST(RetrievalResultTest, RankCountsGainsOverThePlainModelAndTiesAsParts) {
  ScoredUser user;
  ScoredQuestion question;
  question.sentences = {{Token(0.1f, {0.9f, -1, -1})}, {Token(0.5f, {0, -1, -1})}};
  user.questions = {question};
  const Way copying = {"", AdapterUse::kNone, PromptUse::kBare, CopySource::kVault, {0.5, 0, 0}};
  EXPECT_EQ(FiguresOf(user, copying).first, 1);
  EXPECT_EQ(FiguresOf(user, {}).first, 0.5) << "no gain anywhere: chance";
}

TEST_F(RetrievalSimulationTest, ASmallRunIsRepeatableAndCopiesRecallFacts) {
  const std::shared_ptr<const Model> model = Model::Load(WriteTinyModel()).value();
  const RetrievalData data = ReadRetrievalData(path_, {.users = 0, .candidates = 4}).value();
  ThreadPool pool(1);
  RetrievalExperimentOptions options;
  options.train.max_steps = 2;
  options.rank = 2;
  std::vector<std::string> tables;
  for (int round = 0; round < 2; ++round) {
    const std::vector<ScoredUser> users = ScoreUsers(model, &pool, data, options).value();
    const RetrievalSummary summary = Summarize(users, options, 1);
    ASSERT_EQ(summary.ways[1].way.name, "retrieval");
    EXPECT_LT(summary.ways[1].fact_loss.mean, summary.ways[0].fact_loss.mean - 0.5);
    EXPECT_EQ(summary.users + summary.fitted_users, 8);
    const RetrievalSetting setting = {.set = "pets", .model = "tiny", .has_questions = true};
    tables.push_back(RetrievalTable(summary, setting));
    EXPECT_NE(RetrievalPage(summary, setting).find("<svg"), std::string::npos);
  }
  EXPECT_EQ(tables[0], tables[1]);
  const auto stopped =
      ScoreUsers(model, &pool, data, options, [](size_t, size_t) { return false; });
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace lorikeet
