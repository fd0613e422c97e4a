#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/adapter/peft.h"
#include "common/adapter/peft_config.h"
#include "common/adapter/peft_layout.h"
#include "common/adapter/safetensors_header.h"
#include "common/base/atomic_file.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

// The last parts of paths where every layer of the base has them, else whole paths.
std::vector<std::string> TargetModules(const Adapter& adapter, const PeftBase& base) {
  std::array<int, kModuleCount> layers{};
  for (const AdapterMatrix& matrix : adapter.matrices) {
    ++layers[static_cast<size_t>(matrix.target.module)];
  }
  std::vector<std::string> targets;
  const auto whole = [&](Module m) { return layers[static_cast<size_t>(m)] == base.layer_count; };
  for (size_t m = 0; m < layers.size(); ++m) {
    if (!whole(static_cast<Module>(m))) continue;
    targets.emplace_back(kPeftModules[m].substr(kPeftModules[m].find('.') + 1));
  }
  for (const AdapterMatrix& matrix : adapter.matrices) {
    if (!whole(matrix.target.module)) targets.push_back(PeftModulePath(matrix.target));
  }
  return targets;
}

PeftConfig ConfigFor(const Adapter& adapter, const PeftBase& base, const PeftOptions& options) {
  std::map<int, int> ranks;
  for (const AdapterMatrix& matrix : adapter.matrices) ++ranks[matrix.rank];
  PeftConfig config;
  config.base_model = options.base_model.empty() ? base.name : options.base_model;
  config.rank = std::ranges::max_element(ranks, {}, [](const auto& r) { return r.second; })->first;
  // Without alpha the scale is 1, which PEFT writes as alpha = rank.
  config.alpha = adapter.info.alpha == 0 ? config.rank : adapter.info.alpha;
  for (const AdapterMatrix& matrix : adapter.matrices) {
    if (matrix.rank == config.rank) continue;
    config.rank_pattern.emplace_back(PeftModulePath(matrix.target), matrix.rank);
    if (adapter.info.alpha == 0) {
      config.alpha_pattern.emplace_back(PeftModulePath(matrix.target), matrix.rank);
    }
  }
  config.target_modules = TargetModules(adapter, base);
  return config;
}

void SetMetadata(const AdapterInfo& info, SafetensorsWriter& writer) {
  writer.SetMetadata("format", "pt");  // what PyTorch's loaders look for
  const auto set = [&](const char* key, const std::string& value) {
    if (!value.empty()) writer.SetMetadata(key, value);
  };
  const bool is_core = info.kind == AdapterKind::kCore;
  set(kPeftKindKey, is_core ? "core" : "lora");
  if (is_core) set(kPeftNoteKey, "lora_B is B R; the cores R stay in the GGUF adapter");
  set(kPeftNameKey, info.name);
  set(kPeftFingerprintKey, info.base_fingerprint);
  set(kPeftPersonaKey, info.persona_id);
  set(kPeftVersionKey, absl::StrCat(info.version));
  set(kPeftParentKey, info.parent);
}

}  // namespace

absl::StatusOr<PeftFiles> ToPeft(const Adapter& adapter, const PeftBase& base,
                                 const PeftOptions& options) {
  RETURN_IF_ERROR(CheckAdapterShape(adapter));
  if (adapter.matrices.empty()) return absl::InvalidArgumentError("the adapter holds no tensors");
  if (adapter.info.architecture != base.architecture) {
    return absl::InvalidArgumentError(absl::StrCat("expected an adapter for ", base.architecture,
                                                   ", got one for ",
                                                   ShownBytes(adapter.info.architecture)));
  }
  SafetensorsWriter writer;
  SetMetadata(adapter.info, writer);
  for (const AdapterMatrix& matrix : adapter.matrices) {
    RETURN_IF_ERROR(CheckPeftLayer(matrix.target, base));
    AdapterMatrix plain = matrix;
    plain.b = matrix.EffectiveB();
    RETURN_IF_ERROR(ReorderRows(base, RowOrder::kToPeft, plain));
    const std::string path = absl::StrCat(ToAbsl(kPeftPrefix), PeftModulePath(matrix.target));
    RETURN_IF_ERROR(writer.AddTensor(absl::StrCat(path, ToAbsl(kPeftSuffixA)), options.type,
                                     {plain.rank, plain.in_features}, plain.a));
    RETURN_IF_ERROR(writer.AddTensor(absl::StrCat(path, ToAbsl(kPeftSuffixB)), options.type,
                                     {plain.out_features, plain.rank}, plain.b));
  }
  return PeftFiles{.weights = writer.Serialize(),
                   .config = FormatPeftConfig(ConfigFor(adapter, base, options))};
}

absl::Status ExportPeft(const Adapter& adapter, const PeftBase& base, const PeftOptions& options,
                        const std::string& directory) {
  ASSIGN_OR_RETURN(const PeftFiles files, ToPeft(adapter, base, options));
  RETURN_IF_ERROR(MakeDirs(directory));
  ASSIGN_OR_RETURN(const auto weights, AtomicFile::Create(directory + "/" + kPeftWeightsName));
  ASSIGN_OR_RETURN(const auto config, AtomicFile::Create(directory + "/" + kPeftConfigName));
  RETURN_IF_ERROR(weights->Append(files.weights));
  RETURN_IF_ERROR(config->Append(files.config));
  RETURN_IF_ERROR(weights->Commit());
  return config->Commit();
}

}  // namespace lorikeet
