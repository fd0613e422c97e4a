#include "coordinator/aggregation/update_merge.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dp/utility.h"

namespace lorikeet {
namespace {

absl::Status CheckShapes(const Catalog& catalog, const RoundSum& round, int next_persona) {
  const UpdateLayout& layout = round.layout;
  const int all = layout.routed() ? layout.catalog_personas : layout.persona_count;
  if (all != static_cast<int>(catalog.personas.size()) ||
      layout.block_size != catalog.block_size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("merge: expected %d personas of %d numbers (catalog), got %d of %d (round)",
                        catalog.personas.size(), catalog.block_size(), all, layout.block_size));
  }
  if (layout.first_persona < next_persona || layout.first_persona + layout.persona_count > all) {
    return absl::InvalidArgumentError(
        absl::StrFormat("merge: expected personas of %d to %d, got %d from %d on", next_persona,
                        all - 1, layout.persona_count, layout.first_persona));
  }
  if (static_cast<int64_t>(round.sum.size()) != layout.dimension() || round.survivor_count == 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("merge: expected %d numbers of at least one device, got %d of %d",
                        layout.dimension(), round.sum.size(), round.survivor_count));
  }
  return absl::OkStatus();
}

absl::Status MostlyNoise(double ratio, double limit) {
  const double factor = ratio / limit;
  return absl::AbortedError(absl::StrFormat(
      "nothing is released: expected noise of at most %g clip norms in a persona's mean, got %.3g "
      "at best: it takes %.1f times the devices, 1/%.1f of the numbers in a core, or 1/%.1f of the "
      "noise (a larger epsilon)",
      limit, ratio, factor, factor * factor, factor));
}

class Merger {
 public:
  Merger(const Catalog& catalog, const MergeOptions& options) : options_(options) {
    merged_.catalog = catalog;
    merged_.catalog.version = catalog.version + 1;
  }

  absl::Status Add(const RoundSum& round) {
    RETURN_IF_ERROR(CheckShapes(merged_.catalog, round, next_persona_));
    const UpdateLayout& layout = round.layout;
    next_persona_ = layout.first_persona + layout.persona_count;
    for (int k = 0; k < layout.persona_count; ++k) RETURN_IF_ERROR(AddBlock(round, k));
    const auto losses = round.sum.last(2);
    if (layout.loss_weight > 0) {
      for (size_t i = 0; i < 2; ++i) losses_[i] += losses[i] / layout.loss_weight;
      loss_survivors_ += round.survivor_count;
      loss_bound_ = layout.loss_bound;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<MergedCatalog> Finish() && {
    if (!any_applied_ && std::isfinite(least_noise_)) {
      return MostlyNoise(least_noise_, options_.largest_noise_ratio);
    }
    if (loss_survivors_ > 0) {
      merged_.report.has_loss = true;
      merged_.report.mean_loss_before = MeanLoss(losses_[0]);
      merged_.report.mean_loss_after = MeanLoss(losses_[1]);
    }
    return std::move(merged_);
  }

 private:
  double MeanLoss(double sum) const { return std::clamp(sum / loss_survivors_, 0.0, loss_bound_); }

  absl::Status AddBlock(const RoundSum& round, int index) {
    const UpdateLayout& layout = round.layout;
    const size_t k = static_cast<size_t>(index), block = static_cast<size_t>(layout.block_size);
    const size_t counts_at = static_cast<size_t>(layout.persona_count) * block;
    PersonaMerge& persona = merged_.report.personas.emplace_back();
    const size_t in_catalog = static_cast<size_t>(layout.first_persona) + k;
    persona.id = merged_.catalog.personas[in_catalog].id;
    // Without counts the mean is over all survivors: smaller steps, never larger ones.
    persona.noisy_count = layout.count_weight > 0
                              ? static_cast<double>(round.sum[counts_at + k]) / layout.count_weight
                              : static_cast<double>(round.survivor_count);
    if (persona.noisy_count < options_.min_count) return absl::OkStatus();
    const double shared = options_.sigma_local * std::sqrt(round.survivor_count);
    const double deviation = std::hypot(shared, options_.central_deviation) / options_.clip_norm;
    persona.noise_ratio =
        NoiseRatio(deviation, layout.block_size, std::max(persona.noisy_count, 1.0));
    if (persona.noise_ratio > options_.largest_noise_ratio) {
      least_noise_ = std::min(least_noise_, persona.noise_ratio);
      return absl::OkStatus();
    }
    const double factor = options_.server_learning_rate / std::max(persona.noisy_count, 1.0);
    std::vector<float> delta(block);
    double squares = 0;
    for (size_t j = 0; j < block; ++j) {
      delta[j] = static_cast<float>(factor * static_cast<double>(round.sum[k * block + j]));
      squares += static_cast<double>(delta[j]) * static_cast<double>(delta[j]);
    }
    RETURN_IF_ERROR(AddToPersona(&merged_.catalog, static_cast<int>(in_catalog), delta));
    persona.applied = true;
    persona.delta_norm = std::sqrt(squares);
    any_applied_ = true;
    return absl::OkStatus();
  }

  const MergeOptions& options_;
  MergedCatalog merged_;
  int next_persona_ = 0;
  double least_noise_ = std::numeric_limits<double>::infinity();  // of what was refused
  bool any_applied_ = false;
  double losses_[2] = {};
  double loss_survivors_ = 0;
  double loss_bound_ = 0;
};

}  // namespace

absl::StatusOr<MergedCatalog> MergeUpdates(const Catalog& catalog, std::span<const RoundSum> sums,
                                           const MergeOptions& options) {
  Merger merger(catalog, options);
  for (const RoundSum& sum : sums) RETURN_IF_ERROR(merger.Add(sum));
  return std::move(merger).Finish();
}

absl::StatusOr<MergedCatalog> MergeUpdate(const Catalog& catalog, const UpdateLayout& layout,
                                          std::span<const float> sum, uint32_t survivor_count,
                                          const MergeOptions& options) {
  const RoundSum round{layout, sum, survivor_count};
  return MergeUpdates(catalog, {&round, 1}, options);
}

std::string MergeReportToJson(const MergeReport& report) {
  nlohmann::json personas = nlohmann::json::array();
  for (const PersonaMerge& persona : report.personas) {
    personas.push_back({{"id", persona.id},
                        {"noisy_count", persona.noisy_count},
                        {"applied", persona.applied},
                        {"noise_ratio", persona.noise_ratio},
                        {"delta_norm", persona.delta_norm}});
  }
  nlohmann::json document = {{"personas", std::move(personas)},
                             {"mean_loss_before", nullptr},
                             {"mean_loss_after", nullptr}};
  if (report.has_loss) {
    document["mean_loss_before"] = report.mean_loss_before;
    document["mean_loss_after"] = report.mean_loss_after;
  }
  return document.dump();
}

}  // namespace lorikeet
