// A model for work on token ids alone.  A vocabulary of 150 000 tokens takes some thirty megabytes,
// which training, whose text is tokenized before, does not need.
#ifndef LORIKEET_DEVICE_MODEL_WEIGHTS_ONLY_MODEL_H_
#define LORIKEET_DEVICE_MODEL_WEIGHTS_ONLY_MODEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "device/model/model.h"

namespace lorikeet {

// Model::Load without the tokenizer: Model::tokenizer() must not be called, and file() knows no
// arrays of the vocabulary.
absl::StatusOr<std::shared_ptr<const Model>> LoadWeightsOnlyModel(const std::string& path);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_MODEL_WEIGHTS_ONLY_MODEL_H_
