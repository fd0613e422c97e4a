#include "device/model/weights_only_model.h"

#include <utility>

#include "common/base/status_macros.h"
#include "common/gguf/partial_file.h"
#include "device/model/model_loader.h"

namespace lorikeet {

absl::StatusOr<std::shared_ptr<const Model>> LoadWeightsOnlyModel(const std::string& path) {
  ASSIGN_OR_RETURN(std::shared_ptr<const GgufFile> file, OpenGgufWithoutArrays(path, "tokenizer."));
  return ModelLoader::LoadWeightsOnly(std::move(file));
}

}  // namespace lorikeet
