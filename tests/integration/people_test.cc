// Warm starts and real people on a tiny model: whole runs of the experiments,
// small.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "device/personalization/loss_meter.h"
#include "simulations/people/people_report.h"
#include "simulations/people/warm_start_analysis.h"
#include "simulations/selection/styles.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

WarmStartOptions SmallWarmStart() {
  WarmStartOptions options;
  options.similarities = {0.5, 0.9};
  options.trials = 2;
  options.examples = 6;
  options.held_out = 5;
  options.catalog.rank = 4;
  options.catalog.persona_steps = 3;
  options.personalize.train.max_steps = 5;
  options.budgets = {0.4, 1.0};
  return options;
}

SelectionTexts SmallTexts() {
  SelectionTextOptions options;
  options.demo = std::string(LORIKEET_SOURCE_DIR) + "/deploy/demo_data";
  options.personas = 2;
  options.seed_documents = 12;
  options.held_out_documents = 20;
  options.neutral_documents = 24;
  SelectionTexts texts = ReadSelectionTexts(options).value();
  DropRepeats(&texts);
  return texts;
}

TEST(WarmStartTest, EveryTrialIsChargedAndLossesRepeat) {
  const auto lab = Lab::Open(WriteTinyModel());
  ASSERT_TRUE(lab.ok()) << lab.status();
  WarmStartReport report;
  report.options = SmallWarmStart();
  auto trials = RunWarmStart(*lab, SmallTexts(), report.options, nullptr);
  ASSERT_TRUE(trials.ok()) << trials.status();
  const auto again = RunWarmStart(*lab, SmallTexts(), report.options, nullptr);
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_EQ(trials->size(), 4u);
  for (size_t i = 0; i < trials->size(); ++i) {
    const WarmStartTrial& trial = (*trials)[i];
    EXPECT_EQ(trial.scratch.points.front().step, 0);
    EXPECT_EQ(trial.scratch.points.back().step, 5);
    EXPECT_GT(trial.scratch.train_cpu_per_token, 0);
    EXPECT_GT(trial.selection_cpu, 0);
    EXPECT_GT(trial.scratch.points.back().cpu, 0);
    EXPECT_EQ(trial.scratch.points.back().loss, (*again)[i].scratch.points.back().loss);
    EXPECT_EQ(trial.warm.points.back().loss, (*again)[i].warm.points.back().loss);
    EXPECT_EQ(trial.chosen, (*again)[i].chosen);
    EXPECT_GE(trial.examples_needed, 0);
    EXPECT_LE(trial.examples_needed, 6);
  }
  report.trials = *std::move(trials);
  Analyze(&report);
  EXPECT_EQ(report.rows.size(), 2u);
  EXPECT_THAT(WarmStartPage(report), testing::HasSubstr("XPerT"));
  EXPECT_THAT(WarmStartTable(report), testing::HasSubstr("90 %"));
}

TEST(WarmStartTest, PersonasThatLearnFromBlends) {
  const auto lab = Lab::Open(WriteTinyModel());
  ASSERT_TRUE(lab.ok()) << lab.status();
  WarmStartOptions options = SmallWarmStart();
  options.blend_personas = true;
  options.examples_needed = false;
  options.similarities = {0.5};
  options.trials = 1;
  const auto trials = RunWarmStart(*lab, SmallTexts(), options, nullptr);
  ASSERT_TRUE(trials.ok()) << trials.status();
  EXPECT_EQ((*trials)[0].examples_needed, -1);
}

TEST(WarmStartTest, StopsWhenTold) {
  const auto lab = Lab::Open(WriteTinyModel());
  ASSERT_TRUE(lab.ok()) << lab.status();
  const auto trials = RunWarmStart(*lab, SmallTexts(), SmallWarmStart(),
                                   [](int, int, std::string_view) { return false; });
  EXPECT_TRUE(absl::IsCancelled(trials.status())) << trials.status();
}

std::vector<UserText> StyledUsers(int count) {
  const std::vector<SyntheticStyle> styles = SyntheticStyles();
  std::vector<UserText> users;
  for (int i = 0; i < count; ++i) {
    const SyntheticStyle& style = styles[static_cast<size_t>(i % 4)];
    users.push_back({.user = absl::StrCat(style.id, " ", i),
                     .train = WriteDocuments(style, 40, 100 + static_cast<uint64_t>(i)),
                     .test = WriteDocuments(style, 20, 200 + static_cast<uint64_t>(i))});
  }
  return users;
}

TEST(PeopleTest, EverybodyIsMeasuredAndNobodyJudgesThemselves) {
  const auto lab = Lab::Open(WriteTinyModel());
  ASSERT_TRUE(lab.ok()) << lab.status();
  PeopleReport report;
  report.options.users = 3;
  report.options.personas = 2;
  report.options.seed_bytes = 3000;
  report.options.max_train_bytes = 2500;
  report.options.max_test_bytes = 1500;
  report.options.general_bytes = 1500;
  report.options.catalog.rank = 4;
  report.options.catalog.persona_steps = 3;
  report.options.personalize.train.max_steps = 4;
  const Cast cast = ChooseCast(StyledUsers(9), report.options);
  ASSERT_EQ(cast.judged.size(), 3u);
  auto people =
      RunPeople(*lab, cast, WriteDocuments(NeutralStyle(), 20, 5), report.options, nullptr);
  ASSERT_TRUE(people.ok()) << people.status();
  ASSERT_EQ(people->size(), 3u);
  for (const PersonResult& person : *people) {
    EXPECT_GT(MeanLoss(person.base), 0);
    EXPECT_EQ(person.base.size(), person.in_use.size());
    EXPECT_GT(person.general_before, 0);
    EXPECT_GT(person.cpu, person.selection_cpu);
    if (person.outcome == Outcome::kRolledBack) {
      EXPECT_EQ(MeanLoss(person.base), MeanLoss(person.in_use));
      EXPECT_EQ(person.general_before, person.general_after);
    }
    if (person.outcome == Outcome::kKept) {
      EXPECT_NEAR(MeanLoss(person.in_use), MeanLoss(person.personalized), 1e-4);
    }
  }
  report.people = *std::move(people);
  report.summary = Summarize(report.people, 1);
  EXPECT_EQ(report.summary.better + report.summary.worse + report.summary.same, 3);
  EXPECT_EQ(report.summary.kept + report.summary.persona_only + report.summary.rolled_back, 3);
  EXPECT_THAT(PeoplePage(report), testing::HasSubstr(report.people[0].user));
  EXPECT_EQ(PeopleJson(report)["people"].size(), 3u);
}

TEST(PeopleTest, TooFewUsersIsSaid) {
  const auto lab = Lab::Open(WriteTinyModel());
  ASSERT_TRUE(lab.ok()) << lab.status();
  const PeopleOptions options;
  const auto people = RunPeople(*lab, ChooseCast(StyledUsers(2), options),
                                WriteDocuments(NeutralStyle(), 20, 5), options, nullptr);
  EXPECT_TRUE(absl::IsInvalidArgument(people.status())) << people.status();
}

}  // namespace
}  // namespace lorikeet
