// The forward pass written as plainly as possible, in double precision, straight from the GGUF
// file: an oracle for device/runtime that shares nothing with it but the decoding of weights to
// numbers.
#ifndef LORIKEET_TESTS_UNIT_MODEL_NAIVE_FORWARD_H_
#define LORIKEET_TESTS_UNIT_MODEL_NAIVE_FORWARD_H_

#include <span>
#include <string>
#include <vector>

#include "common/adapter/adapter.h"
#include "common/gguf/reader.h"

namespace lorikeet {

// Logits [T][V] of all positions.  Adapters by their factors (A, R, B), the scale as documented in
// adapter.h.
std::vector<std::vector<double>> NaiveLogits(const GgufFile& file, std::span<const int> tokens,
                                             std::span<const AdapterRef> adapters = {});

// A LoRA or core adapter of random numbers on the given modules of all layers.
Adapter RandomAdapter(const GgufFile& file, AdapterKind kind, int rank,
                      const std::vector<Module>& modules, uint64_t seed);

// RMS(got - expected) / RMS(expected - mean of its row).
double RelativeRms(std::span<const double> expected, std::span<const float> got);

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_MODEL_NAIVE_FORWARD_H_
