#include "device/trainer/batch_layout.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

absl::Status CheckSequence(const Sequence& sequence, size_t index, int vocabulary_size) {
  if (!sequence.loss_mask.empty() && sequence.loss_mask.size() != sequence.tokens.size()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("sequence %d: expected a loss mask of %d entries, got %d", index,
                        sequence.tokens.size(), sequence.loss_mask.size()));
  }
  for (size_t i = 0; i < sequence.tokens.size(); ++i) {
    const TokenId token = sequence.tokens[i];
    if (token < 0 || token >= vocabulary_size) {
      return absl::InvalidArgumentError(
          absl::StrFormat("sequence %d, position %d: expected a token in [0, %d), got %d", index, i,
                          vocabulary_size, token));
    }
  }
  for (size_t i = 0; i < sequence.loss_mask.size(); ++i) {
    const float weight = sequence.loss_mask[i];
    if (!std::isfinite(weight) || weight < 0) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "sequence %d, position %d: expected a finite loss mask >= 0, got %g", index, i, weight));
    }
  }
  return absl::OkStatus();
}

float MaskAt(const Sequence& sequence, size_t i) {
  return sequence.loss_mask.empty() ? 1.0f : sequence.loss_mask[i];
}

void Append(const Sequence& sequence, BatchLayout& layout) {
  size_t end = sequence.tokens.size();  // one past the last target that counts
  while (end > 1 && MaskAt(sequence, end - 1) == 0) --end;
  if (end <= 1) return;
  const auto first = static_cast<int32_t>(layout.inputs.size());
  for (size_t i = 0; i + 1 < end; ++i) {
    layout.inputs.push_back(sequence.tokens[i]);
    layout.positions.push_back(static_cast<int32_t>(i));
    layout.first_key.push_back(first);
    const float weight = MaskAt(sequence, i + 1);
    if (weight == 0) continue;
    layout.scored_rows.push_back(first + static_cast<int32_t>(i));
    layout.targets.push_back(sequence.tokens[i + 1]);
    layout.weights.push_back(weight);
    layout.parts.back().weight_sum += weight;
  }
}

}  // namespace

absl::Status AddToLayout(std::span<const Sequence> batch, int vocabulary_size,
                         BatchLayout* layout) {
  if (batch.empty()) {
    return absl::InvalidArgumentError("batch: expected at least one sequence, got none");
  }
  BatchLayout::Part begun;
  begun.begin = layout->rows();
  begun.scored_begin = layout->scored();
  layout->parts.push_back(std::move(begun));
  for (size_t i = 0; i < batch.size(); ++i) {
    RETURN_IF_ERROR(CheckSequence(batch[i], i, vocabulary_size));
    Append(batch[i], *layout);
    layout->parts.back().sequence_ends.push_back(layout->scored());
  }
  BatchLayout::Part& part = layout->parts.back();
  part.end = layout->rows();
  part.scored_end = layout->scored();
  if (part.weight_sum <= 0) {
    return absl::InvalidArgumentError(
        "batch: expected at least one token to learn (behind a sequence's first, with a positive "
        "loss mask), got none");
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
