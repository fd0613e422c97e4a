// A few steps on one persona's cores with the owner's text: what a device contributes to a
// federated round.
//
// The difference is plain here; device/update clips, encodes and masks it.  Nothing of it may leave
// the device otherwise.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_CORE_UPDATE_H_
#define LORIKEET_DEVICE_PERSONALIZATION_CORE_UPDATE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/base/clock.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/trainer/trainer.h"
#include "device/vault/private_text.h"

namespace lorikeet {

struct CoreUpdateOptions {
  int steps = 8;
  int batch_size = 4;
  double learning_rate = 1e-2;
  int window_tokens = 192;
  uint64_t seed = 1;
};

struct CoreDelta {
  std::vector<float> values;  // cores after - before, [catalog.block_size()]
  double loss_before = 0;     // nats a token over the given documents
  double loss_after = 0;
  int64_t tokens = 0;  // trained on
  int steps = 0;
};

// INVALID_ARGUMENT: no text, or no such persona.  FAILED_PRECONDITION: catalog of another base.
absl::StatusOr<CoreDelta> LocalCoreUpdate(std::shared_ptr<const Model> model, ThreadPool* pool,
                                          const Clock& clock, const Catalog& catalog,
                                          int persona_index, std::span<const PrivateText> documents,
                                          const CoreUpdateOptions& options,
                                          const ProgressCallback& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_CORE_UPDATE_H_
