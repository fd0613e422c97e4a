// A personal adapter for another base model: trained from the owner's text anew, judged against
// what served before.
//
// Adapters do not carry over: another quantization has other weights, another fine-tune other
// habits, another family other shapes.  So the new side (new base, persona of its catalog, residual
// trained from the text) is made from scratch, and both sides read the same held-out text.  Their
// tokenizers may differ, so losses are counted in nats a byte; every byte is predicted on both
// sides.  Not here: files and history (device/cli/personalize_rebase.h).
#ifndef LORIKEET_DEVICE_PERSONALIZATION_REBASE_H_
#define LORIKEET_DEVICE_PERSONALIZATION_REBASE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/base/clock.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/judge.h"
#include "device/personalization/personalizer.h"

namespace lorikeet {

struct RebaseInput {
  std::shared_ptr<const Model> new_model;
  const Catalog* catalog = nullptr;  // of the new base
  OwnerText text;
  // What serves.  Null: the old base is gone, so the new side is judged against the new base alone.
  std::shared_ptr<const Model> old_model;
  std::optional<PersonalAdapter> old_adapter;  // nullopt: the bare old base serves
};

struct RebaseResult {
  // The new side against its own base; its adapter is empty where nothing beat the new base.
  PersonalizeResult trained;
  bool compared = false;  // with the old side
  bool keep_new = false;
  Comparison comparison;  // where compared; losses in nats a byte
  double old_nats_per_byte = 0, new_nats_per_byte = 0;
  int64_t judge_bytes = 0;
  std::string verdict;
};

// Takes `options.existing` as absent.  Errors as Personalize; FAILED_PRECONDITION also: both bases
// are the same.
absl::StatusOr<RebaseResult> Rebase(RebaseInput input, ThreadPool* pool, const Clock& clock,
                                    const PersonalizeOptions& options,
                                    const StageCallback& stage = nullptr,
                                    const ProgressCallback& progress = nullptr);

// Nats over bytes, document by document, every byte predicted: what models of different tokenizers
// can be compared by.  nullopt: the bare base.  Errors as LossMeter.
absl::StatusOr<std::vector<DocumentLoss>> MeasureBytes(
    std::shared_ptr<const Model> model, ThreadPool* pool,
    const std::optional<PersonalAdapter>& adapter, std::span<const PrivateText> documents,
    int window_tokens);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_REBASE_H_
