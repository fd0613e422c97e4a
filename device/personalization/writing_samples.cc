#include "device/personalization/writing_samples.h"

#include <algorithm>
#include <utility>

#include "common/base/status_macros.h"
#include "device/runtime/generate.h"

namespace lorikeet {
namespace {

// Tokens of `text` up to its `words`-th word end; all of them if it has no more.
size_t TokensOfWords(const Tokenizer& tokenizer, std::span<const TokenId> tokens, int words) {
  int spaces = 0;
  for (size_t i = 1; i < tokens.size(); ++i) {
    // Two tokens: a decoder may drop the space in front of a text.
    const auto piece = tokenizer.Decode(tokens.subspan(i - 1, 2));
    const auto first = tokenizer.Decode(tokens.subspan(i - 1, 1));
    if (!piece.ok() || !first.ok() || piece->size() <= first->size()) continue;
    const char next = (*piece)[first->size()];
    if ((next == ' ' || next == '\n') && ++spaces >= words) return i;
  }
  return tokens.size();
}

}  // namespace

absl::StatusOr<std::vector<Beginning>> BeginningsOf(const Model& model,
                                                    std::span<const Sequence> held_out, int count,
                                                    int words) {
  const Tokenizer& tokenizer = model.tokenizer();
  std::vector<Beginning> all;
  for (const Sequence& sequence : held_out) {
    std::span<const TokenId> tokens(sequence.tokens);
    if (tokenizer.bos() && !tokens.empty() && tokens.front() == *tokenizer.bos()) {
      tokens = tokens.subspan(1);
    }
    const size_t cut = TokensOfWords(tokenizer, tokens, words);
    if (cut == 0 || tokens.size() < 2 * cut) continue;
    Beginning beginning;
    if (tokenizer.bos()) beginning.tokens.push_back(*tokenizer.bos());
    beginning.tokens.insert(beginning.tokens.end(), tokens.begin(),
                            tokens.begin() + static_cast<std::ptrdiff_t>(cut));
    ASSIGN_OR_RETURN(beginning.text, tokenizer.Decode(tokens.first(cut)));
    ASSIGN_OR_RETURN(const std::string whole, tokenizer.Decode(tokens));
    beginning.written = whole.substr(std::min(beginning.text.size(), whole.size()));
    all.push_back(std::move(beginning));
  }
  std::vector<Beginning> chosen;
  const size_t take = std::min(all.size(), static_cast<size_t>(std::max(0, count)));
  for (size_t i = 0; i < take; ++i) chosen.push_back(std::move(all[i * all.size() / take]));
  return chosen;
}

absl::StatusOr<Beginning> BeginningOfPrompt(const Model& model, const std::string& prompt) {
  Beginning beginning;
  if (model.tokenizer().bos()) beginning.tokens.push_back(*model.tokenizer().bos());
  const std::vector<TokenId> ids = model.tokenizer().Encode(prompt);
  if (ids.empty()) return absl::InvalidArgumentError("--prompt: expected text, got none");
  beginning.tokens.insert(beginning.tokens.end(), ids.begin(), ids.end());
  beginning.text = prompt;
  return beginning;
}

absl::StatusOr<std::vector<WritingSample>> WriteSamples(
    std::shared_ptr<const Model> model, ThreadPool* pool, std::span<const Beginning> beginnings,
    std::span<const std::vector<AdapterRef>> sides, const WritingOptions& options) {
  std::vector<WritingSample> samples;
  size_t longest = 1;
  for (const Beginning& beginning : beginnings) {
    samples.push_back({beginning.text, beginning.written, {}});
    longest = std::max(longest, beginning.tokens.size());
  }
  if (samples.empty()) return samples;
  const int context = static_cast<int>(longest) + options.max_tokens + 1;
  ASSIGN_OR_RETURN(const auto session,
                   Session::Create(std::move(model), pool, {.context_length = context}));
  const GenerateOptions generate{
      .max_tokens = options.max_tokens,
      .sampling = {.temperature = options.temperature, .seed = options.seed}};
  for (const std::vector<AdapterRef>& side : sides) {
    RETURN_IF_ERROR(session->SetAdapters(side));
    for (size_t i = 0; i < beginnings.size(); ++i) {
      session->Rewind(0);
      ASSIGN_OR_RETURN(const GenerateResult result,
                       Generate(*session, beginnings[i].tokens, generate));
      samples[i].sides.push_back(result.text);
    }
  }
  return samples;
}

}  // namespace lorikeet
