// Texts of experiments with people: nothing that judges was shown to whom it judges.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "simulations/people/groups.h"
#include "simulations/people/people.h"
#include "simulations/people/texts.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> Documents(const std::string& name, int count) {
  std::vector<std::string> documents;
  for (int i = 0; i < count; ++i) documents.push_back(absl::StrCat(name, " ", i));
  return documents;
}

int CountFrom(std::span<const std::string> documents, const std::string& name) {
  int count = 0;
  for (const std::string& document : documents) count += document.starts_with(name) ? 1 : 0;
  return count;
}

TEST(ReadUsersTest, KeepsUsersAndSplitsApart) {
  const std::string path = MakeTempDir("users") + "/samples.jsonl";
  ASSERT_TRUE(WriteFileAtomic(path,
                              R"({"user":"u","split":"train","text":"x"}
{"user":"v","split":"test","text":"y"}
{"user":"u","split":"test_other_work","text":"elsewhere"}
{"user":"u","split":"test","text":"z"}
)")
                  .ok());
  const auto users = ReadUsers(path);
  ASSERT_TRUE(users.ok()) << users.status();
  ASSERT_EQ(users->size(), 2u);
  EXPECT_THAT((*users)[0].train, ElementsAre("x"));
  EXPECT_THAT((*users)[0].test, ElementsAre("z"));
  EXPECT_THAT((*users)[1].test, ElementsAre("y"));
}

TEST(DrawBlendTest, SharesAreRightAndNothingIsDrawnTwice) {
  const auto persona = Documents("persona", 70), neutral = Documents("neutral", 70);
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Rng rng(seed);
    const BlendSpec spec{.similarity = 0.05 * static_cast<double>(1 + rng.Below(19)),
                         .examples = static_cast<int>(1 + rng.Below(30)),
                         .held_out = static_cast<int>(1 + rng.Below(30)),
                         .seed = seed};
    const auto blend = DrawBlend(persona, neutral, spec);
    ASSERT_TRUE(blend.ok()) << blend.status();
    ASSERT_EQ(blend->examples.size(), static_cast<size_t>(spec.examples));
    ASSERT_EQ(blend->held_out.size(), static_cast<size_t>(spec.held_out));
    std::set<std::string> all(blend->examples.begin(), blend->examples.end());
    all.insert(blend->held_out.begin(), blend->held_out.end());
    EXPECT_EQ(all.size(), blend->examples.size() + blend->held_out.size());
    for (size_t prefix = 1; prefix <= blend->examples.size(); ++prefix) {
      const double share = spec.similarity * static_cast<double>(prefix);
      EXPECT_LT(std::abs(CountFrom(std::span(blend->examples).first(prefix), "persona") - share),
                1.0);
    }
    EXPECT_LE(std::abs(CountFrom(blend->held_out, "persona") - spec.similarity * spec.held_out),
              1.0);
  }
}

TEST(DrawBlendTest, IsDeterministicAndSaysWhatIsMissing) {
  const auto persona = Documents("persona", 60), neutral = Documents("neutral", 60);
  const BlendSpec spec{.similarity = 0.7, .examples = 20, .held_out = 30, .seed = 3};
  EXPECT_EQ(DrawBlend(persona, neutral, spec)->examples,
            DrawBlend(persona, neutral, spec)->examples);
  EXPECT_THAT(std::string(DrawBlend(Documents("p", 20), neutral, spec).status().message()),
              HasSubstr("expected 37 documents of the persona and"));
}

TEST(DropRepeatsTest, NoDocumentHasTwoRoles) {
  SelectionTexts texts;
  texts.personas = {{.id = "a", .seed = {"s", "t"}, .held_out = {"x", "s", "y", "x", "n"}},
                    {.id = "b", .seed = {"u"}, .held_out = {"t", "y", "z"}}};
  texts.neutral_seed = {"n"};
  texts.neutral_owner = {"m", "n", "z", "m", "u"};
  DropRepeats(&texts);
  EXPECT_THAT(texts.personas[0].held_out, ElementsAre("x", "y"));
  EXPECT_THAT(texts.personas[1].held_out, ElementsAre("z"));
  EXPECT_THAT(texts.neutral_owner, ElementsAre("m"));
}

TEST(HalveTestTest, HalvesAreInOrderAndApart) {
  std::vector<std::string> test;
  for (int i = 0; i < 30; ++i) test.push_back(absl::StrCat("Line ", i, " of what was said."));
  const TestHalves halves = HalveTest(test, 100000);
  std::vector<std::string> both = halves.judge;
  both.insert(both.end(), halves.own.begin(), halves.own.end());
  EXPECT_EQ(both, test);
  EXPECT_NEAR(static_cast<double>(halves.judge.size()), 15, 1);
  const TestHalves one = HalveTest(std::vector<std::string>{std::string(5000, 'x')}, 2000);
  EXPECT_EQ(TotalBytes(one.judge), 1200u);  // whole pieces
  EXPECT_EQ(TotalBytes(one.own), 1000u);
  // The last lines, which belong to the last work, as the last train lines do.
  const TestHalves last = HalveTest(test, 100);
  EXPECT_EQ(last.own.back(), test.back());
  EXPECT_EQ(last.judge.size() + last.own.size(), 4u);
}

std::vector<UserText> Users(int count, int lines) {
  std::vector<UserText> users;
  for (int i = 0; i < count; ++i) {
    UserText& user = users.emplace_back();
    user.user = absl::StrCat("user ", i);
    for (int line = 0; line < lines; ++line) {
      user.train.push_back(absl::StrCat(i % 2 == 0 ? "ok " : "Very well, sir; it shall be ", line,
                                        i % 2 == 0 ? " lol!" : ", as agreed between us.", i));
      user.test.push_back(absl::StrCat("A test line of user ", i, " number ", line, "."));
    }
  }
  return users;
}

TEST(ChooseCastTest, WhoIsJudgedMakesNoPersona) {
  std::vector<UserText> users = Users(30, 80);
  users.push_back({.user = "silent", .train = {"x"}, .test = {"y"}});
  PeopleOptions options;
  options.users = 12;
  const Cast cast = ChooseCast(users, options);
  EXPECT_EQ(cast.judged.size(), 12u);
  EXPECT_EQ(cast.sources.size(), 18u);
  std::set<std::string> names;
  for (const auto* side : {&cast.judged, &cast.sources}) {
    for (const UserText& user : *side) names.insert(user.user);
  }
  EXPECT_EQ(names.size(), 30u);
  EXPECT_FALSE(names.contains("silent"));
  options.users = 100;
  EXPECT_EQ(ChooseCast(users, options).judged.size(), 15u);
}

TEST(GroupUsersTest, LikeHabitsComeTogether) {
  const std::vector<UserText> users = Users(20, 10);
  const std::vector<int> groups = GroupUsers(users, 2, 1);
  for (size_t i = 2; i < groups.size(); ++i) EXPECT_EQ(groups[i], groups[i % 2]);
  EXPECT_NE(groups[0], groups[1]);
}

TEST(SeedsFromUsersTest, SeedsAreTrainLines) {
  const std::vector<UserText> users = Users(20, 40);
  std::set<std::string> train;
  for (const UserText& user : users) train.insert(user.train.begin(), user.train.end());
  const auto grouped = SeedsFromUsers(users, 2, 4000, 1);
  ASSERT_EQ(grouped.size(), 2u);
  for (const PersonaSeed& seed : grouped) {
    EXPECT_GE(TotalBytes(seed.documents), 4000u);
    for (const std::string& text : seed.documents) EXPECT_TRUE(train.contains(text));
  }
  const auto single = SeedsFromUsers(users, 3, 400, 1);
  ASSERT_EQ(single.size(), 3u);
  EXPECT_EQ(single[0].id, "user-0");
  EXPECT_NEAR(static_cast<double>(TotalBytes(single[0].documents)), 400, 60);
}

}  // namespace
}  // namespace lorikeet
