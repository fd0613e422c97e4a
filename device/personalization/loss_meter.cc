#include "device/personalization/loss_meter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "device/trainer/packing.h"

namespace lorikeet {

double MeanLoss(std::span<const DocumentLoss> losses) {
  double nats = 0;
  int64_t tokens = 0;
  for (const DocumentLoss& loss : losses) {
    nats += loss.nats;
    tokens += loss.tokens;
  }
  return tokens > 0 ? nats / static_cast<double>(tokens) : 0;
}

PairedGain ComparePaired(std::span<const DocumentLoss> a, std::span<const DocumentLoss> b) {
  LORIKEET_CHECK(a.size() == b.size());
  PairedGain result;
  double difference = 0, tokens = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += a[i].nats - b[i].nats;
    tokens += static_cast<double>(a[i].tokens);
  }
  if (tokens == 0 || a.size() < 2) {
    result.gain = tokens > 0 ? difference / tokens : 0;
    result.standard_error = std::numeric_limits<double>::infinity();
    return result;
  }
  result.gain = difference / tokens;
  double squares = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double residual = a[i].nats - b[i].nats - result.gain * static_cast<double>(a[i].tokens);
    squares += residual * residual;
  }
  const double n = static_cast<double>(a.size());
  result.standard_error = std::sqrt(squares * n / (n - 1)) / tokens;
  return result;
}

namespace {

// Which documents, of which candidates, go through the model together.
struct LossGroup {
  size_t document_begin = 0, document_end = 0;
  size_t candidate_begin = 0, candidate_end = 0;
};

// As many candidates together as fit with one document, then as many documents as fit with those.
std::vector<LossGroup> MakeGroups(size_t candidates, std::span<const Sequence> documents,
                                  int64_t max_rows) {
  std::vector<LossGroup> groups;
  const auto rows_of = [&](size_t i) { return std::max<int64_t>(1, BatchRows(documents[i])); };
  for (size_t begin = 0, end = 0; begin < documents.size(); begin = end) {
    const size_t side_by_side = std::clamp<size_t>(static_cast<size_t>(max_rows / rows_of(begin)),
                                                   1, std::max<size_t>(candidates, 1));
    int64_t rows = 0;
    for (end = begin; end < documents.size(); ++end) {
      rows += rows_of(end);
      if (end > begin && rows * static_cast<int64_t>(side_by_side) > max_rows) break;
    }
    for (size_t first = 0; first < candidates; first += side_by_side) {
      groups.push_back({.document_begin = begin,
                        .document_end = end,
                        .candidate_begin = first,
                        .candidate_end = std::min(candidates, first + side_by_side)});
    }
  }
  return groups;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LossMeter>> LossMeter::Create(std::shared_ptr<const Model> model,
                                                             ThreadPool* pool,
                                                             const LossMeterOptions& options) {
  if (options.max_rows <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("loss meter: expected max_rows > 0, got ", options.max_rows));
  }
  ASSIGN_OR_RETURN(auto engine, GradientEngine::Create(std::move(model), pool,
                                                       {.precision = options.precision}));
  return std::unique_ptr<LossMeter>(new LossMeter(std::move(engine), options.max_rows));
}

absl::StatusOr<std::vector<std::vector<DocumentLoss>>> LossMeter::Measure(
    std::span<const LossCandidate> candidates, std::span<const Sequence> documents) {
  std::vector<std::vector<DocumentLoss>> losses(candidates.size(),
                                                std::vector<DocumentLoss>(documents.size()));
  // The engine refuses a batch with nothing to predict.
  std::vector<Sequence> predicted;
  std::vector<size_t> place;  // of each of those in `documents`
  for (size_t i = 0; i < documents.size(); ++i) {
    if (BatchRows(documents[i]) == 0) continue;
    predicted.push_back(documents[i]);
    place.push_back(i);
  }
  for (const LossGroup& group : MakeGroups(candidates.size(), predicted, max_rows_)) {
    const size_t count = group.candidate_end - group.candidate_begin;
    const auto batch = std::span(predicted).subspan(group.document_begin,
                                                    group.document_end - group.document_begin);
    std::vector<std::vector<GradientResult>> by_document(count);
    std::vector<LearnerBatch> learners(count);
    for (size_t i = 0; i < count; ++i) {
      learners[i].frozen = candidates[group.candidate_begin + i];
      learners[i].batch = batch;
      learners[i].per_sequence = &by_document[i];
    }
    RETURN_IF_ERROR(engine_->ComputeMany(learners).status());
    for (size_t i = 0; i < count; ++i) {
      for (size_t j = 0; j < batch.size(); ++j) {
        losses[group.candidate_begin + i][place[group.document_begin + j]] = {
            .nats = by_document[i][j].loss_sum,
            .tokens = std::llround(by_document[i][j].weight_sum)};
      }
    }
  }
  return losses;
}

}  // namespace lorikeet
