// Trained numbers as one ordered list of named spans, and of an adapter their gradients in the same
// order.
//
// Order of an adapter's: matrices as there; A then B for kLora, the core for kCore.
#ifndef LORIKEET_DEVICE_TRAINER_PARAMETERS_H_
#define LORIKEET_DEVICE_TRAINER_PARAMETERS_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "common/adapter/adapter.h"
#include "device/trainer/gradient.h"

namespace lorikeet {

// "blk.0.attn_q.weight.lora_a", ".lora_b" or ".core", or a weight itself; rows and columns as
// stored.
struct ParameterSpan {
  std::string name;
  int64_t rows = 0;
  int64_t columns = 0;
  std::span<float> values;
  bool decays = true;  // weight decay is for it
};

// Views into `adapter`, valid while its vectors are.
std::vector<ParameterSpan> TrainedParameters(Adapter& adapter);

// Views into `gradients`, in the order of TrainedParameters.  REQUIRES: gradients of an adapter of
// `kind`.
std::vector<std::span<const float>> GradientSpans(AdapterKind kind,
                                                  const std::vector<MatrixGradient>& gradients);

// Numbers in all of them.
size_t CountOf(std::span<const ParameterSpan> parameters);

// Index of the first span that holds a NaN or infinity, or -1.
int FirstNonFinite(std::span<const std::span<const float>> spans);

// All values, one after the other; and back.  REQUIRES: flat.size() == sum of sizes.
std::vector<float> Flatten(std::span<const ParameterSpan> parameters);
void Unflatten(std::span<const float> flat, std::span<const ParameterSpan> parameters);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_PARAMETERS_H_
