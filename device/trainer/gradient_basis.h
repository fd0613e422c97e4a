// Factors for adapters of kind core: the directions in which text wants to change a model.
//
// LoRA-SB (arXiv 2411.19557) and Fed-SB (2502.15436) take the leading singular vectors of the first
// step's gradient G.  Here the gradients of several groups of texts are stacked, so that directions
// that tell texts apart count as well as their mean: randomized SVD (Halko, Martinsson, Tropp 2011)
// through the trainer's own LoRA gradients, dB = s G A^T for fixed A and dA = s B^T G for fixed B.
// G itself, of a weight's size, is never formed; what is held does not grow with the text: about
// six times the factors (rank oversampled to 2 r + 8) besides the engine.
//
// The text must be public: factors are shared, and show what was learned from.
#ifndef LORIKEET_DEVICE_TRAINER_GRADIENT_BASIS_H_
#define LORIKEET_DEVICE_TRAINER_GRADIENT_BASIS_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/trainer/gradient.h"
#include "device/trainer/make_adapter.h"

namespace lorikeet {

struct BasisText {
  int group_count = 12;       // groups of sequences whose gradients are stacked
  int64_t max_tokens = 8000;  // that are used, taken evenly from all
};

// Consecutive sequences in groups of about equal numbers of tokens.  REQUIRES: some sequence.
std::vector<std::vector<Sequence>> GroupForBasis(std::vector<Sequence> sequences,
                                                 const BasisText& options);

// An adapter of kind core without effect (R = 0), as MakeAdapter(model, spec) gives, but with
// factors of `groups`: rows of A and columns of B are orthonormal, by falling share of the
// gradient. Deterministic for a fixed number of threads and ISA.  Errors as MakeAdapter and
// GradientEngine::Compute.  REQUIRES: spec.kind == kCore; groups not empty.
absl::StatusOr<Adapter> MakeGradientBasisAdapter(std::shared_ptr<const Model> model,
                                                 ThreadPool* pool,
                                                 std::span<const std::vector<Sequence>> groups,
                                                 const AdapterSpec& spec);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_TRAINER_GRADIENT_BASIS_H_
