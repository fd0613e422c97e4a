// The rotary frequencies of a model: base, per-pair factors, linear and YaRN scaling.
#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/model/model_loader.h"

namespace lorikeet {

absl::StatusOr<double> ModelLoader::RopeScalingFactor() const {
  // Before rope.scaling.* there was rope.scale_linear.
  ASSIGN_OR_RETURN(const double older, file_->GetFloat(Key("rope.scale_linear"), 1.0));
  ASSIGN_OR_RETURN(const double factor, file_->GetFloat(Key("rope.scaling.factor"), older));
  // llama.cpp writes 0 for "not scaled".
  if (factor == 0) return 1.0;
  if (!std::isfinite(factor) || factor < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(Key("rope.scaling.factor"), ": expected a positive number, got ", factor));
  }
  return factor;
}

absl::Status ModelLoader::ScaleRope(std::vector<double>& frequencies) {
  ASSIGN_OR_RETURN(const std::string_view type,
                   file_->GetString(Key("rope.scaling.type"), "linear"));
  ASSIGN_OR_RETURN(const double magnitude, file_->GetFloat(Key("rope.scaling.attn_factor"), 1.0));
  if (!std::isfinite(magnitude) || magnitude <= 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        Key("rope.scaling.attn_factor"), ": expected a positive number, got ", magnitude));
  }
  model_.rope_magnitude_ = static_cast<float>(magnitude);
  if (type == "none") return absl::OkStatus();
  ASSIGN_OR_RETURN(const double factor, RopeScalingFactor());
  if (type == "yarn") return ScaleRopeYarn(factor, frequencies);
  if (!type.empty() && type != "linear") {
    return absl::InvalidArgumentError(absl::StrCat("unsupported rope scaling \"", ToAbsl(type),
                                                   "\"; supported: none, linear, yarn"));
  }
  for (double& frequency : frequencies) frequency /= factor;
  return absl::OkStatus();
}

// YaRN (arXiv 2309.00071) with the constants of llama.cpp: pairs that turn more than 32 times in
// the original context keep their frequency, those that turn less than once are divided by the
// factor, between them goes a ramp.
absl::Status ModelLoader::ScaleRopeYarn(double factor, std::vector<double>& frequencies) {
  constexpr double kFastTurns = 32, kSlowTurns = 1, kPi = 3.14159265358979323846;
  ASSIGN_OR_RETURN(const int original,
                   Size("rope.scaling.original_context_length", config_.context_length));
  const double dimensions = config_.rope_dimensions;
  const auto pair_of_turns = [&](double turns) {
    return dimensions * std::log(original / (turns * 2 * kPi)) /
           (2 * std::log(double{config_.rope_base}));
  };
  const double low = std::max(0.0, std::floor(pair_of_turns(kFastTurns)));
  const double high = std::min(dimensions - 1, std::ceil(pair_of_turns(kSlowTurns)));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = (static_cast<double>(i) - low) / std::max(0.001, high - low);
    const double kept = 1 - std::clamp(ramp, 0.0, 1.0);
    frequencies[i] *= kept + (1 - kept) / factor;
  }
  if (factor > 1) model_.rope_magnitude_ *= static_cast<float>(1 + 0.1 * std::log(factor));
  return absl::OkStatus();
}

absl::Status ModelLoader::LoadRope() {
  ASSIGN_OR_RETURN(const double base, file_->GetFloat(Key("rope.freq_base"), 10000.0));
  if (!std::isfinite(base) || base <= 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(Key("rope.freq_base"), ": expected a number above 1, got ", base));
  }
  config_.rope_base = static_cast<float>(base);
  const int pairs = config_.rope_dimensions / 2;
  std::vector<float> factors(pairs, 1.0f);
  if (traits_->allows_rope_factors && file_->FindTensor("rope_freqs.weight") != nullptr) {
    ASSIGN_OR_RETURN(const float* given, Vector("rope_freqs.weight", pairs));
    factors.assign(given, given + pairs);
  }
  std::vector<double> frequencies(pairs);
  for (int i = 0; i < pairs; ++i) {
    if (!std::isfinite(factors[i]) || factors[i] <= 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("rope_freqs.weight: expected positive factors, got ", factors[i]));
    }
    frequencies[i] = std::pow(base, -2.0 * i / config_.rope_dimensions) / factors[i];
  }
  RETURN_IF_ERROR(ScaleRope(frequencies));
  model_.rope_inverse_frequencies_.assign(frequencies.begin(), frequencies.end());
  return absl::OkStatus();
}

}  // namespace lorikeet
