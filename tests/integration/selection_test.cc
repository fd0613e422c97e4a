// The whole measurement of persona selection on a tiny model: trains, tries, reports.
#include <gtest/gtest.h>

#include <filesystem>

#include "simulations/selection/experiment.h"
#include "simulations/selection/experiment_report.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

ExperimentOptions SmallOptions() {
  ExperimentOptions options;
  options.texts.demo = std::string(LORIKEET_SOURCE_DIR) + "/deploy/demo_data";
  options.texts.personas = 3;
  options.texts.seed_documents = 10;
  options.texts.held_out_documents = 8;
  options.texts.neutral_documents = 10;
  options.similarities = {0.5, 0.9};
  options.examples = {2, 6};
  options.trials = 2;
  options.stranger_trials = 3;
  options.catalog.basis.rank = 4;
  options.catalog.basis.text = {.group_count = 2, .max_tokens = 600};
  options.catalog.basis.axes.axes.clear();  // a random model cannot tell their sides apart
  options.catalog.training.train = DefaultPersonaTraining();
  options.catalog.training.train.max_steps = 2;
  options.costs.pools = {2, 5};
  options.costs.examples = {8};
  options.costs.owners = 1;
  options.costs.repeats = 1;
  return options;
}

std::shared_ptr<const Model> TinyModel() { return Model::Load(WriteTinyModel()).value(); }

TEST(SelectionExperimentTest, TriesEveryMethodUnderEveryCondition) {
  const ExperimentOptions options = SmallOptions();
  ThreadPool pool(1);
  const auto result = RunExperiment(TinyModel(), &pool, options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->accuracy.size(), 5u * 2 * 2);
  for (const AccuracyCell& cell : result->accuracy) {
    EXPECT_EQ(Pooled(cell.right).trials, 3 * 2);
    if (cell.method == Method::kBase) {
      EXPECT_EQ(Pooled(cell.base).successes, 3 * 2);
    }
    if (cell.method == Method::kClassifier) {
      EXPECT_EQ(Pooled(cell.base).successes, 0);
    }
  }
  EXPECT_EQ(result->strangers.size(), 2u * 2 * 2);  // neutral, another set; ours, exhaustive
  size_t ours = 2u * 2 * 3 * 2;
  for (const StrangerCell& cell : result->strangers) {
    if (cell.method == Method::kOurs) ours += static_cast<size_t>(Pooled(cell.persona).trials);
  }
  EXPECT_EQ(result->confidence.size(), ours);
  ASSERT_EQ(result->cost.size(), 2u);
  EXPECT_GT(result->cost[1].train_cpu_seconds, 0);
  EXPECT_GT(result->cost[1].select_cpu_seconds, 0);
  EXPECT_GT(result->losses_asked, result->losses_measured);

  const std::string page = ExperimentPage(options, *result);
  EXPECT_NE(page.find("<svg"), std::string::npos);
  EXPECT_NE(page.find("XPerT"), std::string::npos);
  const nlohmann::json document = ExperimentJson(options, *result);
  EXPECT_EQ(document["accuracy"].size(), result->accuracy.size());
  EXPECT_EQ(document["accuracy"][0]["right"]["trials"], 6);
}

TEST(SelectionExperimentTest, KeptCatalogIsUsedAgainAndOtherTextsAreRefused) {
  ExperimentOptions options = SmallOptions();
  options.blend = BlendProtocol::kPersona;
  options.similarities = {0.5, 0.9};
  options.exhaustive = options.cost = false;
  options.catalog.path = testing::TempDir() + "/selection_catalog.gguf";
  std::filesystem::remove(options.catalog.path + ".50");
  std::filesystem::remove(options.catalog.path + ".90");
  ThreadPool pool(1);
  int trained = 0;
  const SelectionProgress count = [&](std::string_view stage, int64_t, int64_t) {
    trained += stage == "personas" ? 1 : 0;
    return true;
  };
  const auto model = TinyModel();
  const auto first = RunExperiment(model, &pool, options, count);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(trained, 6);
  const auto second = RunExperiment(model, &pool, options, count);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(trained, 6);
  for (size_t i = 0; i < first->accuracy.size(); ++i) {
    EXPECT_EQ(Pooled(first->accuracy[i].right).successes,
              Pooled(second->accuracy[i].right).successes);
  }
  options.texts.seed_documents = 12;
  EXPECT_EQ(RunExperiment(model, &pool, options).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(SelectionExperimentTest, StopsWhenAsked) {
  ThreadPool pool(1);
  const auto result = RunExperiment(TinyModel(), &pool, SmallOptions(),
                                    [](std::string_view, int64_t, int64_t) { return false; });
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace lorikeet
