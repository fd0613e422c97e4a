// A LossSource that measures every (candidate, document) once: thousands of trials draw from the
// same documents and the same personas.
#ifndef LORIKEET_SIMULATIONS_SELECTION_LOSS_CACHE_H_
#define LORIKEET_SIMULATIONS_SELECTION_LOSS_CACHE_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "device/personalization/loss_meter.h"

namespace lorikeet {

// Not thread-safe.  Candidates are recognized by what they add (weights, scales), not by address.
class LossCache : public LossSource {
 public:
  // Borrows `source`.
  explicit LossCache(LossSource* source) : source_(source) {}

  // What is missing goes to the source, as many candidates and documents together as can be.
  absl::StatusOr<std::vector<std::vector<DocumentLoss>>> Measure(
      std::span<const LossCandidate> candidates, std::span<const Sequence> documents) override;

  int64_t measured() const { return measured_; }  // pairs that the source was asked for
  int64_t asked() const { return asked_; }        // pairs that were wanted

 private:
  using Missing = std::map<std::vector<size_t>, std::vector<size_t>>;

  uint32_t Intern(std::string key, absl::flat_hash_map<std::string, uint32_t>* ids);
  absl::Status Fill(const Missing& missing, std::span<const LossCandidate> candidates,
                    std::span<const Sequence> documents, std::span<const uint32_t> candidate_ids,
                    std::span<const uint32_t> document_ids);

  LossSource* source_;
  absl::flat_hash_map<std::string, uint32_t> candidate_ids_, document_ids_;
  absl::flat_hash_map<std::pair<uint32_t, uint32_t>, DocumentLoss> losses_;
  int64_t measured_ = 0;
  int64_t asked_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_SELECTION_LOSS_CACHE_H_
