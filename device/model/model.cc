#include "device/model/model.h"

#include <mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/model/model_loader.h"
#include "kernels/rope.h"

namespace lorikeet {

struct Model::LazyFingerprint {
  std::once_flag once;
  std::string hex;
};

Model::Model() : fingerprint_(std::make_shared<LazyFingerprint>()) {}

absl::StatusOr<std::shared_ptr<const Model>> Model::Load(const std::string& path) {
  ASSIGN_OR_RETURN(std::shared_ptr<const GgufFile> file, GgufFile::Open(path));
  return FromFile(std::move(file));
}

absl::StatusOr<std::shared_ptr<const Model>> Model::FromFile(std::shared_ptr<const GgufFile> file) {
  const std::string path = file->path();
  std::shared_ptr<Model> model(new Model());
  RETURN_IF_ERROR(Annotate(ModelLoader(std::move(file), *model).Load(), path));
  return std::shared_ptr<const Model>(std::move(model));
}

void Model::FillRopeTable(const int32_t* positions, Matrix table) const {
  lorikeet::FillRopeTable(positions, rope_inverse_frequencies_.data(), table);
  if (rope_magnitude_ == 1.0f) return;
  for (int64_t t = 0; t < table.rows; ++t) {
    for (int64_t i = 0; i < table.cols; ++i) table.row(t)[i] *= rope_magnitude_;
  }
}

const std::string& Model::fingerprint() const {
  std::call_once(fingerprint_->once, [this] { fingerprint_->hex = ToHex(file_->Fingerprint()); });
  return fingerprint_->hex;
}

absl::Status Model::CheckAdapter(const Adapter& adapter) const {
  const AdapterInfo& info = adapter.info;
  if (!info.base_fingerprint.empty() && info.base_fingerprint != fingerprint()) {
    return absl::FailedPreconditionError(absl::StrCat(
        "adapter was made for base ", info.base_fingerprint, ", this model is ", fingerprint()));
  }
  if (!info.architecture.empty() && info.architecture != config_.architecture) {
    return absl::InvalidArgumentError(absl::StrCat("adapter is for architecture ",
                                                   info.architecture, ", this model is ",
                                                   config_.architecture));
  }
  for (const AdapterMatrix& matrix : adapter.matrices) {
    const AdapterTarget& target = matrix.target;
    const std::string name = WeightName(target.layer_index, target.module);
    if (target.layer_index < 0 || target.layer_index >= config_.layer_count) {
      return absl::InvalidArgumentError(
          absl::StrCat("adapter has ", name, ", the model has ", config_.layer_count, " layers"));
    }
    const WeightView& weight = layers_[target.layer_index].weight(target.module);
    if (matrix.in_features != weight.cols || matrix.out_features != weight.rows) {
      return absl::InvalidArgumentError(
          absl::StrCat("adapter matrix for ", name, ": expected [", weight.rows, ", ", weight.cols,
                       "], got [", matrix.out_features, ", ", matrix.in_features, "]"));
    }
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
