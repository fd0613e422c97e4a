#include "device/personalization/history_entry.h"

namespace lorikeet {

std::string_view OutcomeName(Outcome outcome) {
  switch (outcome) {
    case Outcome::kKept:
      return "kept";
    case Outcome::kPersonaOnly:
      return "persona";
    case Outcome::kRolledBack:
      return "rolled back";
  }
  return "";
}

HistoryEntry MakeHistoryEntry(std::string_view kind, const PersonalizeResult& result,
                              const Catalog& catalog) {
  HistoryEntry entry;
  entry.kind = kind;
  entry.outcome = OutcomeName(result.outcome);
  entry.verdict = result.verdict;
  entry.base_fingerprint = catalog.base_fingerprint;
  entry.catalog_hash = CatalogHash(catalog);
  entry.persona = result.selection.chosen;
  if (result.adapter) entry.residual_rank = result.adapter->ResidualRank();
  entry.losses.base = result.loss_base;
  entry.losses.persona = result.loss_persona;
  entry.losses.personalized = result.loss_personalized;
  entry.losses.in_use = result.loss_existing;
  entry.losses.tokens = result.judge_tokens;
  return entry;
}

void AddCosts(std::span<const StageCost> costs, HistoryEntry* entry) {
  for (const StageCost& cost : costs) {
    entry->seconds += cost.seconds;
    entry->cpu_seconds += cost.cpu_seconds;
    entry->joules += cost.joules;
  }
}

}  // namespace lorikeet
