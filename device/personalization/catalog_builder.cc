#include "device/personalization/catalog_builder.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/basis.h"
#include "device/personalization/private_documents.h"

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

std::vector<std::string_view> Views(std::span<const std::string> documents) {
  return {documents.begin(), documents.end()};
}

// Consecutive sequences in `count` groups of about equal tokens, at most `max_tokens` in all, taken
// evenly.
std::vector<std::vector<Sequence>> MakeGroups(std::vector<Sequence> sequences, int count,
                                              int64_t max_tokens) {
  const int64_t total = PredictedTokens(sequences);
  const double keep = std::min(1.0, static_cast<double>(max_tokens) / static_cast<double>(total));
  std::vector<Sequence> kept;
  double credit = 0.5;
  for (Sequence& sequence : sequences) {
    credit += keep;
    if (credit >= 1) {
      credit -= 1;
      kept.push_back(std::move(sequence));
    }
  }
  const int64_t per_group = PredictedTokens(kept) / std::max(1, count) + 1;
  std::vector<std::vector<Sequence>> groups(1);
  for (Sequence& sequence : kept) {
    if (PredictedTokens(groups.back()) >= per_group) groups.emplace_back();
    groups.back().push_back(std::move(sequence));
  }
  return groups;
}

}  // namespace

absl::StatusOr<Catalog> InitCatalog(std::shared_ptr<const Model> model, ThreadPool* pool,
                                    std::span<const std::string> public_documents,
                                    const BasisOptions& options) {
  std::vector<Sequence> sequences = TokenizePublic(*model, public_documents, options.window_tokens);
  if (sequences.empty()) {
    return absl::InvalidArgumentError("public text: expected at least two tokens, found none");
  }
  // Also checks rank and modules against the model's shapes.
  ASSIGN_OR_RETURN(Adapter random, MakeAdapter(*model, {.kind = AdapterKind::kCore,
                                                        .rank = options.rank,
                                                        .alpha = options.alpha,
                                                        .modules = options.modules,
                                                        .seed = options.seed}));
  Catalog catalog;
  catalog.base_fingerprint = model->fingerprint();
  catalog.architecture = model->config().architecture;
  catalog.rank = options.rank;
  catalog.alpha = options.alpha;
  if (options.method == BasisMethod::kRandom) {
    catalog.basis = std::move(random.matrices);
    for (AdapterMatrix& matrix : catalog.basis) matrix.core.clear();
  } else {
    const auto groups = MakeGroups(std::move(sequences), options.group_count, options.max_tokens);
    ASSIGN_OR_RETURN(catalog.basis, GradientBasis(model, pool, groups, options));
  }
  catalog.background = MakeStyleBackground(Views(public_documents));
  RETURN_IF_ERROR(CheckCatalog(catalog));
  return catalog;
}

TrainOptions DefaultPersonaTraining() {
  TrainOptions options;
  options.epochs = 8;
  options.batch_size = 8;
  options.learning_rate = 2e-2;
  options.warmup_steps = 2;
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
  persona.card = MakeStyleCard(CountStyle(Views(seed_documents)), next.background);
  RETURN_IF_ERROR(CheckCatalog(next));

  std::vector<std::string> train, eval;
  const auto every = static_cast<size_t>(
      options.eval_share > 0 ? std::max(2.0, std::round(1 / options.eval_share)) : 0);
  for (size_t i = 0; i < seed_documents.size(); ++i) {
    (every > 0 && i % every == every - 1 ? eval : train).push_back(seed_documents[i]);
  }
  const std::vector<Sequence> train_set = TokenizePublic(*model, train, options.window_tokens);
  const std::vector<Sequence> eval_set = TokenizePublic(*model, eval, options.window_tokens);
  if (train_set.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("persona ", ToAbsl(id), ": no seed text"));
  }
  ASSIGN_OR_RETURN(TrainResult result, Train(model, pool, clock, PersonaAdapter(next, index), {},
                                             train_set, eval_set, options.train, progress));
  persona.cores.clear();
  for (const AdapterMatrix& matrix : result.adapter.matrices) {
    persona.cores.insert(persona.cores.end(), matrix.core.begin(), matrix.core.end());
  }
  RETURN_IF_ERROR(CheckCatalog(next));
  *catalog = std::move(next);
  return result;
}

}  // namespace lorikeet
