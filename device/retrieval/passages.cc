#include "device/retrieval/passages.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

int CountTokens(const Tokenizer& tokenizer, std::string_view text) {
  return static_cast<int>(tokenizer.Encode(absl::StrCat(ToAbsl(text), "\n")).size());
}

// The longest beginning of `text` with at most `limit` tokens that ends between two words, or else
// between two characters.
std::string_view CutToFit(const Tokenizer& tokenizer, std::string_view text, int limit) {
  while (!text.empty() && CountTokens(tokenizer, text) > limit) {
    size_t end = text.rfind(' ');
    if (end == std::string_view::npos) {
      end = text.size() - 1;
      while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;
    }
    text = text.substr(0, end);
  }
  return text;
}

}  // namespace

absl::StatusOr<std::vector<ChosenPassage>> ChoosePassages(PassageIndex& index,
                                                          const Tokenizer& tokenizer,
                                                          std::string_view query,
                                                          const RetrieveOptions& options) {
  std::vector<ChosenPassage> chosen;
  if (options.max_tokens <= 0 || options.max_passages <= 0) return chosen;
  ASSIGN_OR_RETURN(const std::vector<PassageHit> hits, index.Find(query, options.max_passages));
  int room = options.max_tokens;
  for (const PassageHit& hit : hits) {
    std::string_view text = hit.text;
    int tokens = CountTokens(tokenizer, text);
    if (tokens > room && chosen.empty() && &hit == &hits.back()) {
      text = CutToFit(tokenizer, hits[0].text, room);
      tokens = CountTokens(tokenizer, text);
    }
    if (tokens > room || text.empty()) continue;
    room -= tokens;
    chosen.push_back({.record = hit.record, .score = hit.score, .tokens = tokens, .text = text});
  }
  if (options.best_last) std::ranges::reverse(chosen);
  return chosen;
}

std::vector<TokenId> PassageTokens(const Tokenizer& tokenizer,
                                   std::span<const ChosenPassage> passages) {
  std::string text;
  for (const ChosenPassage& passage : passages) absl::StrAppend(&text, ToAbsl(passage.text), "\n");
  if (!text.empty()) text.push_back('\n');
  const TextPart part{.text = text, .recognize = TextPart::Recognize::kWords};
  std::vector<TokenId> tokens;
  tokenizer.AppendParts({&part, 1}, tokens);
  return tokens;
}

std::vector<TokenId> WithPassages(const Tokenizer& tokenizer,
                                  std::span<const ChosenPassage> passages,
                                  std::span<const TokenId> prompt) {
  const std::vector<TokenId> added = PassageTokens(tokenizer, passages);
  std::vector<TokenId> tokens;
  if (!prompt.empty() && tokenizer.bos() && prompt[0] == *tokenizer.bos()) {
    tokens.push_back(prompt[0]);
    prompt = prompt.subspan(1);
  }
  tokens.insert(tokens.end(), added.begin(), added.end());
  tokens.insert(tokens.end(), prompt.begin(), prompt.end());
  return tokens;
}

std::string MessageFrame(std::span<const ChosenPassage> passages, std::string_view question) {
  std::string text;
  for (const ChosenPassage& passage : passages) {
    absl::StrAppend(&text, text.empty() ? "From the user's notes:\n" : "", "- ",
                    ToAbsl(passage.text), "\n");
  }
  absl::StrAppend(&text, text.empty() ? "" : "\n", ToAbsl(question));
  return text;
}

}  // namespace lorikeet
