// Which sequences share a window of a batch.
//
// A batch is some windows; a window holds one sequence or, packed, several short ones laid end to
// end.  Nothing else changes: positions restart and attention stays inside each sequence
// (batch_layout.h), so a packed window has the loss and gradient of its sequences one by one.  What
// it saves is passes over the weights: short texts fill the products' rows.  Chat messages of 14
// tokens (finch-7m Q8_0, windows of 256, 2 threads): 2,700 tokens/s packed against 1,030 four at
// once and 880 one by one.
//
// Not done unless asked, because a batch then holds many times as many texts, and of a person's own
// there are few: three passes over 456 such messages end at a held-out loss of 2.13 apart (batch 4,
// 342 steps), 2.15 with one packed window a step (69 steps), 2.32 with four (18 steps).
#ifndef LORIKEET_DEVICE_TRAINER_PACKING_H_
#define LORIKEET_DEVICE_TRAINER_PACKING_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "device/trainer/gradient.h"

namespace lorikeet {

// Indices of the sequences of one window.
using Window = std::vector<size_t>;

// Rows that a sequence takes in a batch: its tokens up to the last that counts, that one left out.
int64_t BatchRows(const Sequence& sequence);
int64_t BatchRows(std::span<const Sequence> sequences, const Window& window);

// Every sequence in exactly one window.  window_rows 0: each in its own, in order.  Else windows of
// at most so many rows (a longer sequence stands alone), filled by best-fit decreasing (Johnson
// 1973: at most 11/9 of the least number of windows, and one); `seed` decides among sequences of
// equal length.  Deterministic.
std::vector<Window> MakeWindows(std::span<const Sequence> sequences, int64_t window_rows,
                                uint64_t seed);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_PACKING_H_
