// Select, warm-start, train, judge: the owner's adapter from the owner's text, on the owner's
// device.
//
// The last part of the text judges (judge.h): base, chosen persona, the personalized model and, if
// there is one, the adapter that was there before.  What surely beats the rest stays.
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
#include "device/personalization/judge.h"
#include "device/personalization/personal_adapter.h"
#include "device/personalization/private_documents.h"
#include "device/personalization/residual.h"
#include "device/personalization/selector.h"
#include "device/trainer/trainer.h"

namespace lorikeet {

struct PersonalizeOptions : ResidualOptions {
  SplitOptions split;
  SelectOptions select;
  JudgeOptions judge;
  // The adapter in use until now; judged with the rest.  One for another base is ignored, and the
  // verdict says so.
  std::optional<PersonalAdapter> existing;
};

struct PersonalizeResult {
  Selection selection;
  TrainResult training;     // of the residual; its eval_loss is that of the selection part
  float persona_scale = 1;  // strengths that were chosen (residual.h)
  float residual_scale = 1;
  // By how much the loss on text that the base writes by itself rises, relative, with what is left
  // in use; 0 where that is nothing new.
  double forgetting = 0;
  std::vector<JudgedSide> sides;  // losses of the judge's documents
  Verdict judgement;
  // Of the judgement: kKept and kPersonaOnly leave an adapter, the other nothing.
  Outcome outcome = Outcome::kRolledBack;
  std::optional<PersonalAdapter> adapter;
  double loss_base = 0;     // on the judge's part, nats a token
  double loss_persona = 0;  // the base's where no persona was chosen
  double loss_personalized = 0;
  std::optional<double> loss_existing;
  int64_t judge_tokens = 0;
  std::string notice;   // of the split: what of the text was left out; mostly empty
  std::string verdict;  // the judgement's words, and what was not compared
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
