#include "device/model/random_vocabulary.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr char kTokensKey[] = "tokenizer.ggml.tokens";
constexpr char kTypesKey[] = "tokenizer.ggml.token_type";
constexpr char kScoresKey[] = "tokenizer.ggml.scores";
// Kinds of tokens as GGUF numbers them.
constexpr int32_t kNormal = 1, kControl = 3, kUnused = 5;

// GPT-2's printable stand-ins: printable Latin-1 bytes stand for themselves, the others for U+0100
// and up in order.  All are below U+0800: one or two bytes of UTF-8.
std::vector<std::string> ByteNames() {
  std::vector<std::string> names;
  uint32_t next = 0x100;
  for (uint32_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    const uint32_t code = printable ? b : next++;
    std::string& name = names.emplace_back();
    if (code >= 0x80) name.push_back(static_cast<char>(0xC0 | code >> 6));
    name.push_back(static_cast<char>(code >= 0x80 ? 0x80 | (code & 0x3F) : code));
  }
  return names;
}

// Adds what fills the vocabulary; the names clash with no token of a text model.
void Pad(size_t count, std::vector<std::string>& tokens, std::vector<int32_t>& types) {
  while (tokens.size() < count) {
    tokens.push_back(absl::StrCat("[PAD", tokens.size(), "]"));
    types.push_back(kUnused);
  }
}

absl::Status CheckCount(size_t count, int vocabulary) {
  if (count <= static_cast<size_t>(vocabulary)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("vocabulary: expected at least ", count, " tokens, got ", vocabulary));
}

absl::Status AddSynthetic(const ModelShape& shape, GgufWriter& writer) {
  constexpr std::string_view kFirst = " abcdefghijklmnopqrstuvwxyz";
  const std::vector<std::string> names = ByteNames();
  std::vector<std::string> tokens = names, merges;
  for (const char first : kFirst) {
    for (const char second : kFirst.substr(1)) {
      const std::string& left = names[static_cast<uint8_t>(first)];
      const std::string& right = names[static_cast<uint8_t>(second)];
      tokens.push_back(left + right);
      merges.push_back(absl::StrCat(left, " ", right));
    }
  }
  std::vector<int32_t> types(tokens.size(), kNormal);
  const auto bos = static_cast<uint32_t>(tokens.size());
  tokens.insert(tokens.end(), {"<|begin_of_text|>", "<|endoftext|>"});
  types.insert(types.end(), 2, kControl);
  RETURN_IF_ERROR(CheckCount(tokens.size(), shape.vocabulary));
  Pad(static_cast<size_t>(shape.vocabulary), tokens, types);
  writer.AddString("tokenizer.ggml.model", "gpt2");
  writer.AddString("tokenizer.ggml.pre", shape.architecture == "llama" ? "llama-bpe" : "qwen2");
  writer.AddStrings(kTokensKey, tokens);
  writer.AddInt32s(kTypesKey, types);
  writer.AddStrings("tokenizer.ggml.merges", merges);
  writer.AddUint32("tokenizer.ggml.bos_token_id", bos);
  writer.AddUint32("tokenizer.ggml.eos_token_id", bos + 1);
  writer.AddBool("tokenizer.ggml.add_bos_token", shape.architecture == "llama");
  return absl::OkStatus();
}

absl::Status AddCopied(const GgufFile& from, int vocabulary, GgufWriter& writer) {
  ASSIGN_OR_RETURN(const GgufArray* array, from.GetArray(kTokensKey));
  RETURN_IF_ERROR(CheckCount(array->strings.size(), vocabulary));
  std::vector<std::string> tokens(array->strings.begin(), array->strings.end());
  std::vector<int32_t> types(tokens.size(), kNormal);
  if (from.Has(kTypesKey)) {
    ASSIGN_OR_RETURN(const GgufArray* given, from.GetArray(kTypesKey));
    for (size_t i = 0; i < std::min(types.size(), given->integers.size()); ++i) {
      types[i] = static_cast<int32_t>(given->integers[i]);
    }
  }
  Pad(static_cast<size_t>(vocabulary), tokens, types);
  writer.AddStrings(kTokensKey, tokens);
  writer.AddInt32s(kTypesKey, types);
  if (from.Has(kScoresKey)) {
    ASSIGN_OR_RETURN(const GgufArray* given, from.GetArray(kScoresKey));
    std::vector<float> scores(given->floats.begin(), given->floats.end());
    scores.resize(tokens.size(), 0.0f);
    writer.AddFloat32s(kScoresKey, scores);
  }
  for (const auto& [key, value] : from.metadata()) {
    const bool done = key == kTokensKey || key == kTypesKey || key == kScoresKey;
    if (key.starts_with("tokenizer.") && !done) writer.CopyMetadata(from, key);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status AddRandomVocabulary(const RandomModelOptions& options, GgufWriter& writer) {
  if (options.vocabulary == nullptr) return AddSynthetic(options.shape, writer);
  return Annotate(AddCopied(*options.vocabulary, options.shape.vocabulary, writer),
                  options.vocabulary->path());
}

}  // namespace lorikeet
