// Held-out loss, document by document, so that two adapters can be compared in pairs.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_LOSS_METER_H_
#define LORIKEET_DEVICE_PERSONALIZATION_LOSS_METER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/runtime/session.h"
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

// Not thread-safe.
class LossMeter {
 public:
  static absl::StatusOr<std::unique_ptr<LossMeter>> Create(std::shared_ptr<const Model> model,
                                                           ThreadPool* pool, int max_tokens);
  // One entry a sequence.  Loss masks are ignored: owner's text has none.
  absl::StatusOr<std::vector<DocumentLoss>> Measure(std::span<const AdapterRef> adapters,
                                                    std::span<const Sequence> sequences);

 private:
  explicit LossMeter(std::unique_ptr<Session> session) : session_(std::move(session)) {}
  std::unique_ptr<Session> session_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_LOSS_METER_H_
