#include "device/personalization/personalizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "common/adapter/gguf_io.h"
#include "common/base/strings.h"
#include "device/personalization/core_update.h"
#include "device/personalization/rehearsal.h"
#include "tests/support/shared_data.h"
#include "tests/unit/personalization/fixtures.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

PersonalizeOptions FastOptions() {
  PersonalizeOptions options;
  options.rank = 2;
  options.alpha = 4;
  options.train = DefaultPersonalTraining();
  return options;
}

absl::StatusOr<PersonalizeResult> Personalized(const std::vector<std::string>& texts,
                                               const PersonalizeOptions& options) {
  const SystemClock clock;
  return Personalize(LoadTinyModel(), TestPool(), clock, TwoPersonas(),
                     {.documents = Private(texts), .judge = {}}, options);
}

TEST(PersonalAdapterTest, MergedAdapterComputesTheSum) {
  const auto model = LoadTinyModel();
  const Adapter persona = PersonaAdapter(TwoPersonas(), 1);
  Adapter residual =
      MakeAdapter(*model, {.kind = AdapterKind::kLora, .rank = 3, .alpha = 5, .modules = {}})
          .value();
  for (AdapterMatrix& matrix : residual.matrices) {
    for (size_t i = 0; i < matrix.b.size(); ++i) matrix.b[i] = 0.01f * static_cast<float>(i % 7);
  }
  residual.matrices.erase(residual.matrices.begin());  // one weight has the persona's term only
  const PersonalAdapter merged = PersonalAdapter::Merge(persona, residual);
  EXPECT_EQ(merged.adapter().info.alpha, 0);  // ranks differ
  EXPECT_EQ(merged.adapter().info.kind, AdapterKind::kLora);

  const std::vector<Sequence> text = TokenizeDocuments(*model, Private(QuietTexts(4)), 64);
  const std::vector<AdapterRef> both = {{.adapter = &persona}, {.adapter = &residual}};
  const AdapterRef one{.adapter = &merged.adapter()};
  const double expected = EvaluateLoss(model, TestPool(), both, text)->loss();
  EXPECT_NEAR(EvaluateLoss(model, TestPool(), {&one, 1}, text)->loss(), expected, 1e-5 * expected);
  EXPECT_NE(EvaluateLoss(model, TestPool(), {}, text)->loss(), expected);
}

TEST(PersonalAdapterTest, EqualRanksGiveAlphaEqualToRank) {
  const auto model = LoadTinyModel();
  const Adapter residual =
      MakeAdapter(*model, {.kind = AdapterKind::kLora, .rank = 2, .modules = {}}).value();
  const PersonalAdapter merged = PersonalAdapter::Merge(PersonaAdapter(TwoPersonas(), 0), residual);
  EXPECT_EQ(merged.adapter().matrices[0].rank, 4 + 2);
  EXPECT_EQ(merged.adapter().info.alpha, 6);
}

TEST(PersonalAdapterTest, FileIsForTheOwnerOnlyAndLoadsAnywhere) {
  const auto model = LoadTinyModel();
  const Adapter residual =
      MakeAdapter(*model, {.kind = AdapterKind::kLora, .rank = 2, .modules = {}}).value();
  const PersonalAdapter merged = PersonalAdapter::Merge(PersonaAdapter(TwoPersonas(), 0), residual);
  const std::string path = MakeTempDir("personal") + "/a.gguf";
  ASSERT_TRUE(merged.Save(path).ok());
  EXPECT_EQ(std::filesystem::status(path).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  const auto plain = ReadAdapter(path);
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_TRUE(model->CheckAdapter(*plain).ok());
  EXPECT_EQ(PersonalAdapter::Load(path)->adapter().matrices[3].b, merged.adapter().matrices[3].b);
}

TEST(PersonalizerTest, BeatsBaseAndPersonaAndSaysSo) {
  const auto result = Personalized(ShoutingTexts(40), FastOptions());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->selection.chosen, "shouting");
  EXPECT_LT(result->loss_persona, result->loss_base);
  EXPECT_LT(result->loss_personalized, result->loss_persona);
  EXPECT_EQ(result->outcome, Outcome::kKept);
  ASSERT_TRUE(result->adapter.has_value());
  EXPECT_THAT(result->verdict, HasSubstr("kept"));
  const AdapterInfo& info = result->adapter->adapter().info;
  EXPECT_EQ(info.persona_id, "shouting");
  EXPECT_EQ(info.parent, CatalogHash(TwoPersonas()));
  EXPECT_EQ(info.base_fingerprint, LoadTinyModel()->fingerprint());
}

TEST(PersonalizerTest, TrainingThatDoesNotHelpLeavesThePersona) {
  PersonalizeOptions options = FastOptions();
  options.train.max_steps = 1;
  options.train.learning_rate = 1e-9;
  const auto result = Personalized(ShoutingTexts(40), options);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->outcome, Outcome::kPersonaOnly);
  ASSERT_TRUE(result->adapter.has_value());
  EXPECT_THAT(result->verdict, HasSubstr("persona only"));
  // What is left is the persona itself, as a plain LoRA.
  EXPECT_EQ(result->adapter->adapter().matrices[0].rank, TwoPersonas().rank);
}

TEST(PersonalizerTest, ABetterAdapterInUseStays) {
  const auto first = Personalized(ShoutingTexts(40), FastOptions());
  ASSERT_TRUE(first.ok() && first->adapter.has_value());
  PersonalizeOptions options = FastOptions();
  options.existing = first->adapter;
  options.train.max_steps = 1;
  options.train.learning_rate = 1e-6;
  const auto second = Personalized(ShoutingTexts(40), options);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_NEAR(second->loss_existing.value(), first->loss_personalized, 1e-6);
  EXPECT_EQ(second->outcome, Outcome::kRolledBack);
  EXPECT_FALSE(second->adapter.has_value());

  Adapter foreign = first->adapter->adapter();
  foreign.info.base_fingerprint = std::string(64, '0');
  options.existing = PersonalAdapter::FromAdapter(foreign);
  const auto third = Personalized(ShoutingTexts(40), options);
  ASSERT_TRUE(third.ok()) << third.status();
  EXPECT_FALSE(third->loss_existing.has_value());
  EXPECT_THAT(third->verdict, HasSubstr("another base"));
}

TEST(PersonalizerTest, SaysWhatIsForgotten) {
  PersonalizeOptions options = FastOptions();
  options.forgetting_budget = 1;
  const auto result = Personalized(ShoutingTexts(40), options);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->outcome, Outcome::kKept);
  ASSERT_GT(result->forgetting, 0.0005);
  EXPECT_THAT(result->verdict, HasSubstr("the plain model writes by itself is predicted"));
}

TEST(CatalogBuilderTest, RehearsalKeepsWhatTheBaseKnows) {
  const std::vector<Sequence> known =
      RehearseBase(LoadTinyModel(), TestPool(), {.tokens = 2000, .seed = 99}).value();
  const auto meter = LossMeter::Create(LoadTinyModel(), TestPool()).value();
  const SystemClock clock;
  double rise[2];
  for (const bool rehearse : {false, true}) {
    Catalog catalog = EmptyCatalog();
    PersonaOptions options;
    options.train = DefaultPersonaTraining();
    options.rehearsal_share = rehearse ? 1 : 0;
    ASSERT_TRUE(TrainPersona(LoadTinyModel(), TestPool(), clock, &catalog, "shouting",
                             ShoutingTexts(20), options)
                    .ok());
    const Adapter persona = PersonaAdapter(catalog, 0);
    const std::vector<LossCandidate> candidates = {{}, {{.adapter = &persona}}};
    const auto losses = meter->Measure(candidates, known).value();
    rise[rehearse] = MeanLoss(losses[1]) - MeanLoss(losses[0]);
  }
  EXPECT_GT(rise[0], 0);
  EXPECT_LT(rise[1], 0.8 * rise[0]);
}

TEST(PersonalizerTest, TooLittleTextIsAnError) {
  EXPECT_EQ(Personalized({"hello"}, FastOptions()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CatalogBuilderTest, GradientBasisIsOrthonormalAndBeatsARandomOne) {
  const std::vector<std::string> seeds = ShoutingTexts(20);
  const SystemClock clock;
  PersonaOptions options;
  options.train = DefaultPersonaTraining();
  options.train.max_steps = 15;
  double loss[2];
  for (const BasisMethod method : {BasisMethod::kGradient, BasisMethod::kRandom}) {
    BasisOptions basis;
    basis.method = method;
    basis.rank = 2;
    basis.text.group_count = 2;
    std::vector<std::string> texts = PlainTexts();
    for (const std::string& text : seeds) texts.push_back(text);
    Catalog catalog = InitCatalog(LoadTinyModel(), TestPool(), texts, basis).value();
    EXPECT_TRUE(CheckCatalog(catalog).ok());
    const auto result =
        TrainPersona(LoadTinyModel(), TestPool(), clock, &catalog, "p", seeds, options);
    ASSERT_TRUE(result.ok()) << result.status();
    loss[static_cast<int>(method)] = result->eval_loss.back().loss;
    EXPECT_LT(result->eval_loss.back().loss, result->eval_loss.front().loss);
  }
  EXPECT_LT(loss[0], loss[1]);
}

TEST(CatalogBuilderTest, ErrorsLeaveTheCatalogAlone) {
  Catalog catalog = TwoPersonas();
  const std::string before = SerializeCatalog(catalog);
  const SystemClock clock;
  PersonaOptions options;
  options.train = DefaultPersonaTraining();
  const std::vector<std::string> none;
  EXPECT_FALSE(
      TrainPersona(LoadTinyModel(), TestPool(), clock, &catalog, "new", none, options).ok());
  EXPECT_FALSE(
      TrainPersona(LoadTinyModel(), TestPool(), clock, &catalog, "base", QuietTexts(9), options)
          .ok());
  EXPECT_EQ(SerializeCatalog(catalog), before);
  BasisOptions too_large;
  too_large.rank = 100;
  EXPECT_EQ(InitCatalog(LoadTinyModel(), TestPool(), PlainTexts(), too_large).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(InitCatalog(LoadTinyModel(), TestPool(), none, {}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CoreUpdateTest, DeltaAddedToThePersonaGivesTheLossItNames) {
  Catalog catalog = TwoPersonas();
  const SystemClock clock;
  CoreUpdateOptions options;
  options.steps = 5;
  const std::vector<PrivateText> documents = Private(QuietTexts(12));
  const int index = catalog.FindPersona("shouting");
  const auto delta =
      LocalCoreUpdate(LoadTinyModel(), TestPool(), clock, catalog, index, documents, options);
  ASSERT_TRUE(delta.ok()) << delta.status();
  EXPECT_EQ(static_cast<int64_t>(delta->values.size()), catalog.block_size());
  EXPECT_EQ(delta->steps, 5);
  EXPECT_LT(delta->loss_after, delta->loss_before);

  ASSERT_TRUE(AddToPersona(&catalog, index, delta->values).ok());
  const Adapter moved = PersonaAdapter(catalog, index);
  const AdapterRef ref{.adapter = &moved};
  const auto sequences = TokenizeDocuments(*LoadTinyModel(), documents, options.window_tokens);
  EXPECT_NEAR(EvaluateLoss(LoadTinyModel(), TestPool(), {&ref, 1}, sequences)->loss(),
              delta->loss_after, 1e-4);
  EXPECT_FALSE(
      LocalCoreUpdate(LoadTinyModel(), TestPool(), clock, catalog, 9, documents, options).ok());
  EXPECT_FALSE(LocalCoreUpdate(LoadTinyModel(), TestPool(), clock, catalog, 0, {}, options).ok());
}

}  // namespace
}  // namespace lorikeet
