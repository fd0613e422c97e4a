#include "common/adapter/peft_layout.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/adapter/gguf_io.h"
#include "common/adapter/safetensors_header.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

// The heads whose halves lie interleaved in a GGUF file's rows of `module`; 0: rows as they are.
int InterleavedHeads(const PeftBase& base, Module module) {
  if (base.architecture != "llama") return 0;
  if (module == Module::kQ) return base.head_count;
  return module == Module::kK ? base.kv_head_count : 0;
}

}  // namespace

std::string PeftModulePath(const AdapterTarget& target) {
  return absl::StrCat("model.layers.", target.layer_index, ".",
                      ToAbsl(kPeftModules[static_cast<size_t>(target.module)]));
}

absl::Status ReorderRows(const PeftBase& base, RowOrder order, AdapterMatrix& matrix) {
  const int heads = InterleavedHeads(base, matrix.target.module);
  if (heads == 0) return absl::OkStatus();
  if (matrix.out_features % (2 * heads) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        WeightName(matrix.target.layer_index, matrix.target.module), ": expected rows for ", heads,
        " heads of an even size, got ", matrix.out_features));
  }
  const int half = matrix.out_features / heads / 2, rank = matrix.rank;
  std::vector<float> reordered(matrix.b.size());
  for (int row = 0; row < matrix.out_features; ++row) {
    const int head = row / (2 * half), part = row / half % 2, index = row % half;
    const int interleaved = head * 2 * half + 2 * index + part;
    const int from = order == RowOrder::kToGguf ? row : interleaved;
    const int to = order == RowOrder::kToGguf ? interleaved : row;
    std::copy_n(matrix.b.begin() + std::ptrdiff_t{from} * rank, rank,
                reordered.begin() + std::ptrdiff_t{to} * rank);
  }
  matrix.b = std::move(reordered);
  return absl::OkStatus();
}

absl::Status CheckPeftLayer(const AdapterTarget& target, const PeftBase& base) {
  if (target.layer_index < base.layer_count) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("layer ", target.layer_index, ": expected 0 to ",
                                                 base.layer_count - 1, ", the base's layers"));
}

absl::StatusOr<PeftBase> ReadPeftBase(const GgufFile& model) {
  const auto read = [&]() -> absl::StatusOr<PeftBase> {
    ASSIGN_OR_RETURN(const std::string_view type, model.GetString("general.type", "model"));
    if (type != "model") {
      return absl::InvalidArgumentError(
          absl::StrCat("expected a model, got a file of type ", ShownBytes(type)));
    }
    PeftBase base;
    ASSIGN_OR_RETURN(base.architecture, model.GetString("general.architecture"));
    ASSIGN_OR_RETURN(base.name, model.GetString("general.name", ""));
    const std::string& name = base.architecture;
    if (name != "llama" && name != "qwen2" && name != "qwen3") {
      return absl::InvalidArgumentError(
          absl::StrCat("expected architecture llama, qwen2 or qwen3, got ", ShownBytes(name)));
    }
    ASSIGN_OR_RETURN(const int64_t layers, model.GetInt(name + ".block_count"));
    ASSIGN_OR_RETURN(const int64_t heads, model.GetInt(name + ".attention.head_count"));
    ASSIGN_OR_RETURN(const int64_t kv, model.GetInt(name + ".attention.head_count_kv", heads));
    for (const int64_t count : {layers, heads, kv}) {
      if (count < 1 || count > kMaxAdapterFeatures) {
        return absl::InvalidArgumentError(
            absl::StrCat("expected layers, heads and key/value heads of 1 to ", kMaxAdapterFeatures,
                         ", got ", layers, ", ", heads, " and ", kv));
      }
    }
    base.layer_count = static_cast<int>(layers);
    base.head_count = static_cast<int>(heads);
    base.kv_head_count = static_cast<int>(kv);
    return base;
  };
  absl::StatusOr<PeftBase> base = read();
  if (!base.ok()) return Annotate(base.status(), model.path());
  return base;
}

}  // namespace lorikeet
