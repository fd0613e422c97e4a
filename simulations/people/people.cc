#include "simulations/people/people.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "device/personalization/private_documents.h"
#include "simulations/people/groups.h"

namespace lorikeet {
namespace {

constexpr size_t kPieceBytes = 400;  // of test text
constexpr size_t kLeastTrainBytes = 800;
constexpr size_t kLeastTestBytes = 300;

// The last texts of about `max_bytes`, in order.
std::vector<std::string> Last(std::span<const std::string> texts, size_t max_bytes) {
  size_t begin = texts.size(), bytes = 0;
  while (begin > 0 && bytes < max_bytes) bytes += texts[--begin].size();
  return {texts.begin() + static_cast<std::ptrdiff_t>(begin), texts.end()};
}

// What everybody shares.
struct Experiment {
  Catalog catalog;
  Catalog empty;  // the same without personas
  std::vector<Sequence> general;
  std::unique_ptr<LossMeter> meter;
};

absl::StatusOr<Experiment> Prepare(const Lab& lab, const Cast& cast,
                                   std::span<const std::string> neutral,
                                   const PeopleOptions& options, const LabProgress& progress) {
  std::vector<std::string> catalog_text, general_text;
  for (size_t i = 0; i < neutral.size(); ++i) {
    (i % 2 == 0 ? catalog_text : general_text).push_back(neutral[i]);
  }
  if (general_text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("neutral text: expected two documents or more, got ", neutral.size()));
  }
  const std::vector<PersonaSeed> seeds =
      SeedsFromUsers(cast.sources, options.personas, options.seed_bytes, options.seed);
  if (seeds.size() < 2 || cast.judged.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected users enough for two personas and somebody to judge, got ",
                     cast.sources.size(), " and ", cast.judged.size()));
  }
  Experiment experiment;
  ASSIGN_OR_RETURN(experiment.catalog,
                   MakeCatalog(lab, seeds, TakeEvenly(catalog_text, options.general_bytes),
                               options.catalog, progress));
  experiment.empty = experiment.catalog;
  experiment.empty.personas.clear();
  const std::vector<PrivateText> general =
      AsPrivate(TakeEvenly(general_text, options.general_bytes));
  experiment.general =
      TokenizeDocuments(*lab.model, general, options.personalize.split.window_tokens);
  ASSIGN_OR_RETURN(experiment.meter, LossMeter::Create(lab.model, lab.pool.get()));
  return experiment;
}

// Losses of adapters, null for the bare base, on the same documents.
absl::StatusOr<std::vector<std::vector<DocumentLoss>>> MeasureAll(
    LossMeter* meter, std::span<const Adapter* const> adapters,
    std::span<const Sequence> documents) {
  std::vector<LossCandidate> candidates;
  for (const Adapter* adapter : adapters) {
    candidates.emplace_back();
    if (adapter != nullptr) candidates.back().push_back({.adapter = adapter});
  }
  return meter->Measure(candidates, documents);
}

// Personalize, and the processor seconds that it took.
struct Run {
  PersonalizeResult result;
  Adapter personalized;            // kept or not
  std::optional<Adapter> persona;  // in the strength that was chosen
  double cpu = 0;
};

absl::StatusOr<Run> PersonalizeOn(const Lab& lab, const Catalog& catalog, const OwnerText& text,
                                  const PeopleOptions& options) {
  Run run;
  const double before = CpuSecondsNow();
  ASSIGN_OR_RETURN(run.result, Personalize(lab.model, lab.pool.get(), *lab.clock, catalog, text,
                                           options.personalize));
  run.cpu = CpuSecondsNow() - before;
  std::vector<PersonaWeight> weights = run.result.selection.weights;
  for (PersonaWeight& weight : weights) weight.weight *= run.result.persona_scale;
  if (!weights.empty()) run.persona = BlendAdapter(catalog, weights);
  run.personalized =
      PersonalAdapter::Merge(run.persona.value_or(Adapter{}), run.result.training.adapter)
          .adapter();
  return run;
}

absl::Status MeasurePerson(const Experiment& experiment, const Run& run, const Run& scratch,
                           std::span<const Sequence> own, PersonResult* person) {
  const Adapter* in_use = run.result.adapter ? &run.result.adapter->adapter() : nullptr;
  const Adapter* persona = run.persona ? &*run.persona : nullptr;
  const Adapter* const sides[] = {nullptr, persona, &scratch.personalized, &run.personalized,
                                  in_use};
  ASSIGN_OR_RETURN(auto losses, MeasureAll(experiment.meter.get(), sides, own));
  person->base = std::move(losses[0]);
  person->persona = std::move(losses[1]);
  person->scratch = std::move(losses[2]);
  person->personalized = std::move(losses[3]);
  person->in_use = std::move(losses[4]);
  const Adapter* const around[] = {nullptr, in_use};
  ASSIGN_OR_RETURN(const auto general,
                   MeasureAll(experiment.meter.get(), around, experiment.general));
  person->general_before = MeanLoss(general[0]);
  person->general_after = MeanLoss(general[1]);
  return absl::OkStatus();
}

absl::StatusOr<PersonResult> RunPerson(const Lab& lab, const Experiment& experiment,
                                       const UserText& user, const PeopleOptions& options) {
  const std::vector<std::string> train = Last(user.train, options.max_train_bytes);
  const TestHalves halves = HalveTest(user.test, options.max_test_bytes);
  const OwnerText text{.documents = AsPrivate(train), .judge = AsPrivate(halves.judge)};
  ASSIGN_OR_RETURN(const Run run, PersonalizeOn(lab, experiment.catalog, text, options));
  ASSIGN_OR_RETURN(const Run scratch, PersonalizeOn(lab, experiment.empty, text, options));
  PersonResult person;
  person.user = user.user;
  person.train_bytes = TotalBytes(train);
  person.own_bytes = TotalBytes(halves.own);
  person.chosen = run.result.selection.chosen;
  person.outcome = run.result.outcome;
  person.verdict = run.result.verdict;
  person.selection_cpu = run.result.selection.cpu_seconds;
  person.cpu = run.cpu;
  person.scratch_cpu = scratch.cpu;
  person.forgetting = run.result.forgetting;
  person.steps = run.result.training.steps;
  const std::vector<Sequence> own =
      TokenizeDocuments(*lab.model, AsPrivate(halves.own), options.personalize.split.window_tokens);
  RETURN_IF_ERROR(MeasurePerson(experiment, run, scratch, own, &person));
  return person;
}

}  // namespace

TestHalves HalveTest(std::span<const std::string> test, size_t max_bytes) {
  std::vector<std::string_view> pieces;
  for (const std::string& text : test) {
    for (const std::string_view piece : CutText(text, kPieceBytes)) pieces.push_back(piece);
  }
  size_t begin = pieces.size(), total = 0;
  while (begin > 0 && total < max_bytes) total += pieces[--begin].size();
  pieces.erase(pieces.begin(), pieces.begin() + static_cast<std::ptrdiff_t>(begin));
  TestHalves halves;
  size_t passed = 0;
  for (const std::string_view piece : pieces) {
    (2 * passed < total ? halves.judge : halves.own).emplace_back(piece);
    passed += piece.size();
  }
  return halves;
}

Cast ChooseCast(std::vector<UserText> users, const PeopleOptions& options) {
  std::erase_if(users, [&](const UserText& user) {
    const TestHalves halves = HalveTest(user.test, options.max_test_bytes);
    return TotalBytes(user.train) < kLeastTrainBytes ||
           std::min(TotalBytes(halves.judge), TotalBytes(halves.own)) < kLeastTestBytes;
  });
  Rng rng(options.seed);
  for (size_t i = users.size(); i > 1; --i) std::swap(users[i - 1], users[rng.Below(i)]);
  // At least half of a small set makes personas.
  const size_t judged = std::min(static_cast<size_t>(options.users), users.size() / 2);
  Cast cast;
  for (size_t i = 0; i < users.size(); ++i) {
    (i < judged ? cast.judged : cast.sources).push_back(std::move(users[i]));
  }
  return cast;
}

absl::StatusOr<std::vector<PersonResult>> RunPeople(const Lab& lab, const Cast& cast,
                                                    std::span<const std::string> neutral,
                                                    const PeopleOptions& options,
                                                    const LabProgress& progress) {
  ASSIGN_OR_RETURN(const Experiment experiment, Prepare(lab, cast, neutral, options, progress));
  std::vector<PersonResult> people;
  for (const UserText& user : cast.judged) {
    if (progress != nullptr && !progress(static_cast<int>(people.size()),
                                         static_cast<int>(cast.judged.size()), user.user)) {
      return absl::CancelledError("stopped between users");
    }
    ASSIGN_OR_RETURN(PersonResult person, RunPerson(lab, experiment, user, options));
    people.push_back(std::move(person));
  }
  return people;
}

}  // namespace lorikeet
