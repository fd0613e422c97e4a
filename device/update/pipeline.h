// From a trained core delta to what may be masked.
//
//   CoreDelta --LayOut--> AdapterDelta --Clip--> ClippedDelta --Encode--> EncodedDelta
//   --SecAggClient--> MaskedUpdate
//
// The vector holds the block of every persona of the round, with only the owner's own non-zero, so
// that its size says nothing of the choice among them.
//
// Sensitivity.  x = (blocks with b at persona k, count_weight e_k, loss_weight (l0, l1)) has
//   |x|^2 = |b|^2 + count_weight^2 + loss_weight^2 (l0^2 + l1^2) <= clip_norm^2,
// since losses are clamped to [0, loss_bound] and b is clipped to what the count and the largest
// losses leave.  So one device more or less moves the sum by at most clip_norm, whatever it holds
// and chose; that is the distance that is accounted for.  A device that chose another persona has
// another b and another e_k, orthogonal to the first, and losses that are not negative: the two
// sums are at most sqrt(2) clip_norm apart.  Within a persona two contributions are at most 2
// clip_norm apart.  Of routed rounds the first holds too: one device more or less moves one sum
// of a sweep, as it is in one round of it at most.  A device that chose from another bucket leaves
// one sum and enters another: each of the two moves by at most clip_norm, and both count.
// Rounding to integers keeps to RoundedNormBound (common/dp/encoder.h), which is the norm that the
// accountant takes.
#ifndef LORIKEET_DEVICE_UPDATE_PIPELINE_H_
#define LORIKEET_DEVICE_UPDATE_PIPELINE_H_

#include <vector>

#include "absl/status/statusor.h"
#include "common/base/random.h"
#include "common/dp/encoder.h"
#include "common/wire/round.h"
#include "device/personalization/core_update.h"

namespace lorikeet {

// The whole real vector of a contribution, see UpdateLayout.  Private: it has no wire encoding.
class AdapterDelta {
 public:
  const std::vector<float>& values() const { return values_; }  // [layout.dimension()]

 private:
  friend absl::StatusOr<AdapterDelta> LayOut(const CoreDelta&, int, const UpdateLayout&, double);
  std::vector<float> values_;
};

// Puts the delta into the block of persona `persona_index` of the catalog, counts one and adds the
// losses.  The block alone is
// clipped, to what `clip_norm` leaves beside count and losses, so that counts and losses stay exact
// whatever the delta's size. INVALID_ARGUMENT: sizes that do not fit the layout, values that are
// not finite, or a clip norm too small for the count and losses.
absl::StatusOr<AdapterDelta> LayOut(const CoreDelta& delta, int persona_index,
                                    const UpdateLayout& layout, double clip_norm);

// All three arrows.
absl::StatusOr<EncodedDelta> PrepareContribution(const CoreDelta& delta, int persona_index,
                                                 const RoundDescription& round,
                                                 RandomSource* random);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_UPDATE_PIPELINE_H_
