#include "device/trainer/batch_losses.h"

namespace lorikeet {

GradientResult ResultOf(const BatchLayout& layout, const BatchLayout::Part& part,
                        std::span<const float> nll) {
  GradientResult result;
  result.weight_sum = part.weight_sum;
  for (int64_t i = part.scored_begin; i < part.scored_end; ++i) {
    result.loss_sum += static_cast<double>(layout.weights[i]) * nll[i];
  }
  return result;
}

std::vector<GradientResult> ResultsBySequence(const BatchLayout& layout,
                                              const BatchLayout::Part& part,
                                              std::span<const float> nll) {
  std::vector<GradientResult> results;
  int64_t i = part.scored_begin;
  for (const int64_t end : part.sequence_ends) {
    GradientResult& result = results.emplace_back();
    for (; i < end; ++i) {
      result.loss_sum += static_cast<double>(layout.weights[i]) * nll[i];
      result.weight_sum += layout.weights[i];
    }
  }
  return results;
}

}  // namespace lorikeet
