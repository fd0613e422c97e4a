#include "device/personalization/catalog_builder.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/adapter/style_match.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/explainer.h"
#include "device/personalization/private_documents.h"
#include "device/personalization/rehearsal.h"
#include "device/trainer/gradient_basis.h"

namespace lorikeet {
namespace {

// Public text goes the same way as private text, so that personas see what owners' text will look
// like.
std::vector<Sequence> TokenizePublic(const Model& model, std::span<const std::string> documents,
                                     int window_tokens) {
  std::vector<PrivateText> texts;
  for (const std::string& document : documents) texts.emplace_back(document);
  return TokenizeDocuments(model, texts, window_tokens);
}

// Seed text is public and read once: more of it than of an owner's text.
constexpr int64_t kPersonaExplainTokens = 8 * kExplainTokens;

absl::Status ExplainCard(std::shared_ptr<const Model> model, ThreadPool* pool,
                         const ExplanationAxes& axes, std::span<const Sequence> documents,
                         StyleCard* card) {
  if (axes.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto explainer, Explainer::Create(std::move(model), pool, axes));
  ASSIGN_OR_RETURN(Explanation explanation, explainer->Explain(documents, kPersonaExplainTokens));
  card->explanation = std::move(explanation.weights);
  card->explanation_residual = explanation.residual;
  return absl::OkStatus();
}

std::vector<std::string_view> Views(std::span<const std::string> documents) {
  return {documents.begin(), documents.end()};
}

}  // namespace

absl::StatusOr<Catalog> InitCatalog(std::shared_ptr<const Model> model, ThreadPool* pool,
                                    std::span<const std::string> public_documents,
                                    const BasisOptions& options) {
  std::vector<Sequence> sequences = TokenizePublic(*model, public_documents, options.window_tokens);
  if (sequences.empty()) {
    return absl::InvalidArgumentError("public text: expected at least two tokens, found none");
  }
  for (Sequence& seed : TokenizePublic(*model, options.seed_documents, options.window_tokens)) {
    sequences.push_back(std::move(seed));
  }
  const AdapterSpec spec{.kind = AdapterKind::kCore,
                         .rank = options.rank,
                         .alpha = options.alpha,
                         .modules = options.modules,
                         .seed = options.seed};
  Adapter adapter;
  if (options.method == BasisMethod::kRandom) {
    ASSIGN_OR_RETURN(adapter, MakeAdapter(*model, spec));
  } else {
    const auto groups = GroupForBasis(std::move(sequences), options.text);
    ASSIGN_OR_RETURN(adapter, MakeGradientBasisAdapter(model, pool, groups, spec));
  }
  Catalog catalog;
  catalog.base_fingerprint = model->fingerprint();
  catalog.architecture = model->config().architecture;
  catalog.rank = options.rank;
  catalog.alpha = options.alpha;
  catalog.basis = std::move(adapter.matrices);
  for (AdapterMatrix& matrix : catalog.basis) matrix.core.clear();
  catalog.background = MakeStyleBackground(Views(public_documents));
  if (!options.axes.axes.empty()) {
    ASSIGN_OR_RETURN(catalog.axes, MakeAxes(model, pool, options.axes, public_documents));
  }
  RETURN_IF_ERROR(CheckCatalog(catalog));
  return catalog;
}

TrainOptions DefaultPersonaTraining() {
  TrainOptions options;
  options.epochs = 8;
  options.batch_size = 8;
  // 2e-2 gains as much on strong styles and half of it on novelists (0.02 nats instead of 0.04).
  options.learning_rate = 8e-3;
  options.warmup_steps = 2;
  options.precision = TrainPrecision::kFast;
  return options;
}

absl::StatusOr<TrainResult> TrainPersona(std::shared_ptr<const Model> model, ThreadPool* pool,
                                         const Clock& clock, Catalog* catalog, std::string_view id,
                                         std::span<const std::string> seed_documents,
                                         const PersonaOptions& options,
                                         const ProgressCallback& progress) {
  Catalog next = *catalog;
  int index = next.FindPersona(id);
  if (index < 0) {
    index = static_cast<int>(next.personas.size());
    next.personas.push_back(
        {.id = std::string(id),
         .cores = std::vector<float>(static_cast<size_t>(next.block_size()), 0.0f),
         .card = {}});
  }
  Persona& persona = next.personas[static_cast<size_t>(index)];
  const double gain_before = persona.card.gain;
  persona.card = MakeStyleCard(CountStyle(Views(seed_documents)), next.background);
  persona.card.self_evidence = SelfEvidence(Views(seed_documents), next.background);
  RETURN_IF_ERROR(CheckCatalog(next));

  std::vector<std::string> train, eval;
  const auto every = static_cast<size_t>(
      options.eval_share > 0 ? std::max(2.0, std::round(1 / options.eval_share)) : 0);
  for (size_t i = 0; i < seed_documents.size(); ++i) {
    (every > 0 && i % every == every - 1 ? eval : train).push_back(seed_documents[i]);
  }
  std::vector<Sequence> train_set = TokenizePublic(*model, train, options.window_tokens);
  const std::vector<Sequence> eval_set = TokenizePublic(*model, eval, options.window_tokens);
  if (train_set.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("persona ", ToAbsl(id), ": no seed text"));
  }
  RETURN_IF_ERROR(ExplainCard(model, pool, next.axes,
                              TokenizePublic(*model, seed_documents, options.window_tokens),
                              &persona.card));
  const double rehearsed =
      options.rehearsal_share * static_cast<double>(PredictedTokens(train_set));
  ASSIGN_OR_RETURN(
      std::vector<Sequence> own,
      RehearseBase(model, pool, {.tokens = std::llround(rehearsed), .seed = options.train.seed}));
  std::ranges::move(own, std::back_inserter(train_set));
  ASSIGN_OR_RETURN(TrainResult result, Train(model, pool, clock, PersonaAdapter(next, index), {},
                                             train_set, eval_set, options.train, progress));
  double gained = 0;
  for (const LossPoint& point : result.eval_loss) {
    gained = std::max(gained, result.eval_loss.front().loss - point.loss);
  }
  persona.card.gain = gain_before + gained;
  persona.cores.clear();
  for (const AdapterMatrix& matrix : result.adapter.matrices) {
    persona.cores.insert(persona.cores.end(), matrix.core.begin(), matrix.core.end());
  }
  RETURN_IF_ERROR(CheckCatalog(next));
  *catalog = std::move(next);
  return result;
}

}  // namespace lorikeet
