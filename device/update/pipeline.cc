#include "device/update/pipeline.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {

absl::StatusOr<AdapterDelta> LayOut(const CoreDelta& delta, int persona_index,
                                    const UpdateLayout& layout, double clip_norm) {
  if (static_cast<int64_t>(delta.values.size()) != layout.block_size) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "update: expected a block of %d numbers, got %d", layout.block_size, delta.values.size()));
  }
  const int index = persona_index - layout.first_persona;
  if (index < 0 || index >= layout.persona_count) {
    return absl::InvalidArgumentError(
        absl::StrFormat("update: expected a persona of %d to %d, got %d", layout.first_persona,
                        layout.first_persona + layout.persona_count - 1, persona_index));
  }
  if (!std::isfinite(delta.loss_before) || !std::isfinite(delta.loss_after)) {
    return absl::InvalidArgumentError("update: expected finite losses");
  }
  const double largest_loss = layout.loss_bound * layout.loss_weight;
  const double left = clip_norm * clip_norm - layout.count_weight * layout.count_weight -
                      2 * largest_loss * largest_loss;
  if (!(left > 0)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "update: a clip norm of %g leaves nothing beside count and losses", clip_norm));
  }
  ASSIGN_OR_RETURN(const ClippedDelta block, Clip(delta.values, std::sqrt(left)));
  AdapterDelta laid_out;
  laid_out.values_.assign(layout.dimension(), 0.0f);
  std::ranges::copy(block.values(), laid_out.values_.begin() + index * layout.block_size);
  float* const counts = laid_out.values_.data() + layout.persona_count * layout.block_size;
  counts[index] = static_cast<float>(layout.count_weight);
  float* const losses = counts + layout.persona_count;
  const double before = std::clamp(delta.loss_before, 0.0, layout.loss_bound);
  const double after = std::clamp(delta.loss_after, 0.0, layout.loss_bound);
  losses[0] = static_cast<float>(before * layout.loss_weight);
  losses[1] = static_cast<float>(after * layout.loss_weight);
  return laid_out;
}

absl::StatusOr<EncodedDelta> PrepareContribution(const CoreDelta& delta, int persona_index,
                                                 const RoundDescription& round,
                                                 RandomSource* random) {
  ASSIGN_OR_RETURN(const AdapterDelta laid_out,
                   LayOut(delta, persona_index, round.layout, round.encoding.clip_norm));
  ASSIGN_OR_RETURN(const ClippedDelta clipped, Clip(laid_out.values(), round.encoding.clip_norm));
  return Encode(clipped, round.encoding, random);
}

}  // namespace lorikeet
