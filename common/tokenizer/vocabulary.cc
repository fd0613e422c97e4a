#include "common/tokenizer/vocabulary.h"

#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

// Tokens that are control tokens by name in published models, whatever their files call them
// (llama.cpp's list). These end a generation ...
constexpr std::string_view kEndNames[] = {"<|eot_id|>",
                                          "<|eom_id|>",
                                          "<|im_end|>",
                                          "<|end|>",
                                          "<|end_of_text|>",
                                          "</s>",
                                          "<|endoftext|>",
                                          "<end_of_turn>",
                                          "<|return|>",
                                          "<|call|>",
                                          "<end_of_utterance>",
                                          "<EOT>",
                                          "_<EOT>",
                                          "[EOT]",
                                          "[EOS]",
                                          "<eos>",
                                          "<|fim_pad|>",
                                          "<|repo_name|>",
                                          "<|file_sep|>"};
// ... and these do not.
constexpr std::string_view kControlNames[] = {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"};

// "<|...|>", or a tag or bracket that the chat template writes.
bool LooksLikeMarker(std::string_view text, std::string_view chat_template) {
  if (text.starts_with("<|") && text.ends_with("|>")) return true;
  return (text.starts_with('<') || text.starts_with('[')) &&
         chat_template.find(text) != std::string_view::npos;
}

void LoadSpecialTokens(Vocabulary& vocabulary) {
  std::vector<SpecialTokens::Entry> words, user_defined, all;
  for (size_t i = 0; i < vocabulary.texts.size(); ++i) {
    const SpecialTokens::Entry entry = {vocabulary.texts[i], static_cast<TokenId>(i)};
    const TokenType type = vocabulary.types[i];
    if (type == TokenType::kUserDefined) {
      user_defined.push_back(entry);
      if (!LooksLikeMarker(entry.first, vocabulary.chat_template)) words.push_back(entry);
    }
    if (type == TokenType::kUserDefined || type == TokenType::kControl ||
        type == TokenType::kUnknown) {
      all.push_back(entry);
    }
  }
  vocabulary.words = SpecialTokens(std::move(words));
  vocabulary.user_defined = SpecialTokens(std::move(user_defined));
  vocabulary.all_special = SpecialTokens(std::move(all));
}

absl::Status LoadTokens(const GgufFile& file, Vocabulary& vocabulary) {
  ASSIGN_OR_RETURN(const GgufArray* tokens, file.GetArray("tokenizer.ggml.tokens"));
  vocabulary.texts = tokens->strings;
  const size_t count = vocabulary.texts.size();
  if (count == 0 || count > static_cast<size_t>(std::numeric_limits<TokenId>::max())) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.ggml.tokens: expected 1 to 2^31 - 1 strings, found ", count));
  }
  vocabulary.types.assign(count, TokenType::kNormal);
  if (file.Has("tokenizer.ggml.token_type")) {
    ASSIGN_OR_RETURN(const GgufArray* types, file.GetArray("tokenizer.ggml.token_type"));
    if (types->integers.size() != count) {
      return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.token_type: expected ", count,
                                                     " integers, found ", types->integers.size()));
    }
    for (size_t i = 0; i < count; ++i) {
      const int64_t type = types->integers[i];
      // 0 is "undefined" in llama.cpp and treated as a normal token there.
      if (type < 0 || type > 6) {
        return absl::InvalidArgumentError(
            absl::StrCat("tokenizer.ggml.token_type: token ", i, " has unknown type ", type));
      }
      vocabulary.types[i] = type == 0 ? TokenType::kNormal : static_cast<TokenType>(type);
    }
  }
  vocabulary.ids = TextIndex(vocabulary.texts);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<TokenId>> LoadId(const Vocabulary& vocabulary, std::string_view name,
                                              std::optional<TokenId> missing) {
  const std::string key = absl::StrCat("tokenizer.ggml.", ToAbsl(name), "_token_id");
  if (!vocabulary.file->Has(key)) {
    return missing.has_value() && vocabulary.Contains(*missing) ? missing : std::nullopt;
  }
  ASSIGN_OR_RETURN(const int64_t id, vocabulary.file->GetInt(key));
  if (id < 0 || static_cast<size_t>(id) >= vocabulary.texts.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, ": expected an id below ", vocabulary.texts.size(), ", found ", id));
  }
  return static_cast<TokenId>(id);
}

absl::Status LoadIds(const VocabularyDefaults& defaults, Vocabulary& vocabulary) {
  const auto missing = [&](TokenId id) {
    return defaults.sentencepiece_ids ? std::optional<TokenId>(id) : std::nullopt;
  };
  ASSIGN_OR_RETURN(vocabulary.unknown, LoadId(vocabulary, "unknown", missing(0)));
  ASSIGN_OR_RETURN(vocabulary.bos, LoadId(vocabulary, "bos", missing(1)));
  ASSIGN_OR_RETURN(vocabulary.eos, LoadId(vocabulary, "eos", missing(2)));
  if (vocabulary.eos) vocabulary.end_of_generation.insert(*vocabulary.eos);
  for (const std::string_view name : {"eot", "eom"}) {
    ASSIGN_OR_RETURN(const std::optional<TokenId> id, LoadId(vocabulary, name, std::nullopt));
    if (id) vocabulary.end_of_generation.insert(*id);
  }
  for (const std::string_view name : kEndNames) {
    if (const std::optional<TokenId> id = vocabulary.Find(name)) {
      vocabulary.end_of_generation.insert(*id);
      vocabulary.types[*id] = TokenType::kControl;
    }
  }
  for (const std::string_view name : kControlNames) {
    if (const std::optional<TokenId> id = vocabulary.Find(name)) {
      vocabulary.types[*id] = TokenType::kControl;
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Vocabulary> Vocabulary::Load(std::shared_ptr<const GgufFile> file,
                                            const VocabularyDefaults& defaults) {
  Vocabulary vocabulary;
  vocabulary.file = std::move(file);
  RETURN_IF_ERROR(LoadTokens(*vocabulary.file, vocabulary));
  RETURN_IF_ERROR(LoadIds(defaults, vocabulary));
  const GgufFile& keys = *vocabulary.file;
  ASSIGN_OR_RETURN(vocabulary.add_bos,
                   keys.GetBool("tokenizer.ggml.add_bos_token", defaults.add_bos));
  ASSIGN_OR_RETURN(vocabulary.add_eos, keys.GetBool("tokenizer.ggml.add_eos_token", false));
  vocabulary.add_bos = vocabulary.add_bos && vocabulary.bos.has_value();
  vocabulary.add_eos = vocabulary.add_eos && vocabulary.eos.has_value();
  ASSIGN_OR_RETURN(vocabulary.chat_template,
                   keys.GetString("tokenizer.chat_template", std::string_view()));
  LoadSpecialTokens(vocabulary);
  return vocabulary;
}

std::optional<TokenId> Vocabulary::Find(std::string_view text) const {
  const int32_t place = ids.Find(text);
  return place < 0 ? std::nullopt : std::optional<TokenId>(place);
}

std::vector<TokenId> VocabularyTokenizer::Encode(std::string_view text,
                                                 EncodeOptions options) const {
  std::vector<TokenId> out;
  if (options.add_special && vocabulary_.add_bos) out.push_back(*vocabulary_.bos);
  const SpecialTokens& special =
      options.parse_special ? vocabulary_.all_special : vocabulary_.user_defined;
  bool first = true;
  for (const TextSegment& segment : special.Split(text)) {
    if (segment.id >= 0) {
      out.push_back(segment.id);
    } else {
      EncodePlain(segment.text, first, out);
    }
    first = segment.id >= 0;
  }
  if (options.add_special && vocabulary_.add_eos) out.push_back(*vocabulary_.eos);
  return out;
}

void VocabularyTokenizer::AppendParts(std::span<const TextPart> parts,
                                      std::vector<TokenId>& out) const {
  std::string plain;  // since the last special token
  const auto flush = [&] {
    if (!plain.empty()) EncodePlain(plain, out.empty() || IsWhole(out.back()), out);
    plain.clear();
  };
  for (const TextPart& part : parts) {
    const SpecialTokens& special =
        part.recognize == TextPart::Recognize::kAll     ? vocabulary_.all_special
        : part.recognize == TextPart::Recognize::kWords ? vocabulary_.words
                                                        : vocabulary_.user_defined;
    for (const TextSegment& segment : special.Split(part.text)) {
      if (segment.id < 0) {
        plain.append(segment.text);
        continue;
      }
      flush();
      out.push_back(segment.id);
    }
  }
  flush();
}

absl::Status VocabularyTokenizer::CheckId(TokenId id) const {
  if (vocabulary_.Contains(id)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("token id ", id, ": expected 0 to ", vocabulary_.texts.size() - 1));
}

bool VocabularyTokenizer::IsWhole(TokenId id) const {
  const TokenType type = vocabulary_.types[id];
  return type == TokenType::kControl || type == TokenType::kUserDefined ||
         type == TokenType::kUnknown;
}

}  // namespace lorikeet
