#include "simulations/world/recording_store.h"

#include "common/base/status_macros.h"

namespace lorikeet {

absl::Status RecordingStore::FinishRound(const RoundRecord& round, bool spent,
                                         const std::optional<ReleaseRecord>& release) {
  FinishedRound finished{.record = round, .spent = spent, .release = release};
  ASSIGN_OR_RETURN(finished.events, store_->RoundEvents(round.id));
  RETURN_IF_ERROR(store_->FinishRound(round, spent, release));
  finished_(finished);
  return absl::OkStatus();
}

}  // namespace lorikeet
