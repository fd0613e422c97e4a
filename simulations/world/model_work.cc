#include "simulations/world/model_work.h"

#include <utility>

#include "common/adapter/catalog.h"
#include "common/base/status_macros.h"
#include "device/agent/device_work.h"

namespace lorikeet {
namespace {

// Training speeds of the simulated devices: a slow phone to a fast laptop.
constexpr double kSlowest = 60, kFastest = 600;  // tokens a second

}  // namespace

ModelWork::ModelWork(Options options)
    : options_(std::move(options)), random_("model work", options_.seed) {
  Rng rng(random_.Uint64());
  tokens_per_second_ = kSlowest + (kFastest - kSlowest) * rng.Uniform();
}

absl::Duration ModelWork::TimeFor(int64_t tokens) const {
  return absl::Seconds(static_cast<double>(tokens) / tokens_per_second_);
}

Computation<PersonalSummary> ModelWork::Personalize(const PersonalizeAction&,
                                                    std::string catalog_bytes, absl::Time now) {
  const PersonalizeOptions& limits = options_.personalize;
  const absl::Duration duration =
      TimeFor(limits.train.max_steps * limits.train.batch_size * limits.split.window_tokens +
              (limits.select.candidate_count + 1) * limits.select.token_budget);
  auto run = [this, catalog_bytes = std::move(catalog_bytes),
              at = now + duration]() -> absl::StatusOr<PersonalSummary> {
    ASSIGN_OR_RETURN(const Catalog catalog, ParseCatalog(catalog_bytes));
    ThreadPool pool(1);
    const ManualClock clock(at);
    PersonalizeOptions options = options_.personalize;
    options.existing = adapter_;
    OwnerText text;
    text.documents = options_.documents;
    ASSIGN_OR_RETURN(PersonalizeResult result,
                     lorikeet::Personalize(options_.model, &pool, clock, catalog, text, options));
    PersonalSummary summary = Summarize(result, catalog, at);
    if (result.adapter) adapter_ = std::move(result.adapter);
    return summary;
  };
  return {duration, std::move(run)};
}

Computation<EncodedDelta> ModelWork::Contribute(const ContributeAction& action,
                                                std::string catalog_bytes, absl::Time now) {
  const LocalTraining& training = action.round.training;
  auto run = [this, action, catalog_bytes = std::move(catalog_bytes),
              now]() -> absl::StatusOr<EncodedDelta> {
    ASSIGN_OR_RETURN(const Catalog catalog, ParseCatalog(catalog_bytes));
    ThreadPool pool(1);
    const ManualClock clock(now);
    return TrainContribution({options_.model, &catalog, options_.documents}, action, &pool, clock,
                             &random_, nullptr);
  };
  return {TimeFor(training.steps * training.batch_size * training.context_length), std::move(run)};
}

}  // namespace lorikeet
