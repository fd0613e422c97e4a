// Which tokens of a conversation a model is to learn: ChatTemplate::EncodeForLearning.
#include <algorithm>
#include <string>
#include <utility>

#include "common/base/status_macros.h"
#include "device/runtime/chat_template.h"

namespace lorikeet {
namespace {

using jinja::kMarkup;
using jinja::Text;

struct Range {
  size_t begin = 0;
  size_t end = 0;
};

// The words of message `index` with the markup between them; empty if the template wrote none.
Range WordsOf(const Text& text, int32_t index) {
  Range words;
  size_t at = 0;
  for (const Text::Run& run : text.runs()) {
    const size_t begin = std::exchange(at, run.end);
    if (run.origin.source == index) {
      if (words.end == 0) words.begin = begin;
      words.end = run.end;
    } else if (words.end > 0 && run.origin.source != kMarkup) {
      break;
    }
  }
  return words;
}

// The stretch of markup around position `at`: from the words before it to the words behind it.
Range MarkupAround(const Text& text, size_t at) {
  Range markup{.begin = 0, .end = text.size()};
  size_t begin = 0;
  for (const Text::Run& run : text.runs()) {
    if (run.origin.source != kMarkup) {
      if (run.end <= at) markup.begin = run.end;
      if (begin >= at) markup.end = std::min(markup.end, begin);
    }
    begin = run.end;
  }
  return markup;
}

}  // namespace

// Bytes of `markup` up to its first end-of-generation token, that included; 0: there is none.
size_t ChatTemplate::EndOfTurn(std::string_view markup) const {
  size_t at = 0;
  for (const TokenId id : tokenizer_->Encode(markup, {.parse_special = true})) {
    std::string_view rest = markup.substr(std::min(at, markup.size()));
    const std::string piece = tokenizer_->Piece(id);
    // SentencePiece puts a space before the text.
    const bool extra_space = piece.starts_with(' ') && !rest.starts_with(piece);
    at += piece.size() - (extra_space ? 1 : 0);
    if (tokenizer_->IsEndOfGeneration(id)) return std::min(at, markup.size());
    if (tokenizer_->IsSpecial(id)) return 0;  // another turn begins
  }
  return 0;
}

std::vector<bool> ChatTemplate::LearnedBytes(const Text& text,
                                             std::span<const ChatMessage> messages) const {
  std::vector<bool> learned(text.size(), false);
  const auto mark = [&](size_t begin, size_t end) {
    std::fill(learned.begin() + static_cast<ptrdiff_t>(begin),
              learned.begin() + static_cast<ptrdiff_t>(end), true);
  };
  if (template_->has_generation()) {
    size_t begin = 0;
    for (const Text::Run& run : text.runs()) {
      if (run.origin.generated) mark(begin, run.end);
      begin = run.end;
    }
    return learned;
  }
  for (size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != "assistant") continue;
    Range words = WordsOf(text, static_cast<int32_t>(i));
    if (words.end == 0) continue;
    // A reply begins where the generation prompt ends: "<think>" behind it is the model's to write.
    const Range before = MarkupAround(text, words.begin);
    const std::string_view markup =
        std::string_view(text.bytes()).substr(before.begin, words.begin - before.begin);
    const size_t opening =
        reply_opening_.empty() ? std::string_view::npos : markup.rfind(reply_opening_);
    if (opening != std::string_view::npos) {
      words.begin = before.begin + opening + reply_opening_.size();
    }
    const Range behind = MarkupAround(text, words.end);
    words.end +=
        EndOfTurn(std::string_view(text.bytes()).substr(words.end, behind.end - words.end));
    mark(words.begin, words.end);
  }
  return learned;
}

absl::StatusOr<LearnedTokens> ChatTemplate::EncodeForLearning(
    std::span<const ChatMessage> messages) const {
  ASSIGN_OR_RETURN(const Text text, Render(messages, /*add_generation_prompt=*/false));
  const std::vector<bool> learned = LearnedBytes(text, messages);
  LearnedTokens result;
  // A word never crosses the border of a reply: the model begins it anew.
  for (size_t begin = 0; begin < text.size();) {
    const auto border =
        std::find(learned.begin() + static_cast<ptrdiff_t>(begin), learned.end(), !learned[begin]);
    const auto end = static_cast<size_t>(border - learned.begin());
    tokenizer_->AppendParts(Parts(text, messages, begin, end), result.tokens);
    result.mask.resize(result.tokens.size(), learned[begin] ? 1.0f : 0.0f);
    begin = end;
  }
  if (LacksBos(result.tokens)) {
    result.tokens.insert(result.tokens.begin(), *tokenizer_->bos());
    result.mask.insert(result.mask.begin(), 0.0f);
  }
  return result;
}

}  // namespace lorikeet
