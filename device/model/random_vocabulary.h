// The tokenizer of a random model (random_model.h).
#ifndef LORIKEET_DEVICE_MODEL_RANDOM_VOCABULARY_H_
#define LORIKEET_DEVICE_MODEL_RANDOM_VOCABULARY_H_

#include "absl/status/status.h"
#include "common/gguf/writer.h"
#include "device/model/random_model.h"

namespace lorikeet {

// Adds the tokenizer.* keys: a byte-level BPE of all bytes and pairs of letters, or the keys of
// options.vocabulary; unused tokens fill up to options.shape.vocabulary.
// INVALID_ARGUMENT: more tokens than that.
absl::Status AddRandomVocabulary(const RandomModelOptions& options, GgufWriter& writer);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_MODEL_RANDOM_VOCABULARY_H_
