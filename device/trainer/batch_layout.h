// The sequences of a batch, of one learner or several, laid end to end along T, so that each weight
// is multiplied once for all of them.
//
// Attention never crosses a sequence: first_key[t] is the row where t's sequence begins.  Positions
// behind the last token that counts are left out; the last token of a sequence is only ever a
// target.
#ifndef LORIKEET_DEVICE_TRAINER_BATCH_LAYOUT_H_
#define LORIKEET_DEVICE_TRAINER_BATCH_LAYOUT_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "device/trainer/gradient.h"

namespace lorikeet {

struct BatchLayout {
  // Per row, T of each.
  std::vector<int32_t> inputs;
  std::vector<int32_t> positions;
  std::vector<int32_t> first_key;
  // Per row whose prediction counts, S <= T of each.
  std::vector<int32_t> scored_rows;
  std::vector<int32_t> targets;
  std::vector<float> weights;  // mask, not normalized

  // One learner's rows [begin, end) and scored rows [scored_begin, scored_end).
  struct Part {
    int64_t begin = 0, end = 0;
    int64_t scored_begin = 0, scored_end = 0;
    double weight_sum = 0;
    std::vector<int64_t> sequence_ends;  // per sequence: one past its last scored row
  };
  std::vector<Part> parts;

  int64_t rows() const { return static_cast<int64_t>(inputs.size()); }
  int64_t scored() const { return static_cast<int64_t>(targets.size()); }
};

// Adds one learner's part.  INVALID_ARGUMENT: empty batch, token outside the vocabulary, a mask of
// another length than its tokens or with a negative or non-finite entry, nothing to learn (no mask
// entry behind the first token is positive).
absl::Status AddToLayout(std::span<const Sequence> batch, int vocabulary_size, BatchLayout* layout);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_BATCH_LAYOUT_H_
