#include "simulations/world/recording_store.h"

#include "common/base/status_macros.h"

namespace lorikeet {

absl::Status RecordingStore::FinishRound(const RoundEnd& end) {
  FinishedRound finished;
  finished.record = end.round;
  finished.spent = end.spent;
  finished.ends_sweep = end.ends_sweep;
  finished.release = end.release;
  ASSIGN_OR_RETURN(finished.events, store_->RoundEvents(end.round.id));
  ASSIGN_OR_RETURN(finished.sums, store_->PartialSums(end.round.id));
  ASSIGN_OR_RETURN(finished.noise, store_->FindNoise(end.round.task));
  RETURN_IF_ERROR(store_->FinishRound(end));
  finished_(finished);
  return absl::OkStatus();
}

}  // namespace lorikeet
