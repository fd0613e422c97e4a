#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/adapter/gguf_io.h"
#include "common/adapter/peft.h"
#include "common/adapter/peft_config.h"
#include "common/adapter/peft_layout.h"
#include "common/adapter/safetensors_header.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

absl::StatusOr<AdapterInfo> InfoFrom(const std::map<std::string, std::string>& metadata) {
  const auto find = [&](const char* key) {
    const auto it = metadata.find(key);
    return it == metadata.end() ? std::string() : it->second;
  };
  AdapterInfo info;
  info.name = find(kPeftNameKey);
  info.persona_id = find(kPeftPersonaKey);
  for (const auto& [key, field] : {std::pair(kPeftFingerprintKey, &info.base_fingerprint),
                                   std::pair(kPeftParentKey, &info.parent)}) {
    const std::string hex = find(key);
    if (hex.empty()) continue;
    const absl::StatusOr<Hash256> hash = HashFromHex(hex);
    if (!hash.ok()) return Annotate(hash.status(), key);
    *field = ToHex(*hash);
  }
  int64_t version = 0;
  const std::string text = find(kPeftVersionKey);
  if (!text.empty() && (!absl::SimpleAtoi(text, &version) || version < 0)) {
    return absl::InvalidArgumentError(
        absl::StrCat(kPeftVersionKey, ": expected a whole number, got ", ShownBytes(text)));
  }
  info.version = static_cast<uint64_t>(version);
  return info;
}

struct ParsedName {
  std::string_view path;  // of the module: what patterns match
  AdapterTarget target;
  bool is_b = false;
};

absl::Status NameError(std::string_view name) {
  const char* reason = "";
  if (name.find("lora_embedding_") != name.npos) reason = " (LoRA on embeddings is not supported)";
  if (name.find("lora_magnitude_vector") != name.npos) reason = " (DoRA is not supported)";
  if (name.ends_with(".bias")) reason = " (trained biases are not supported)";
  if (name.find("lora_") == name.npos) reason = " (a whole weight: modules_to_save?)";
  return absl::InvalidArgumentError(
      absl::StrCat("tensor ", ShownBytes(name), ": expected ", ToAbsl(kPeftPrefix),
                   "model.layers.<N>.<self_attn.{q,k,v,o}_proj|mlp.{gate,up,down}_proj>",
                   ".lora_{A,B}.weight", reason));
}

absl::StatusOr<ParsedName> ParseName(std::string_view name) {
  ParsedName parsed;
  parsed.is_b = name.ends_with(kPeftSuffixB);
  if (!name.starts_with(kPeftPrefix) || (!parsed.is_b && !name.ends_with(kPeftSuffixA)) ||
      name.size() < kPeftPrefix.size() + kPeftSuffixA.size()) {
    return NameError(name);
  }
  parsed.path =
      name.substr(kPeftPrefix.size(), name.size() - kPeftPrefix.size() - kPeftSuffixA.size());
  std::string_view rest = parsed.path;
  // A model without its language-model head has no outer "model.".
  for (const std::string_view part : {std::string_view("model."), std::string_view("layers.")}) {
    if (rest.starts_with(part)) rest.remove_prefix(part.size());
  }
  int layer = -1;
  std::from_chars(rest.data(), rest.data() + rest.size(), layer);
  for (size_t m = 0; m < kPeftModules.size() && layer >= 0; ++m) {
    parsed.target = {layer, static_cast<Module>(m)};
    const std::string whole = PeftModulePath(parsed.target);
    // Only the canonical spelling: no sign, no leading zeros.
    if (parsed.path == whole || absl::StrCat("model.", ToAbsl(parsed.path)) == whole) return parsed;
  }
  return NameError(name);
}

struct Pair {
  const SafetensorsTensor* a = nullptr;
  const SafetensorsTensor* b = nullptr;
  std::string_view path;
};

absl::StatusOr<std::map<AdapterTarget, Pair>> FindPairs(const SafetensorsFile& weights,
                                                        const PeftBase& base) {
  std::map<AdapterTarget, Pair> pairs;
  for (const SafetensorsTensor& tensor : weights.tensors()) {
    ASSIGN_OR_RETURN(const ParsedName name, ParseName(tensor.name));
    RETURN_IF_ERROR(Annotate(CheckPeftLayer(name.target, base), ShownBytes(tensor.name)));
    Pair& pair = pairs[name.target];
    const SafetensorsTensor*& place = name.is_b ? pair.b : pair.a;
    if (place != nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(
          ShownBytes(place->name), " and ", ShownBytes(tensor.name), " mean the same weight"));
    }
    place = &tensor;
    pair.path = name.path;
  }
  if (pairs.empty()) return absl::InvalidArgumentError("expected LoRA tensors, found none");
  return pairs;
}

absl::StatusOr<AdapterMatrix> ReadPair(const AdapterTarget& target, const Pair& pair,
                                       const PeftConfig& config) {
  const std::string path(pair.path);
  if (pair.a == nullptr || pair.b == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": expected lora_A and lora_B, found only lora_", pair.a != nullptr ? "A" : "B"));
  }
  const int64_t rank = config.RankOf(path);
  const std::vector<int64_t>&a = pair.a->shape, &b = pair.b->shape;
  const bool fits = a.size() == 2 && b.size() == 2 && a[0] == rank && b[1] == rank && a[1] > 0 &&
                    b[0] > 0 && a[1] <= kMaxAdapterFeatures && b[0] <= kMaxAdapterFeatures;
  if (!fits || rank > kMaxAdapterRank) {
    const auto shape = [](const std::vector<int64_t>& s) {
      std::string text;
      for (const int64_t n : s) absl::StrAppend(&text, text.empty() ? "" : ", ", n);
      return absl::StrCat("[", text, "]");
    };
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": expected lora_A [", rank, ", in] and lora_B [out, ", rank,
        "] (the config's rank, ", kMaxAdapterRank, " at most), got ", shape(a), " and ", shape(b)));
  }
  AdapterMatrix matrix;
  matrix.target = target;
  matrix.rank = static_cast<int>(rank);
  matrix.in_features = static_cast<int>(a[1]);
  matrix.out_features = static_cast<int>(b[0]);
  matrix.a = pair.a->Values();
  matrix.b = pair.b->Values();
  return matrix;
}

// Finds the alpha that gives matrix i the scale of alphas[i], or multiplies scales into B.
void ApplyAlphas(const PeftConfig& config, const std::vector<double>& alphas, Adapter& adapter) {
  // In the convention alpha / rank.
  const auto alpha_of = [&](size_t i) {
    const double rank = adapter.matrices[i].rank;
    return static_cast<float>(config.use_rslora ? alphas[i] * std::sqrt(rank) : alphas[i]);
  };
  bool one_alpha = true, all_one = true;
  for (size_t i = 0; i < alphas.size(); ++i) {
    one_alpha = one_alpha && alpha_of(i) == alpha_of(0);
    all_one = all_one && alpha_of(i) == static_cast<float>(adapter.matrices[i].rank);
  }
  adapter.info.alpha = one_alpha ? alpha_of(0) : 0;
  if (one_alpha || all_one) return;
  for (size_t i = 0; i < alphas.size(); ++i) {
    const float scale = alpha_of(i) / static_cast<float>(adapter.matrices[i].rank);
    for (float& value : adapter.matrices[i].b) value *= scale;
  }
}

}  // namespace

absl::StatusOr<Adapter> FromPeft(std::string_view config, const SafetensorsFile& weights,
                                 const PeftBase& base) {
  const absl::StatusOr<PeftConfig> parsed = ParsePeftConfig(config);
  if (!parsed.ok()) return Annotate(parsed.status(), kPeftConfigName);
  const auto read = [&]() -> absl::StatusOr<Adapter> {
    ASSIGN_OR_RETURN(const auto pairs, FindPairs(weights, base));
    Adapter adapter;
    ASSIGN_OR_RETURN(adapter.info, InfoFrom(weights.metadata()));
    adapter.info.architecture = base.architecture;
    std::vector<double> alphas;
    for (const auto& [target, pair] : pairs) {
      ASSIGN_OR_RETURN(AdapterMatrix matrix, ReadPair(target, pair, *parsed));
      RETURN_IF_ERROR(ReorderRows(base, RowOrder::kToGguf, matrix));
      alphas.push_back(parsed->AlphaOf(pair.path));
      adapter.matrices.push_back(std::move(matrix));
    }
    ApplyAlphas(*parsed, alphas, adapter);
    RETURN_IF_ERROR(CheckAdapterShape(adapter));
    return adapter;
  };
  absl::StatusOr<Adapter> adapter = read();
  if (!adapter.ok()) return Annotate(adapter.status(), kPeftWeightsName);
  return adapter;
}

absl::StatusOr<Adapter> ImportPeft(const std::string& directory, const PeftBase& base) {
  const std::string path = directory + "/" + kPeftWeightsName;
  if (!FileExists(path) && FileExists(directory + "/adapter_model.bin")) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, ": expected ", kPeftWeightsName,
                     ", got adapter_model.bin; save it with safe_serialization=True"));
  }
  ASSIGN_OR_RETURN(const std::string config, ReadFile(directory + "/" + kPeftConfigName));
  ASSIGN_OR_RETURN(const SafetensorsFile weights, SafetensorsFile::Open(path));
  absl::StatusOr<Adapter> adapter = FromPeft(config, weights, base);
  if (!adapter.ok()) return Annotate(adapter.status(), directory);
  if (adapter->info.name.empty()) {
    const auto normal = std::filesystem::path(directory + "/").lexically_normal().parent_path();
    adapter->info.name = normal.filename().string();
  }
  return adapter;
}

}  // namespace lorikeet
