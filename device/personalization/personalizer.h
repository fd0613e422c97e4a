// Select, warm-start, train, judge: the owner's adapter from the owner's text, on the owner's
// device.
//
// The last part of the text judges: base, chosen persona, the personalized model and, if there is
// one, the adapter that was there before, in nats a token.  The best stays.
#ifndef LORIKEET_DEVICE_PERSONALIZATION_PERSONALIZER_H_
#define LORIKEET_DEVICE_PERSONALIZATION_PERSONALIZER_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/base/clock.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/personalization/personal_adapter.h"
#include "device/personalization/private_documents.h"
#include "device/personalization/selector.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

struct PersonalizeOptions {
  SplitOptions split;
  SelectOptions select;
  TrainOptions train;  // see DefaultPersonalTraining
  int rank = 8;        // of the residual
  float alpha = 16;
  std::vector<Module> modules;  // empty = all
  double min_gain = 0.002;      // nats a token by which the new adapter must beat everything else
  // The adapter in use until now; judged with the rest.  One for another base is ignored, and the
  // verdict says so.
  std::optional<PersonalAdapter> existing;
};
TrainOptions DefaultPersonalTraining();

enum class Outcome {
  kKept,         // the newly trained adapter is best: `adapter` holds it
  kPersonaOnly,  // training did not help: `adapter` holds the bare persona
  kRolledBack,   // what was there (the existing adapter, or the base) is best: `adapter` is empty
};

struct PersonalizeResult {
  Selection selection;
  TrainResult training;  // of the residual
  Outcome outcome = Outcome::kRolledBack;
  std::optional<PersonalAdapter> adapter;
  double loss_base = 0;  // on the judge's part, nats a token
  double loss_persona = 0;
  double loss_personalized = 0;
  std::optional<double> loss_existing;
  int64_t judge_tokens = 0;
  std::string verdict;
};

// Called as each stage begins: "selecting", "training", "judging".
using StageCallback = std::function<void(std::string_view stage)>;

// INVALID_ARGUMENT: too little text.  FAILED_PRECONDITION: catalog of another base.
absl::StatusOr<PersonalizeResult> Personalize(std::shared_ptr<const Model> model, ThreadPool* pool,
                                              const Clock& clock, const Catalog& catalog,
                                              const OwnerText& text,
                                              const PersonalizeOptions& options,
                                              const StageCallback& stage = nullptr,
                                              const ProgressCallback& progress = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_PERSONALIZER_H_
