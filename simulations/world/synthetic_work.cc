#include "simulations/world/synthetic_work.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/catalog.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/update/pipeline.h"

namespace lorikeet {
namespace {

constexpr double kPersonaSpread = 0.5;  // of the first personas' numbers
constexpr double kCommonOffset = 0.15;  // of all devices from their persona: what rounds can learn
constexpr double kOwnOffset = 0.05;     // of one device from its kind
constexpr absl::Duration kPersonalizeTime = absl::Seconds(20);  // at speed 1
constexpr absl::Duration kContributeTime = absl::Seconds(10);

// Mean squared distance.
double Loss(std::span<const float> cores, std::span<const float> target) {
  double sum = 0;
  for (size_t j = 0; j < target.size(); ++j) {
    const double difference = static_cast<double>(target[j]) - (cores.empty() ? 0.0 : cores[j]);
    sum += difference * difference;
  }
  return sum / static_cast<double>(target.size());
}

// What personalization does: half the way from the persona to the owner.
std::vector<float> HalfWay(std::span<const float> from, std::span<const float> to) {
  std::vector<float> middle(from.size());
  for (size_t j = 0; j < from.size(); ++j) middle[j] = 0.5f * (from[j] + to[j]);
  return middle;
}

int Nearest(const Catalog& catalog, std::span<const float> target) {
  int best = -1;
  double best_loss = Loss({}, target);  // the base is a candidate
  for (size_t k = 0; k < catalog.personas.size(); ++k) {
    const double loss = Loss(catalog.personas[k].cores, target);
    if (loss < best_loss) {
      best_loss = loss;
      best = static_cast<int>(k);
    }
  }
  return best;
}

absl::StatusOr<PersonalSummary> Judge(const std::string& bytes, const std::vector<float>& target,
                                      absl::Time at) {
  ASSIGN_OR_RETURN(const Catalog catalog, ParseCatalog(bytes));
  if (static_cast<int64_t>(target.size()) != catalog.block_size()) {
    return absl::InternalError("synthetic work: another catalog's shape");
  }
  const int best = Nearest(catalog, target);
  const std::vector<float> nothing(target.size());
  const std::vector<float>& chosen =
      best < 0 ? nothing : catalog.personas[static_cast<size_t>(best)].cores;
  PersonalSummary summary;
  summary.catalog_version = catalog.version;
  summary.chosen = best < 0 ? "base" : catalog.personas[static_cast<size_t>(best)].id;
  summary.contributes_to = best < 0 ? "" : summary.chosen;
  summary.loss_base = Loss({}, target);
  summary.loss_persona = Loss(chosen, target);
  summary.loss_personalized = Loss(HalfWay(chosen, target), target);
  summary.kept = summary.loss_personalized < summary.loss_persona;
  summary.reason = absl::StrFormat("%s is nearest: %.4f against %.4f for the base.", summary.chosen,
                                   summary.loss_persona, summary.loss_base);
  summary.verdict = summary.kept ? "kept" : "rolled back";
  summary.at = at;
  return summary;
}

}  // namespace

Catalog SyntheticCatalog(const SyntheticShape& shape, uint64_t seed) {
  SeededRandom random("synthetic catalog", seed);
  Rng rng(random.Uint64());
  Catalog catalog;
  catalog.base_fingerprint = std::string(64, '5');
  catalog.architecture = "synthetic";
  catalog.rank = shape.rank;
  catalog.alpha = static_cast<float>(shape.rank);
  AdapterMatrix matrix;
  matrix.rank = shape.rank;
  matrix.in_features = shape.rank;
  matrix.out_features = shape.rank;
  const size_t rank = static_cast<size_t>(shape.rank);
  matrix.a.assign(rank * rank, 0);
  for (size_t j = 0; j < rank; ++j) matrix.a[j * rank + j] = 1;
  matrix.b = matrix.a;
  catalog.basis = {matrix};
  const std::vector<std::string_view> documents = {"a first line of text", "and then a second one"};
  catalog.background = MakeStyleBackground(documents);
  for (int k = 0; k < shape.personas; ++k) {
    Persona persona;
    persona.id = absl::StrCat("kind-", k);
    persona.card = MakeStyleCard(CountStyle(documents), catalog.background);
    for (size_t j = 0; j < rank * rank; ++j) {
      persona.cores.push_back(static_cast<float>(kPersonaSpread * rng.Normal()));
    }
    catalog.personas.push_back(std::move(persona));
  }
  return catalog;
}

SyntheticWork::SyntheticWork(const Catalog& catalog, int index, uint64_t seed)
    : random_("synthetic work", seed) {
  Rng rng(random_.Uint64());
  const size_t kind = static_cast<size_t>(index) % catalog.personas.size();
  Rng kind_rng(kind + 1);  // the same for all devices of the kind
  for (const float value : catalog.personas[kind].cores) {
    target_.push_back(
        static_cast<float>(value + kCommonOffset * kind_rng.Normal() + kOwnOffset * rng.Normal()));
  }
  speed_ = 0.5 + 1.5 * rng.Uniform();
}

Computation<PersonalSummary> SyntheticWork::Personalize(const PersonalizeAction&,
                                                        std::string catalog, absl::Time now) {
  const absl::Duration duration = kPersonalizeTime / speed_;
  return {duration, [catalog = std::move(catalog), this, at = now + duration] {
            return Judge(catalog, target_, at);
          }};
}

Computation<EncodedDelta> SyntheticWork::Contribute(const ContributeAction& action,
                                                    std::string catalog_bytes, absl::Time) {
  return {
      kContributeTime / speed_,
      [this, action, catalog_bytes = std::move(catalog_bytes)]() -> absl::StatusOr<EncodedDelta> {
        ASSIGN_OR_RETURN(const Catalog catalog, ParseCatalog(catalog_bytes));
        const int persona = catalog.FindPersona(action.persona);
        if (persona < 0) return absl::NotFoundError("synthetic work: no such persona");
        const std::vector<float>& cores = catalog.personas[static_cast<size_t>(persona)].cores;
        const std::vector<float> after = HalfWay(cores, target_);
        CoreDelta delta;
        for (size_t j = 0; j < cores.size(); ++j) delta.values.push_back(after[j] - cores[j]);
        delta.loss_before = Loss(cores, target_);
        delta.loss_after = Loss(after, target_);
        return PrepareContribution(delta, persona, action.round, &random_);
      }};
}

}  // namespace lorikeet
