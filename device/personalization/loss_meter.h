// Held-out loss, document by document, of several candidates at once: what selection, the judge and
// the search for a scale compare.
//
// A candidate is a set of adapters, none of them the bare base.  All candidates go through each of
// the base's weights in one product, so that a further one costs its rows but no further unpacking.
// That pays where documents are short: 5 candidates on 20 documents of 20 tokens take 0.63 of the
// CPU time that they take document by document, 4 of 100 tokens 0.97 (finch-7m, Q8_0, one thread).
// Not here: what the losses mean (judge.h, selector.h).
#ifndef LORIKEET_DEVICE_PERSONALIZATION_LOSS_METER_H_
#define LORIKEET_DEVICE_PERSONALIZATION_LOSS_METER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/trainer/gradient.h"

namespace lorikeet {

// Loss of one document: nats over `tokens` predicted tokens.
struct DocumentLoss {
  double nats = 0;
  int64_t tokens = 0;
};

// nats a token, weighted by tokens; 0 for nothing.
double MeanLoss(std::span<const DocumentLoss> losses);

// How much lower the loss of `b` is than that of `a` on the same documents, nats a token, with the
// standard error of this ratio estimate (documents are the sampling unit).  REQUIRES: same
// documents in the same order.
struct PairedGain {
  double gain = 0;
  double standard_error = 0;  // infinite for fewer than two documents
};
PairedGain ComparePaired(std::span<const DocumentLoss> a, std::span<const DocumentLoss> b);

// Adapters that act together; empty: the bare base.  Borrows them.
using LossCandidate = std::vector<AdapterRef>;

class LossSource {
 public:
  virtual ~LossSource() = default;

  // [candidate][document].  A document without a token to predict has {0, 0}.  Loss masks of 0 and
  // 1 say what counts.  Errors as CheckAdapter; INVALID_ARGUMENT: token or mask out of range.
  virtual absl::StatusOr<std::vector<std::vector<DocumentLoss>>> Measure(
      std::span<const LossCandidate> candidates, std::span<const Sequence> documents) = 0;
};

struct LossMeterOptions {
  // Fast is what training and generation see; exact is for comparing with other programs.
  TrainPrecision precision = TrainPrecision::kFast;
  // Positions of all candidates together that go through the model at once; bounds the memory.
  // More gain nothing: unpacked weights serve some hundred rows as well as thousands, and what
  // those leave no longer fits the caches (finch-7m, 5 candidates x 400 tokens, CPU time of one
  // thread: 2 % more than five passes of 400 rows with 512, 9 % more with 2048).  One document of
  // one candidate goes through whole.
  int64_t max_rows = 512;
};

// Not thread-safe; uses the given pool.  Deterministic: the same candidates and documents, the same
// losses.  Alone or in company, a candidate's losses differ by rounding at most.
class LossMeter : public LossSource {
 public:
  // UNIMPLEMENTED: an architecture that cannot be trained.
  static absl::StatusOr<std::unique_ptr<LossMeter>> Create(std::shared_ptr<const Model> model,
                                                           ThreadPool* pool,
                                                           const LossMeterOptions& options = {});
  absl::StatusOr<std::vector<std::vector<DocumentLoss>>> Measure(
      std::span<const LossCandidate> candidates, std::span<const Sequence> documents) override;

 private:
  LossMeter(std::unique_ptr<GradientEngine> engine, int64_t max_rows)
      : engine_(std::move(engine)), max_rows_(max_rows) {}

  std::unique_ptr<GradientEngine> engine_;
  int64_t max_rows_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_LOSS_METER_H_
