#include "device/model/file_type.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "absl/strings/str_cat.h"

namespace lorikeet {
namespace {

struct NamedFileType {
  FileType type;
  const char* name;
  TensorType main;
};

constexpr NamedFileType kFileTypes[] = {
    {FileType::kF32, "F32", TensorType::kF32},
    {FileType::kF16, "F16", TensorType::kF16},
    {FileType::kBF16, "BF16", TensorType::kBF16},
    {FileType::kQ8_0, "Q8_0", TensorType::kQ8_0},
    {FileType::kQ4_0, "Q4_0", TensorType::kQ4_0},
    {FileType::kQ4_1, "Q4_1", TensorType::kQ4_1},
    {FileType::kQ5_0, "Q5_0", TensorType::kQ5_0},
    {FileType::kQ5_1, "Q5_1", TensorType::kQ5_1},
    {FileType::kQ4_K_S, "Q4_K_S", TensorType::kQ4_K},
    {FileType::kQ4_K_M, "Q4_K_M", TensorType::kQ4_K},
    {FileType::kQ5_K_S, "Q5_K_S", TensorType::kQ5_K},
    {FileType::kQ5_K_M, "Q5_K_M", TensorType::kQ5_K},
    {FileType::kQ6_K, "Q6_K", TensorType::kQ6_K},
};

const NamedFileType& Entry(FileType type) {
  return *std::find_if(std::begin(kFileTypes), std::end(kFileTypes),
                       [&](const NamedFileType& entry) { return entry.type == type; });
}

bool SameName(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::toupper(static_cast<unsigned char>(x)) ==
           std::toupper(static_cast<unsigned char>(y));
  });
}

// The N of "blk.N.suffix" if that is the name; -1 if not.
int LayerIndex(std::string_view name, std::string_view suffix) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix) || !name.ends_with(suffix)) return -1;
  int index = -1;
  const char* begin = name.data() + kPrefix.size();
  const auto [end, error] = std::from_chars(begin, name.data() + name.size(), index);
  const std::string_view rest(end, static_cast<size_t>(name.data() + name.size() - end));
  return error == std::errc() && rest.size() == suffix.size() + 1 && rest[0] == '.' ? index : -1;
}

// The layers that an M mix gives more bits: the first and last eighth, and every third between.
bool WantsMoreBits(int layer, int count) {
  return layer < count / 8 || layer >= 7 * count / 8 || (layer - count / 8) % 3 == 2;
}

bool IsQuantized(TensorType type) { return TraitsOf(type).block_elements > 1; }

TensorType AttentionValueType(FileType type, const ModelOutline& model, int layer) {
  TensorType chosen = MainTensorType(type);
  const bool medium = type == FileType::kQ4_K_M || type == FileType::kQ5_K_M;
  if (medium && WantsMoreBits(layer, model.layer_count)) {
    chosen = TensorType::kQ6_K;
  } else if (type == FileType::kQ4_K_S && layer < 4) {
    chosen = TensorType::kQ5_K;
  }
  // The 70B models: many query heads share one small value matrix.
  constexpr int kLargeModelLayers = 80;
  const bool shared = model.layer_count == kLargeModelLayers && model.grouped_heads;
  if (shared && chosen == TensorType::kQ4_K) chosen = TensorType::kQ5_K;
  return chosen;
}

TensorType FeedForwardDownType(FileType type, const ModelOutline& model, int layer) {
  const bool medium = type == FileType::kQ4_K_M || type == FileType::kQ5_K_M;
  if (medium && WantsMoreBits(layer, model.layer_count)) return TensorType::kQ6_K;
  if (type == FileType::kQ4_K_S && layer < model.layer_count / 8) return TensorType::kQ5_K;
  return MainTensorType(type);
}

// Small errors of the output matrix change tokens: never below six bits.
TensorType OutputType(FileType type, int64_t row_length) {
  const TensorType main = MainTensorType(type);
  if (row_length % TraitsOf(main).block_elements != 0) return TensorType::kQ8_0;
  return main == TensorType::kQ8_0 ? main : TensorType::kQ6_K;
}

TensorType FallBack(TensorType type, int64_t row_length) {
  const auto fits = [&](TensorType t) { return row_length % TraitsOf(t).block_elements == 0; };
  if (fits(type)) return type;
  switch (type) {
    case TensorType::kQ4_K:
      type = TensorType::kQ5_0;
      break;
    case TensorType::kQ5_K:
      type = TensorType::kQ5_1;
      break;
    case TensorType::kQ6_K:
      type = TensorType::kQ8_0;
      break;
    default:
      break;
  }
  return fits(type) ? type : TensorType::kF16;
}

// The sizes beyond the first that are not 1.
bool IsMatrix(const std::vector<int64_t>& shape) {
  return std::any_of(shape.begin() + 1, shape.end(), [](int64_t size) { return size > 1; });
}

}  // namespace

std::optional<FileType> ParseFileType(std::string_view name) {
  if (SameName(name, "Q4_K")) return FileType::kQ4_K_M;
  if (SameName(name, "Q5_K")) return FileType::kQ5_K_M;
  for (const NamedFileType& entry : kFileTypes) {
    if (SameName(name, entry.name)) return entry.type;
  }
  return std::nullopt;
}

std::string_view FileTypeName(FileType type) { return Entry(type).name; }

std::string FileTypeNames() {
  std::string names;
  for (const NamedFileType& entry : kFileTypes) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", entry.name);
  }
  return names;
}

TensorType MainTensorType(FileType type) { return Entry(type).main; }

TensorType ChooseTensorType(FileType type, const ModelOutline& model, std::string_view name,
                            const std::vector<int64_t>& shape, TensorType current) {
  const bool weight = name.ends_with("weight") && name.find("_norm.weight") == name.npos;
  if (!weight || !IsMatrix(shape)) return current;
  const TensorType main = MainTensorType(type);
  if (!IsQuantized(main)) return main;
  TensorType chosen = main;
  if (name == "output.weight" || (model.tied_output && name == "token_embd.weight")) {
    chosen = OutputType(type, shape[0]);
  } else if (const int value_layer = LayerIndex(name, "attn_v.weight"); value_layer >= 0) {
    chosen = AttentionValueType(type, model, value_layer);
  } else if (const int down_layer = LayerIndex(name, "ffn_down.weight"); down_layer >= 0) {
    chosen = FeedForwardDownType(type, model, down_layer);
  }
  return FallBack(chosen, shape[0]);
}

}  // namespace lorikeet
