#include "common/adapter/gguf_io.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/adapter/half_floats.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"

namespace lorikeet {
namespace {

constexpr std::string_view kSuffixA = ".lora_a", kSuffixB = ".lora_b";
constexpr std::string_view kResidualRank = "lorikeet.adapter.residual_rank";

absl::StatusOr<std::vector<float>> ReadValues(const GgufTensor& tensor) {
  if (IsFloatType(tensor.type)) return WidenFloats(tensor.type, tensor.data);
  return absl::InvalidArgumentError(absl::StrCat("adapter tensor ", ToAbsl(tensor.name),
                                                 " has type ", TraitsOf(tensor.type).name,
                                                 ": expected F32, F16 or BF16"));
}

struct Pair {
  const GgufTensor* a = nullptr;
  const GgufTensor* b = nullptr;
};

absl::StatusOr<std::map<AdapterTarget, Pair>> FindPairs(const GgufFile& file) {
  std::map<AdapterTarget, Pair> pairs;
  for (const GgufTensor& tensor : file.tensors()) {
    const bool is_a = tensor.name.ends_with(kSuffixA);
    const bool is_b = tensor.name.ends_with(kSuffixB);
    if (!is_a && !is_b) {
      return absl::InvalidArgumentError(absl::StrCat("adapter tensor ", ToAbsl(tensor.name),
                                                     ": expected a name in .lora_a or .lora_b"));
    }
    const std::string_view weight = tensor.name.substr(0, tensor.name.size() - kSuffixA.size());
    const std::optional<AdapterTarget> target = ParseWeightName(weight);
    if (!target) {
      return absl::InvalidArgumentError(absl::StrCat(
          "adapter tensor ", ToAbsl(tensor.name),
          ": expected "
          "blk.<layer>.<attn_q|attn_k|attn_v|attn_output|ffn_gate|ffn_up|ffn_down>.weight"));
    }
    (is_a ? pairs[*target].a : pairs[*target].b) = &tensor;
  }
  if (pairs.empty()) return absl::InvalidArgumentError("the adapter holds no tensors");
  return pairs;
}

absl::StatusOr<AdapterMatrix> ReadPair(const AdapterTarget& target, const Pair& pair) {
  const std::string name = WeightName(target.layer_index, target.module);
  if (pair.a == nullptr || pair.b == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": found ", ToAbsl(pair.a != nullptr ? kSuffixA : kSuffixB), " without ",
                     ToAbsl(pair.a != nullptr ? kSuffixB : kSuffixA)));
  }
  const int64_t rank = pair.a->rows();
  if (pair.a->shape.size() != 2 || pair.b->shape.size() != 2 || pair.b->row_length() != rank) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": lora_a has ", rank,
                                                   " rows, lora_b rows of ", pair.b->row_length(),
                                                   ": expected two matrices of the same rank"));
  }
  if (rank > kMaxAdapterRank || pair.a->row_length() > kMaxAdapterFeatures ||
      pair.b->rows() > kMaxAdapterFeatures) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": rank ", rank, ", in ",
                                                   pair.a->row_length(), ", out ", pair.b->rows(),
                                                   ": more than we support"));
  }
  AdapterMatrix matrix;
  matrix.target = target;
  matrix.rank = static_cast<int>(rank);
  matrix.in_features = static_cast<int>(pair.a->row_length());
  matrix.out_features = static_cast<int>(pair.b->rows());
  ASSIGN_OR_RETURN(matrix.a, ReadValues(*pair.a));
  ASSIGN_OR_RETURN(matrix.b, ReadValues(*pair.b));
  return matrix;
}

// A key that must hold 64 hex digits, or be missing or empty.
absl::StatusOr<std::string> ReadHash(const GgufFile& file, std::string_view key) {
  ASSIGN_OR_RETURN(const std::string_view hex, file.GetString(key, std::string_view()));
  if (hex.empty()) return std::string();
  const absl::StatusOr<Hash256> hash = HashFromHex(hex);
  if (!hash.ok()) return Annotate(hash.status(), key);
  return ToHex(*hash);
}

absl::StatusOr<AdapterInfo> ReadInfo(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string_view type, file.GetString("general.type", "model"));
  ASSIGN_OR_RETURN(const std::string_view adapter_type, file.GetString("adapter.type", "none"));
  if (type != "adapter" || adapter_type != "lora") {
    return absl::InvalidArgumentError(
        absl::StrCat("not a LoRA adapter: expected general.type \"adapter\" and adapter.type "
                     "\"lora\", got \"",
                     ToAbsl(type), "\" and \"", ToAbsl(adapter_type), "\""));
  }
  AdapterInfo info;
  ASSIGN_OR_RETURN(const std::string_view architecture, file.GetString("general.architecture"));
  ASSIGN_OR_RETURN(const std::string_view name, file.GetString("general.name", ""));
  ASSIGN_OR_RETURN(const double alpha, file.GetFloat("adapter.lora.alpha"));
  ASSIGN_OR_RETURN(const std::string_view kind, file.GetString("lorikeet.adapter.kind", "lora"));
  ASSIGN_OR_RETURN(const std::string_view persona, file.GetString("lorikeet.persona_id", ""));
  ASSIGN_OR_RETURN(const int64_t version, file.GetInt("lorikeet.version", 0));
  if (kind != "lora" && kind != "core") {
    return absl::InvalidArgumentError(absl::StrCat("lorikeet.adapter.kind is \"", ToAbsl(kind),
                                                   "\": expected \"lora\" or \"core\""));
  }
  if (version < 0) {
    return absl::InvalidArgumentError(absl::StrCat("lorikeet.version is ", version));
  }
  info.architecture = architecture;
  info.name = name;
  info.alpha = static_cast<float>(alpha);
  info.kind = kind == "core" ? AdapterKind::kCore : AdapterKind::kLora;
  info.persona_id = persona;
  info.version = static_cast<uint64_t>(version);
  ASSIGN_OR_RETURN(info.base_fingerprint, ReadHash(file, "lorikeet.base_fingerprint"));
  ASSIGN_OR_RETURN(info.parent, ReadHash(file, "lorikeet.parent"));
  return info;
}

// `key` holds one run of values per matrix; deals them out in `sizes`.
absl::StatusOr<std::vector<std::vector<float>>> ReadRuns(const GgufFile& file, std::string_view key,
                                                         const std::vector<size_t>& sizes) {
  ASSIGN_OR_RETURN(const GgufArray* array, file.GetArray(key));
  size_t total = 0;
  for (const size_t size : sizes) total += size;
  if (array->floats.size() != total) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToAbsl(key), ": expected ", total, " floats, found ", array->floats.size()));
  }
  std::vector<std::vector<float>> runs;
  auto next = array->floats.begin();
  for (const size_t size : sizes) {
    runs.emplace_back(next, next + static_cast<std::ptrdiff_t>(size));
    next += static_cast<std::ptrdiff_t>(size);
  }
  return runs;
}

// Replaces the B R of the file by B and R.  The two must agree, or other runtimes would compute
// something else.
absl::Status ReadCores(const GgufFile& file, std::vector<AdapterMatrix>& matrices) {
  std::vector<size_t> core_sizes, b_sizes;
  for (const AdapterMatrix& matrix : matrices) {
    core_sizes.push_back(static_cast<size_t>(matrix.rank) * static_cast<size_t>(matrix.rank));
    b_sizes.push_back(matrix.b.size());
  }
  ASSIGN_OR_RETURN(auto cores, ReadRuns(file, "lorikeet.core.r", core_sizes));
  ASSIGN_OR_RETURN(auto factors, ReadRuns(file, "lorikeet.core.b", b_sizes));
  for (size_t i = 0; i < matrices.size(); ++i) {
    AdapterMatrix& matrix = matrices[i];
    const std::vector<float> product = std::exchange(matrix.b, std::move(factors[i]));
    matrix.core = std::move(cores[i]);
    const std::vector<float> expected = matrix.EffectiveB();
    double error = 0, size = 0;
    for (size_t j = 0; j < product.size(); ++j) {
      error += std::pow(double{product[j]} - expected[j], 2);
      size += std::pow(double{expected[j]}, 2);
    }
    constexpr double kRelativeError = 1e-2;  // lora_b may have been rounded to F16 or BF16
    if (!(error <= kRelativeError * kRelativeError * size)) {
      return absl::InvalidArgumentError(
          absl::StrCat(WeightName(matrix.target.layer_index, matrix.target.module),
                       ": lora_b is not the product of lorikeet.core.b and lorikeet.core.r"));
    }
  }
  return absl::OkStatus();
}

// Which ranks of each matrix are the personal residual, if the file says so.  The values themselves
// are CheckAdapterShape's to judge.
absl::Status ReadResidualRanks(const GgufFile& file, std::vector<AdapterMatrix>& matrices) {
  if (file.RawMetadata(kResidualRank).empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const GgufArray* ranks, file.GetArray(kResidualRank));
  if (ranks->integers.size() != matrices.size()) {
    return absl::InvalidArgumentError(absl::StrCat(ToAbsl(kResidualRank), ": expected ",
                                                   matrices.size(), " integers, found ",
                                                   ranks->integers.size()));
  }
  for (size_t i = 0; i < matrices.size(); ++i) {
    matrices[i].residual_rank =
        static_cast<int>(std::clamp<int64_t>(ranks->integers[i], -1, kMaxAdapterRank + 1));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Adapter> ReadAdapter(const std::string& path) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const GgufFile> file, GgufFile::Open(path));
  return ReadAdapter(*file);
}

absl::StatusOr<Adapter> ReadAdapter(const GgufFile& file) {
  const auto read = [&]() -> absl::StatusOr<Adapter> {
    Adapter adapter;
    ASSIGN_OR_RETURN(adapter.info, ReadInfo(file));
    ASSIGN_OR_RETURN(const auto pairs, FindPairs(file));
    for (const auto& [target, pair] : pairs) {
      ASSIGN_OR_RETURN(AdapterMatrix matrix, ReadPair(target, pair));
      adapter.matrices.push_back(std::move(matrix));
    }
    if (adapter.info.kind == AdapterKind::kCore) {
      RETURN_IF_ERROR(ReadCores(file, adapter.matrices));
    }
    RETURN_IF_ERROR(ReadResidualRanks(file, adapter.matrices));
    RETURN_IF_ERROR(CheckAdapterShape(adapter));
    return adapter;
  };
  absl::StatusOr<Adapter> adapter = read();
  if (!adapter.ok()) return Annotate(adapter.status(), file.path());
  return adapter;
}

std::string SerializeAdapter(const Adapter& adapter) {
  const absl::Status shape = CheckAdapterShape(adapter);
  LORIKEET_CHECK(shape.ok());
  const AdapterInfo& info = adapter.info;
  GgufWriter writer;
  writer.AddString("general.architecture", info.architecture);
  writer.AddString("general.type", "adapter");
  writer.AddString("adapter.type", "lora");
  writer.AddFloat32("adapter.lora.alpha", info.alpha);
  writer.AddString("general.name", info.name);
  writer.AddString("lorikeet.adapter.kind", info.kind == AdapterKind::kCore ? "core" : "lora");
  writer.AddUint64("lorikeet.version", info.version);
  const auto add_if_set = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) writer.AddString(key, value);
  };
  add_if_set("lorikeet.base_fingerprint", info.base_fingerprint);
  add_if_set("lorikeet.persona_id", info.persona_id);
  add_if_set("lorikeet.parent", info.parent);
  std::vector<float> cores, factors;
  std::vector<int32_t> residual_ranks;
  for (const AdapterMatrix& matrix : adapter.matrices) {
    const std::string name = WeightName(matrix.target.layer_index, matrix.target.module);
    writer.AddTensor(absl::StrCat(name, ToAbsl(kSuffixA)), {matrix.in_features, matrix.rank},
                     matrix.a);
    writer.AddTensor(absl::StrCat(name, ToAbsl(kSuffixB)), {matrix.rank, matrix.out_features},
                     matrix.EffectiveB());
    cores.insert(cores.end(), matrix.core.begin(), matrix.core.end());
    factors.insert(factors.end(), matrix.b.begin(), matrix.b.end());
    if (matrix.residual_rank) residual_ranks.push_back(*matrix.residual_rank);
  }
  if (!residual_ranks.empty() && residual_ranks.size() == adapter.matrices.size()) {
    writer.AddInt32s(kResidualRank, residual_ranks);
  }
  if (info.kind == AdapterKind::kCore) {
    writer.AddFloat32s("lorikeet.core.r", cores);
    writer.AddFloat32s("lorikeet.core.b", factors);
  }
  return writer.Serialize();
}

absl::Status WriteAdapter(const Adapter& adapter, const std::string& path) {
  RETURN_IF_ERROR(CheckAdapterShape(adapter));
  return WriteFileAtomic(path, SerializeAdapter(adapter));
}

}  // namespace lorikeet
