// What retrieval, an adapter and both do for one set of people: every held-out token's probability
// under each way of using the vault.
//
// For each user an adapter is trained on the vault's texts as `lorikeet personalize` does from the
// plain base; passages are chosen by what stands before a held-out text (device/retrieval), never
// by the text.  Ways differ in the adapter, in passages before the prompt, and in the copy mixture
// (copy_mixture.h).  The language model runs once for every adapter and prompt; mixtures are
// computed from the stored probabilities, so weights can be chosen afterwards.
#ifndef LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_EXPERIMENT_H_
#define LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_EXPERIMENT_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/retrieval/copy_mixture.h"
#include "device/retrieval/passages.h"
#include "device/trainer/trainer.h"
#include "simulations/retrieval/retrieval_data.h"

namespace lorikeet {

enum class AdapterUse { kNone, kPlain, kReading };  // kReading: trained with passages in front
inline constexpr int kAdapterUses = 3;
enum class PromptUse { kBare, kPassages };
inline constexpr int kPromptUses = 2;
enum class CopySource { kPassages, kVault };
inline constexpr int kCopySources = 2;

// One token of a held-out text or of a candidate sentence.
struct ScoredToken {
  // Model's probability, by AdapterUse and PromptUse.
  std::array<std::array<float, kPromptUses>, kAdapterUses> model = {};
  std::array<CopyShares, kCopySources> copy = {};
  bool fact = false;
};
using ScoredText = std::vector<ScoredToken>;

struct ScoredQuestion {
  std::vector<ScoredText> sentences;  // the true one first
};

struct ScoredUser {
  std::string name;
  std::vector<ScoredText> texts;
  std::vector<ScoredQuestion> questions;
  int64_t vault_bytes = 0;
  int passages = 0;  // over all held-out texts
  int64_t passage_tokens = 0;
};

struct RetrievalExperimentOptions {
  RetrieveOptions retrieve;
  TrainOptions train;
  int rank = 8;
  float alpha = 16;
  int window_tokens = 192;
  bool plain_adapter = true;  // false: no adapter at all, for comparing ways to retrieve
  bool reading_adapter = false;
};

// Called after each user; false stops.
using UserCallback = std::function<bool(size_t done, size_t of)>;

// CANCELLED: `done` said so.
absl::StatusOr<std::vector<ScoredUser>> ScoreUsers(const std::shared_ptr<const Model>& model,
                                                   ThreadPool* pool, const RetrievalData& data,
                                                   const RetrievalExperimentOptions& options,
                                                   const UserCallback& done = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_RETRIEVAL_RETRIEVAL_EXPERIMENT_H_
