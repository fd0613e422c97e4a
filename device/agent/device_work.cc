#include "device/agent/device_work.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/forgetting.h"
#include "device/personalization/history_entry.h"
#include "device/personalization/incremental.h"
#include "device/update/pipeline.h"

namespace lorikeet {

PersonalSummary Summarize(const PersonalizeResult& result, const Catalog& catalog, absl::Time at) {
  PersonalSummary summary;
  summary.catalog_version = catalog.version;
  summary.at = at;
  summary.chosen = result.selection.chosen;
  // A blend contributes to the heavier of its personas.
  const auto& weights = result.selection.weights;
  const auto heaviest =
      std::max_element(weights.begin(), weights.end(),
                       [](const auto& a, const auto& b) { return a.weight < b.weight; });
  if (heaviest != weights.end()) summary.contributes_to = catalog.personas[heaviest->index].id;
  summary.reason = result.selection.reason;
  summary.verdict = result.verdict;
  summary.loss_base = result.loss_base;
  summary.loss_persona = result.loss_persona;
  summary.loss_personalized = result.loss_personalized;
  summary.kept = result.outcome == Outcome::kKept;
  return summary;
}

absl::StatusOr<EncodedDelta> TrainContribution(const ContributionInput& input,
                                               const ContributeAction& action, ThreadPool* pool,
                                               const Clock& clock, RandomSource* random,
                                               const ProgressCallback& progress) {
  if (input.documents.empty()) {
    return absl::FailedPreconditionError(
        "no text whose source allows federated rounds (lorikeet vault consent)");
  }
  const int persona = input.catalog->FindPersona(action.persona);
  const LocalTraining& training = action.round.training;
  CoreUpdateOptions options;
  options.steps = training.steps;
  options.batch_size = training.batch_size;
  options.learning_rate = training.learning_rate;
  options.window_tokens = training.context_length;
  options.seed = action.round.round_number;
  ASSIGN_OR_RETURN(const CoreDelta delta,
                   LocalCoreUpdate(input.model, pool, clock, *input.catalog, persona,
                                   input.documents, options, progress));
  return PrepareContribution(delta, persona, action.round, random);
}

absl::StatusOr<std::shared_ptr<const Model>> DeviceWork::LoadModel(const Hash256& base_file) {
  const bool released = options_.model_path.empty() && base_file != Hash256{};
  const std::string path = released ? store_->FilePath(base_file) : options_.model_path;
  if (path.empty()) return absl::FailedPreconditionError("no base model on this device");
  if (model_ == nullptr || model_->file().path() != path) {
    ASSIGN_OR_RETURN(model_, Model::Load(path));
  }
  return model_;
}

absl::StatusOr<OwnerText> DeviceWork::ReadVault(const Model& model,
                                                const std::string& catalog_path) {
  ASSIGN_OR_RETURN(const auto vault, options_.open_vault());
  // Versions that know what was forgotten since are not to be judged against, nor to serve on.
  RETURN_IF_ERROR(PurgeAdapters(vault.get(), clock_, /*rebuild=*/true).status());
  RETURN_IF_ERROR(vault->RememberAdapter({.path = options_.adapter_path,
                                          .model = model.file().path(),
                                          .catalog = catalog_path,
                                          .residual_rank = options_.personalize.rank}));
  ASSIGN_OR_RETURN(std::vector<VaultDocument> records, vault->Records(Purpose::kTrain));
  return HoldOutRecords(std::move(records));
}

BaseHealth DeviceWork::CheckBase(const CheckBaseAction& action) {
  BaseHealthInput input = {.path = store_->FilePath(action.candidate.file_hash),
                           .fingerprint = action.candidate.base_fingerprint,
                           .current = nullptr,
                           .judge = {},
                           .has_adapter = FileExists(options_.adapter_path)};
  if (action.current_file != Hash256{}) {
    // One that does not load any more is no reason to keep it.
    if (auto current = LoadModel(action.current_file); current.ok()) input.current = *current;
  }
  OwnerText text;
  if (const auto vault = options_.open_vault(); vault.ok()) {
    if (auto records = (*vault)->Records(Purpose::kTrain); records.ok()) {
      text = HoldOutRecords(*std::move(records));
    }
  }
  input.judge = text.judge;
  return CheckBaseHealth(input, pool_, options_.base_health);
}

absl::StatusOr<PersonalSummary> DeviceWork::Personalize(const PersonalizeAction& action) {
  ASSIGN_OR_RETURN(const auto model, LoadModel(action.base_file));
  const std::string catalog_path = store_->FilePath(action.catalog_file);
  ASSIGN_OR_RETURN(const Catalog catalog, ReadCatalog(catalog_path));
  ASSIGN_OR_RETURN(const OwnerText text, ReadVault(*model, catalog_path));
  PersonalizeOptions options = options_.personalize;
  PersonalSummary summary;
  {
    ASSIGN_OR_RETURN(History history, History::Open(options_.adapter_path, clock_));
    if (const HistoryEntry* current = history.Current()) {
      ASSIGN_OR_RETURN(options.existing, history.Load(*current));
    }
    ASSIGN_OR_RETURN(const PersonalizeResult result,
                     lorikeet::Personalize(model, pool_, *clock_, catalog, text, options, nullptr,
                                           options_.progress));
    if (options_.on_personalized) options_.on_personalized(action.catalog_version, catalog, result);
    HistoryEntry entry = MakeHistoryEntry(history_kind::kPersonalized, result, catalog);
    entry.model_path = model->file().path();
    entry.catalog_path = catalog_path;
    entry.vault_dir = options_.vault_dir;
    entry.records = text.record_ids;
    RETURN_IF_ERROR(history.Append(std::move(entry), result.adapter));
    summary = Summarize(result, catalog, clock_->Now());
  }
  // Something may have been forgotten while this was training.
  ASSIGN_OR_RETURN(const auto vault, options_.open_vault());
  RETURN_IF_ERROR(CheckStillKnown(vault.get(), clock_, options_.adapter_path, text.record_ids));
  return summary;
}

absl::StatusOr<EncodedDelta> DeviceWork::Contribute(const ContributeAction& action) {
  ASSIGN_OR_RETURN(const AgentState state, store_->Load());
  ASSIGN_OR_RETURN(const auto model, LoadModel(state.base ? state.base->file_hash : Hash256{}));
  ASSIGN_OR_RETURN(const Catalog catalog, ReadCatalog(store_->FilePath(action.catalog_file)));
  ContributionInput input{model, &catalog, {}};
  {
    ASSIGN_OR_RETURN(const auto vault, options_.open_vault());
    ASSIGN_OR_RETURN(input.documents, vault->Documents(Purpose::kFederate));
  }
  return TrainContribution(input, action, pool_, *clock_, random_, options_.progress);
}

}  // namespace lorikeet
