// lorikeet inspect: what is in a GGUF file (a model, an adapter, a catalog) or in a release's
// manifest.
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/adapter/catalog.h"
#include "common/adapter/gguf_io.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/base/tensor_type.h"
#include "common/gguf/reader.h"
#include "common/wire/manifest.h"
#include "device/cli/command.h"
#include "device/cli/engine.h"
#include "device/runtime/memory_estimate.h"
#include "device/runtime/session.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// Of any GGUF file, also of architectures that the runtime does not know.
absl::StatusOr<json> DescribeFile(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string_view kind, file.GetString("general.type", "model"));
  ASSIGN_OR_RETURN(const std::string_view architecture, file.GetString("general.architecture", ""));
  ASSIGN_OR_RETURN(const std::string_view name, file.GetString("general.name", ""));
  int64_t parameters = 0;
  std::map<std::string, int64_t> weight_types;
  for (const GgufTensor& tensor : file.tensors()) {
    parameters += tensor.elements();
    ++weight_types[TraitsOf(tensor.type).name];
  }
  json document = {{"kind", kind},
                   {"architecture", architecture},
                   {"name", name},
                   {"parameters", parameters},
                   {"tensors", file.tensors().size()},
                   {"weight_types", weight_types},
                   {"fingerprint", ToHex(file.Fingerprint())},
                   {"context_length", nullptr},
                   {"bytes", file.size_bytes()},
                   {"gguf_version", file.version()}};
  const std::string context_key = absl::StrCat(ToAbsl(architecture), ".context_length");
  if (file.Has(context_key)) {
    ASSIGN_OR_RETURN(document["context_length"], file.GetInt(context_key));
  }
  return document;
}

// What a session would need: the file (mapped), the cache of a full context in its usual type, and
// activations.  Null for models that the runtime does not know.
json DescribeMemory(const std::shared_ptr<const GgufFile>& file) {
  const auto model = Model::FromFile(file);
  if (!model.ok()) return nullptr;
  const TensorType type = DefaultKvType(**model, Precision::kFast);
  const int context = DefaultContext(**model, 0);
  const MemoryEstimate estimate =
      EstimateMemory(**model, {.context_length = context, .kv_type = type});
  return {{"context_length", context},
          {"kv_type", TraitsOf(type).name},
          {"file", estimate.file},
          {"cache", estimate.cache},
          {"activations", estimate.activations}};
}

absl::Status DescribeAdapter(const GgufFile& file, json& document) {
  ASSIGN_OR_RETURN(const Adapter adapter, ReadAdapter(file));
  document["adapter_kind"] = adapter.info.kind == AdapterKind::kCore ? "core" : "lora";
  document["alpha"] = adapter.info.alpha;
  document["base_fingerprint"] = adapter.info.base_fingerprint;
  document["persona_id"] = adapter.info.persona_id;
  document["version"] = adapter.info.version;
  document["parent"] = adapter.info.parent;
  document["matrices"] = adapter.matrices.size();
  document["trained_parameters"] = adapter.ParameterCount();
  int rank = 0;
  for (const AdapterMatrix& matrix : adapter.matrices) rank = std::max(rank, matrix.rank);
  document["rank"] = rank;
  return absl::OkStatus();
}

absl::Status DescribeCatalog(const GgufFile& file, json& document) {
  ASSIGN_OR_RETURN(const Catalog catalog, ReadCatalog(file));
  document["base_fingerprint"] = catalog.base_fingerprint;
  document["version"] = catalog.version;
  document["rank"] = catalog.rank;
  document["alpha"] = catalog.alpha;
  document["personas"] = json::array();
  for (const Persona& persona : catalog.personas) document["personas"].push_back(persona.id);
  return absl::OkStatus();
}

// The manifest.json of a release directory.  Its signature is checked by lorikeet-coordinator
// verify-release.
absl::StatusOr<json> DescribeRelease(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxManifestBytes));
  const auto manifest = ParseManifest(text);
  if (!manifest.ok()) return Annotate(manifest.status(), path);
  uint64_t bytes = 0;
  json files = json::array();
  for (const ManifestFile& file : manifest->files) {
    bytes += file.bytes;
    files.push_back({{"name", file.name}, {"bytes", file.bytes}, {"hash", ToHex(file.hash)}});
  }
  return json{{"kind", "release"},
              {"release_kind", ReleaseKindName(manifest->kind)},
              {"name", manifest->name},
              {"version", manifest->version},
              {"base_fingerprint", manifest->base_fingerprint},
              {"created", absl::FormatTime(manifest->created, absl::UTCTimeZone())},
              {"expires", absl::FormatTime(manifest->expires, absl::UTCTimeZone())},
              {"parent", manifest->parent},
              {"files", std::move(files)},
              {"bytes", bytes}};
}

absl::StatusOr<json> DescribeGguf(const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, GgufFile::Open(path));
  ASSIGN_OR_RETURN(json document, DescribeFile(*file));
  if (document["kind"] == "model") document["memory"] = DescribeMemory(file);
  if (document["kind"] == "adapter") RETURN_IF_ERROR(DescribeAdapter(*file, document));
  if (document["kind"] == "catalog") RETURN_IF_ERROR(DescribeCatalog(*file, document));
  return document;
}

absl::Status RunInspect(const std::string& path, Output& output) {
  ASSIGN_OR_RETURN(json document,
                   path.ends_with(".json") ? DescribeRelease(path) : DescribeGguf(path));
  for (const auto& [key, value] : document.items()) {
    const bool is_text = value.is_string();
    output.Line(
        absl::StrFormat("%-18s %s", key, is_text ? value.get<std::string>() : value.dump()));
  }
  output.SetJson(std::move(document));
  return absl::OkStatus();
}

}  // namespace

void AddInspectCommand(Program& program) {
  auto path = std::make_shared<std::string>();
  CLI::App* command =
      program.Add("inspect", "What is in a model, adapter, catalog or release manifest",
                  [path](Output& output) { return RunInspect(*path, output); });
  command->add_option("file", *path, "GGUF file, or the manifest.json of a release")->required();
}

}  // namespace lorikeet
