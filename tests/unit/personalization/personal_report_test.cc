// The owner's page, its samples and its costs.
#include "device/personalization/personal_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/base/file.h"
#include "device/personalization/stage_meter.h"
#include "device/personalization/writing_samples.h"
#include "tests/support/shared_data.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

PersonalizeResult Result(const Catalog& catalog) {
  PersonalizeResult result;
  result.selection.chosen = "quiet";
  result.selection.weights = {{.index = catalog.FindPersona("quiet"), .weight = 1}};
  result.selection.reason = "You write dotted lines; closest is quiet.";
  result.selection.confidence = 0.93;
  RankedCandidate quiet, shouting, base;
  quiet.id = "quiet";
  quiet.style_distance = 0.1;
  quiet.held_out_loss = 3.5;
  shouting.id = "shouting";
  shouting.style_distance = 0.6;
  base.id = "base";
  base.held_out_loss = 4.25;
  result.selection.ranked = {quiet, base, shouting};
  result.training.steps = 2;
  result.training.tokens = 77;
  result.training.train_loss = {{1, 4.0}, {2, 3.0}};
  result.training.eval_loss = {{0, 4.0}, {2, 3.5}};
  result.loss_base = 4.125;
  result.loss_persona = 3.875;
  result.loss_personalized = 3.625;
  result.judge_tokens = 55;
  result.verdict = "kept: better <than> all else";
  return result;
}

PersonalReport Report(const Catalog& catalog, const PersonalizeResult& result) {
  PersonalReport report;
  report.catalog = &catalog;
  report.result = &result;
  report.samples = {{.beginning = "one, nine", .written = ", minus <b>", .sides = {"A", "B", "C"}}};
  report.stages = {{"selecting", 0.5, 1.25, 3}, {"training", 2, 3.5, 9}};
  report.adapter_path = "me.gguf";
  report.undo_command = "lorikeet personalize --rollback --out me.gguf";
  return report;
}

TEST(PersonalReportTest, SaysWhatAnOwnerWantsToKnow) {
  const Catalog catalog = TwoPersonas();
  PersonalizeResult result = Result(catalog);
  const std::string page = PersonalReportPage(Report(catalog, result));
  for (const char* text :
       {"You write dotted lines; closest is quiet.", "kept: better &lt;than&gt; all else",
        "quiet (chosen)", ">you</text>", "0.600", "4.250", "you wrote",
        "one, nine, minus &lt;b&gt;", "one, nineC", "plain model: 4.125", "persona: 3.875",
        "trained on your text: 3.625", "What leaves this device",
        "In a round of 100 devices each takes", "lorikeet personalize --rollback --out me.gguf",
        "words of yours", "93%", "4.75" /* CPU seconds of all stages */}) {
    EXPECT_THAT(page, HasSubstr(text));
  }
  EXPECT_THAT(page, Not(HasSubstr("joules")));  // not measured
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("http")));
}

TEST(PersonalReportTest, WithoutPersonaSamplesOrChangeItIsStillAPage) {
  const Catalog catalog = EmptyCatalog();
  PersonalizeResult result;
  result.selection.chosen = "base";
  result.notice = "left out 3 copies";
  PersonalReport report;
  report.catalog = &catalog;
  report.result = &result;
  report.energy_source = "model";
  const std::string page = PersonalReportPage(report);
  EXPECT_THAT(page, HasSubstr("There is nothing to undo"));
  EXPECT_THAT(page, HasSubstr("left out 3 copies"));
  EXPECT_THAT(page, HasSubstr("joules"));
  EXPECT_THAT(page, Not(HasSubstr("Before and after")));
}

TEST(PersonalReportTest, FileIsForTheOwnerOnly) {
  const Catalog catalog = TwoPersonas();
  PersonalizeResult result = Result(catalog);
  const std::string path = MakeTempDir("personal-report") + "/page.html";
  ASSERT_TRUE(WritePersonalReport(Report(catalog, result), path).ok());
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
}

TEST(WritingSamplesTest, BeginningsAreOfLongEnoughPassagesAndGoOnAsWritten) {
  const auto model = LoadTinyModel();
  const auto sequences = TokenizeDocuments(*model, Private(QuietTexts(9)), 64);
  const auto beginnings = BeginningsOf(*model, sequences, 3, 3);
  ASSERT_TRUE(beginnings.ok()) << beginnings.status();
  ASSERT_EQ(beginnings->size(), 3u);
  const std::vector<std::string> texts = QuietTexts(9);
  EXPECT_EQ((*beginnings)[0].text + (*beginnings)[0].written, texts[0]);
  EXPECT_EQ((*beginnings)[1].text + (*beginnings)[1].written, texts[3]);  // spread
  EXPECT_EQ((*beginnings)[0].tokens.front(), model->tokenizer().bos());
  EXPECT_TRUE(BeginningsOf(*model, sequences, 3, 100)->empty());
  EXPECT_FALSE(BeginningOfPrompt(*model, "").ok());
}

TEST(WritingSamplesTest, EverySideWritesAfterEveryBeginning) {
  const auto model = LoadTinyModel();
  const std::vector<Beginning> beginnings = {BeginningOfPrompt(*model, "nine").value(),
                                             BeginningOfPrompt(*model, "one, one").value()};
  Adapter persona = PersonaAdapter(TwoPersonas(), 0);
  persona = ScaleAdapter(std::move(persona), 50);  // so that it is heard
  const std::vector<std::vector<AdapterRef>> sides = {{}, {{.adapter = &persona}}, {}};
  const auto samples = WriteSamples(model, TestPool(), beginnings, sides, {.max_tokens = 12});
  ASSERT_TRUE(samples.ok()) << samples.status();
  ASSERT_EQ(samples->size(), 2u);
  EXPECT_EQ((*samples)[1].beginning, "one, one");
  for (const WritingSample& sample : *samples) {
    ASSERT_EQ(sample.sides.size(), 3u);
    EXPECT_EQ(sample.sides[0], sample.sides[2]);  // the same seed, nothing left of the other side
    EXPECT_NE(sample.sides[0], sample.sides[1]);
  }
}

TEST(StageMeterTest, StagesFollowEachOther) {
  StageMeter meter(nullptr);
  EXPECT_TRUE(meter.costs().empty());
  meter.Begin("first");
  double sum = 0;
  for (int i = 0; i < 3'000'000; ++i) sum += 1.0 / (1 + i);
  EXPECT_GT(sum, 1);
  meter.Begin("second");
  meter.End();
  meter.End();
  ASSERT_EQ(meter.costs().size(), 2u);
  EXPECT_EQ(meter.costs()[0].name, "first");
  EXPECT_GT(meter.costs()[0].cpu_seconds, 0);
  EXPECT_GT(meter.costs()[0].seconds, meter.costs()[1].seconds);
  EXPECT_EQ(meter.costs()[0].joules, 0);
}

}  // namespace
}  // namespace lorikeet
