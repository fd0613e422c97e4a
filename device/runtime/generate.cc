#include "device/runtime/generate.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "device/runtime/utf8_stream.h"

namespace lorikeet {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

double SecondsSince(SteadyTime start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Text on its way to the callback: holds back what may be the beginning of a stop text.
class TextOutput {
 public:
  TextOutput(const GenerateOptions& options, const TextCallback& on_text)
      : stop_texts_(options.stop_texts), on_text_(on_text) {}

  // False: stop (see stopped_by_text).
  bool Push(std::string_view bytes) { return Add(characters_.Push(bytes)); }
  // The rest, when nothing more comes.
  void Finish() {
    if (stopped_by_text_) return;
    if (Add(characters_.Finish())) Emit(text_.size());
  }
  bool stopped_by_text() const { return stopped_by_text_; }
  std::string& text() { return text_; }

 private:
  bool Add(const std::string& piece) {
    const size_t before = text_.size();
    text_ += piece;
    for (const std::string& stop : stop_texts_) {
      const size_t from = before - std::min(before, stop.size() - 1);
      const size_t found = text_.find(stop, from);
      if (found == std::string::npos) continue;
      text_.resize(found);
      stopped_by_text_ = true;
    }
    return Emit(stopped_by_text_ ? text_.size() : text_.size() - HeldBack()) && !stopped_by_text_;
  }

  // Length of the longest end of text_ that begins a stop text.
  size_t HeldBack() const {
    size_t held = 0;
    for (const std::string& stop : stop_texts_) {
      for (size_t n = std::min(stop.size() - 1, text_.size()); n > held; --n) {
        if (text_.ends_with(std::string_view(stop).substr(0, n))) held = n;
      }
    }
    return held;
  }

  bool Emit(size_t end) {
    if (end <= emitted_) return true;
    const std::string_view piece = std::string_view(text_).substr(emitted_, end - emitted_);
    emitted_ = end;
    return !on_text_ || on_text_(piece);
  }

  const std::vector<std::string>& stop_texts_;
  const TextCallback& on_text_;
  Utf8Stream characters_;
  std::string text_;
  size_t emitted_ = 0;
  bool stopped_by_text_ = false;
};

absl::Status CheckOptions(const GenerateOptions& options) {
  RETURN_IF_ERROR(CheckSamplingOptions(options.sampling));
  if (options.max_tokens < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokens to generate: expected 0 or more, got ", options.max_tokens));
  }
  for (const std::string& stop : options.stop_texts) {
    if (stop.empty()) return absl::InvalidArgumentError("expected a stop text, got an empty one");
  }
  return absl::OkStatus();
}

// The decode loop, from the logits of the prompt's last position.
absl::Status DecodeLoop(Session& session, std::vector<TokenId>& history, ConstMatrix logits,
                        const GenerateOptions& options, TextOutput& output,
                        GenerateResult& result) {
  const Tokenizer& tokenizer = session.model().tokenizer();
  Sampler sampler(options.sampling);
  result.stop_reason = StopReason::kLength;
  while (static_cast<int>(result.tokens.size()) < options.max_tokens) {
    const std::span<const float> row(logits.row(0), logits.cols);
    const TokenId token = sampler.Sample(row, history);
    if (!options.ignore_end && tokenizer.IsEndOfGeneration(token)) {
      result.stop_reason = StopReason::kEndOfGeneration;
      break;
    }
    history.push_back(token);
    result.tokens.push_back(token);
    if (!tokenizer.IsSpecial(token) && !output.Push(tokenizer.Piece(token))) {
      result.stop_reason =
          output.stopped_by_text() ? StopReason::kStopText : StopReason::kCancelled;
      break;
    }
    if (static_cast<int>(result.tokens.size()) == options.max_tokens) break;
    if (session.position() == session.context_length()) {
      result.stop_reason = StopReason::kContext;
      break;
    }
    ASSIGN_OR_RETURN(logits, session.Decode(std::span(&token, 1), /*all_positions=*/false));
    ++result.decoded_tokens;
  }
  output.Finish();
  if (output.stopped_by_text()) result.stop_reason = StopReason::kStopText;
  return absl::OkStatus();
}

}  // namespace

std::string_view StopReasonName(StopReason reason) {
  switch (reason) {
    case StopReason::kEndOfGeneration:
      return "end";
    case StopReason::kLength:
      return "length";
    case StopReason::kContext:
      return "context";
    case StopReason::kStopText:
      return "stop_text";
    case StopReason::kCancelled:
      return "cancelled";
  }
  return "";
}

absl::StatusOr<GenerateResult> Generate(Session& session, std::span<const TokenId> prompt,
                                        const GenerateOptions& options,
                                        const TextCallback& on_text) {
  RETURN_IF_ERROR(CheckOptions(options));
  GenerateResult result;
  result.prompt_tokens = static_cast<int>(prompt.size());
  const SteadyTime start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const ConstMatrix logits, session.Decode(prompt, /*all_positions=*/false));
  result.prefill_seconds = SecondsSince(start);

  std::vector<TokenId> history(prompt.begin(), prompt.end());
  TextOutput output(options, on_text);
  const SteadyTime decode_start = std::chrono::steady_clock::now();
  RETURN_IF_ERROR(DecodeLoop(session, history, logits, options, output, result));
  result.decode_seconds = SecondsSince(decode_start);
  result.text = std::move(output.text());
  return result;
}

}  // namespace lorikeet
