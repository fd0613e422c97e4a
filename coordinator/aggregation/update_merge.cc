#include "coordinator/aggregation/update_merge.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/dp/utility.h"

namespace lorikeet {
namespace {

absl::Status CheckShapes(const Catalog& catalog, const UpdateLayout& layout,
                         std::span<const float> sum, uint32_t survivor_count) {
  if (layout.persona_count != static_cast<int>(catalog.personas.size()) ||
      layout.block_size != catalog.block_size()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "merge: expected %d personas of %d numbers (catalog), got %d of %d (round)",
        catalog.personas.size(), catalog.block_size(), layout.persona_count, layout.block_size));
  }
  if (static_cast<int64_t>(sum.size()) != layout.dimension() || survivor_count == 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("merge: expected %d numbers of at least one device, got %d of %d",
                        layout.dimension(), sum.size(), survivor_count));
  }
  return absl::OkStatus();
}

double MeanLoss(double weighted_sum, const UpdateLayout& layout, uint32_t survivor_count) {
  return std::clamp(weighted_sum / layout.loss_weight / survivor_count, 0.0, layout.loss_bound);
}

absl::Status MostlyNoise(double ratio, double limit) {
  const double factor = ratio / limit;
  return absl::AbortedError(absl::StrFormat(
      "nothing is released: expected noise of at most %g clip norms in a persona's mean, got %.3g "
      "at best: it takes %.1f times the devices, 1/%.1f of the numbers in a core, or 1/%.1f of the "
      "noise (a larger epsilon)",
      limit, ratio, factor, factor * factor, factor));
}

}  // namespace

absl::StatusOr<MergedCatalog> MergeUpdate(const Catalog& catalog, const UpdateLayout& layout,
                                          std::span<const float> sum, uint32_t survivor_count,
                                          const MergeOptions& options) {
  RETURN_IF_ERROR(CheckShapes(catalog, layout, sum, survivor_count));
  MergedCatalog merged;
  merged.catalog = catalog;
  merged.catalog.version = catalog.version + 1;
  const size_t block = static_cast<size_t>(layout.block_size);
  const size_t personas = static_cast<size_t>(layout.persona_count);
  const auto counts = sum.subspan(personas * block, personas);
  const auto losses = sum.subspan(personas * (block + 1), 2);
  const double deviation =
      options.sigma_local * std::sqrt(static_cast<double>(survivor_count)) / options.clip_norm;
  double least_noise = std::numeric_limits<double>::infinity();
  bool any_applied = false;
  for (size_t k = 0; k < personas; ++k) {
    PersonaMerge& persona = merged.report.personas.emplace_back();
    persona.id = catalog.personas[k].id;
    // Without counts the mean is over all survivors: smaller steps, never larger ones.
    persona.noisy_count = layout.count_weight > 0
                              ? static_cast<double>(counts[k]) / layout.count_weight
                              : static_cast<double>(survivor_count);
    if (persona.noisy_count < options.min_count) continue;
    persona.noise_ratio =
        NoiseRatio(deviation, layout.block_size, std::max(persona.noisy_count, 1.0));
    if (persona.noise_ratio > options.largest_noise_ratio) {
      least_noise = std::min(least_noise, persona.noise_ratio);
      continue;
    }
    const double factor = options.server_learning_rate / std::max(persona.noisy_count, 1.0);
    std::vector<float> delta(block);
    double squares = 0;
    for (size_t j = 0; j < block; ++j) {
      delta[j] = static_cast<float>(factor * static_cast<double>(sum[k * block + j]));
      squares += static_cast<double>(delta[j]) * static_cast<double>(delta[j]);
    }
    RETURN_IF_ERROR(AddToPersona(&merged.catalog, static_cast<int>(k), delta));
    persona.applied = true;
    persona.delta_norm = std::sqrt(squares);
    any_applied = true;
  }
  if (!any_applied && std::isfinite(least_noise)) {
    return MostlyNoise(least_noise, options.largest_noise_ratio);
  }
  if (layout.loss_weight > 0) {
    merged.report.has_loss = true;
    merged.report.mean_loss_before = MeanLoss(losses[0], layout, survivor_count);
    merged.report.mean_loss_after = MeanLoss(losses[1], layout, survivor_count);
  }
  return merged;
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
