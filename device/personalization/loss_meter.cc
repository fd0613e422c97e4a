#include "device/personalization/loss_meter.h"

#include <cmath>
#include <limits>
#include <utility>

#include "common/base/status_macros.h"

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

absl::StatusOr<std::unique_ptr<LossMeter>> LossMeter::Create(std::shared_ptr<const Model> model,
                                                             ThreadPool* pool, int max_tokens) {
  SessionOptions options;
  options.context_length = max_tokens;
  options.precision = Precision::kExact;
  ASSIGN_OR_RETURN(auto session, Session::Create(std::move(model), pool, options));
  return std::unique_ptr<LossMeter>(new LossMeter(std::move(session)));
}

absl::StatusOr<std::vector<DocumentLoss>> LossMeter::Measure(std::span<const AdapterRef> adapters,
                                                             std::span<const Sequence> sequences) {
  RETURN_IF_ERROR(session_->SetAdapters(adapters));
  std::vector<DocumentLoss> losses;
  for (const Sequence& sequence : sequences) {
    ASSIGN_OR_RETURN(const std::vector<float> nats, session_->Score(sequence.tokens));
    DocumentLoss loss;
    for (float value : nats) loss.nats += value;
    loss.tokens = static_cast<int64_t>(nats.size());
    losses.push_back(loss);
  }
  return losses;
}

}  // namespace lorikeet
