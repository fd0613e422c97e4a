// From the losses of a batch's scored rows to those of its parts and sequences: private to the
// gradient engine.
#ifndef LORIKEET_DEVICE_TRAINER_BATCH_LOSSES_H_
#define LORIKEET_DEVICE_TRAINER_BATCH_LOSSES_H_

#include <span>
#include <vector>

#include "device/trainer/batch_layout.h"
#include "device/trainer/gradient.h"

namespace lorikeet {

// Of one learner's part.  nll: of each scored row of the layout, nats.
GradientResult ResultOf(const BatchLayout& layout, const BatchLayout::Part& part,
                        std::span<const float> nll);
// The same for each of its sequences.
std::vector<GradientResult> ResultsBySequence(const BatchLayout& layout,
                                              const BatchLayout::Part& part,
                                              std::span<const float> nll);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_BATCH_LOSSES_H_
