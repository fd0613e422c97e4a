#include "simulations/world/recording_store.h"

#include "common/base/status_macros.h"

namespace lorikeet {

absl::Status RecordingStore::FinishRound(const RoundRecord& round, bool spent,
                                         const std::optional<ReleaseRecord>& release,
                                         const std::optional<NoiseRecord>& noise) {
  FinishedRound finished{.record = round, .spent = spent, .release = release};
  ASSIGN_OR_RETURN(finished.events, store_->RoundEvents(round.id));
  ASSIGN_OR_RETURN(finished.sums, store_->PartialSums(round.id));
  ASSIGN_OR_RETURN(finished.noise, store_->FindNoise(round.task));
  RETURN_IF_ERROR(store_->FinishRound(round, spent, release, noise));
  finished_(finished);
  return absl::OkStatus();
}

}  // namespace lorikeet
