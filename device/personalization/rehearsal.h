// Text the base model writes by itself, mixed into training so that an adapter does not unlearn
// what the base knows.
//
// Drawn at temperature 1, so the expected loss on it is least for the base's own predictions:
// training on a small share of it pulls the adapted model towards them wherever the owner's text
// says nothing, and needs no text from elsewhere.  Robins 1995 (pseudorehearsal).
#ifndef LORIKEET_DEVICE_PERSONALIZATION_REHEARSAL_H_
#define LORIKEET_DEVICE_PERSONALIZATION_REHEARSAL_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/thread_pool.h"
#include "device/model/model.h"
#include "device/trainer/gradient.h"

namespace lorikeet {

struct RehearsalOptions {
  int64_t tokens = 0;  // to draw, in all
  int sequence_tokens = 96;
  uint64_t seed = 1;
};

// Sequences of at most `sequence_tokens` that begin with BOS (in a vocabulary without one: with any
// token, drawn evenly) and end where the base ends a text.  Deterministic for a seed.  Errors as
// Session::Create; INVALID_ARGUMENT: sequence_tokens < 2.
absl::StatusOr<std::vector<Sequence>> RehearseBase(std::shared_ptr<const Model> model,
                                                   ThreadPool* pool,
                                                   const RehearsalOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_PERSONALIZATION_REHEARSAL_H_
