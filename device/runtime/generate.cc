#include "device/runtime/generate.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

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

// Of the prompt, decoded between two looks at stop_requested.
constexpr size_t kPromptPart = 512;

absl::Status CheckShift(const Session& session, const GenerateOptions& options) {
  if (!options.context_shift) return absl::OkStatus();
  // Kept tokens and at least one dropped, one decoded again, one new.
  const int most = session.context_length() - 3;
  if (options.keep < 0 || options.keep > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokens to keep when the context shifts: expected 0 to ", most,
                     " for a context of ", session.context_length(), ", got ", options.keep));
  }
  return absl::OkStatus();
}

absl::Status CheckOptions(const Session& session, const GenerateOptions& options) {
  RETURN_IF_ERROR(CheckSamplingOptions(options.sampling));
  if (options.max_tokens < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokens to generate: expected 0 or more, got ", options.max_tokens));
  }
  for (const std::string& stop : options.stop_texts) {
    if (stop.empty()) return absl::InvalidArgumentError("expected a stop text, got an empty one");
  }
  if (options.lookup.draft < LookupOptions::kAuto ||
      options.lookup.draft > LookupOptions::kMostDrafted) {
    return absl::InvalidArgumentError(absl::StrCat("tokens to draft: expected 0 to ",
                                                   LookupOptions::kMostDrafted, ", got ",
                                                   options.lookup.draft));
  }
  return CheckShift(session, options);
}

// One call of Generate.
class Generation {
 public:
  Generation(Session& session, const GenerateOptions& options, const TextCallback& on_text,
             GenerateResult& result)
      : session_(session),
        options_(options),
        result_(result),
        output_(options, on_text),
        sampler_(options.sampling),
        text_(session.tokens().begin(), session.tokens().end()) {}

  absl::Status Run(std::span<const TokenId> prompt);

 private:
  bool StopRequested() const { return options_.stop_requested && options_.stop_requested(); }
  // Logits after the prompt; none if stopped on the way.
  absl::StatusOr<std::span<const float>> Prefill(std::span<const TokenId> prompt);
  absl::Status DecodeLoop(LookupDecoder& decoder, std::span<const float> logits);
  // The reason to end after `token`, which is part of the result.
  std::optional<StopReason> Take(TokenId token);
  absl::Status ShiftContext(LookupDecoder& decoder);
  // The logits as options_.adjust_logits leaves them.
  std::span<const float> Adjusted(std::span<const float> logits);

  Session& session_;
  const GenerateOptions& options_;
  GenerateResult& result_;
  TextOutput output_;
  Sampler sampler_;
  std::vector<TokenId> text_;  // all that came before the next token, whether still decoded or not
  size_t dropped_ = 0;         // of text_, after the first keep, by shifts of the context
  size_t keep_ = 0;
  std::vector<float> adjusted_;  // [V]
};

std::span<const float> Generation::Adjusted(std::span<const float> logits) {
  if (!options_.adjust_logits) return logits;
  adjusted_.assign(logits.begin(), logits.end());
  options_.adjust_logits(text_, adjusted_);
  return adjusted_;
}

absl::StatusOr<std::span<const float>> Generation::Prefill(std::span<const TokenId> prompt) {
  const int room = session_.context_length() - session_.position();
  if (prompt.size() > static_cast<size_t>(room)) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the prompt: expected at most ", room, " tokens, the room left in a context of ",
        session_.context_length(), ", got ", prompt.size()));
  }
  ConstMatrix logits;
  do {
    if (StopRequested()) return std::span<const float>();
    const std::span<const TokenId> part = prompt.first(std::min(kPromptPart, prompt.size()));
    ASSIGN_OR_RETURN(logits, session_.Decode(part, /*all_positions=*/false));
    text_.insert(text_.end(), part.begin(), part.end());
    prompt = prompt.subspan(part.size());
  } while (!prompt.empty());
  return std::span<const float>(logits.row(0), logits.cols);
}

absl::Status Generation::Run(std::span<const TokenId> prompt) {
  const SteadyTime start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const std::span<const float> logits, Prefill(prompt));
  result_.prefill_seconds = SecondsSince(start);
  if (logits.empty()) {
    result_.stop_reason = StopReason::kCancelled;
    return absl::OkStatus();
  }
  const bool begins_with_bos = text_[0] == session_.model().tokenizer().bos();
  keep_ = static_cast<size_t>(std::max(options_.keep, begins_with_bos ? 1 : 0));
  const SteadyTime decode_start = std::chrono::steady_clock::now();
  LookupDecoder decoder(&session_, options_.lookup, text_);
  RETURN_IF_ERROR(DecodeLoop(decoder, logits));
  decoder.DropDraft();
  output_.Finish();
  if (output_.stopped_by_text()) result_.stop_reason = StopReason::kStopText;
  result_.decode_seconds = SecondsSince(decode_start);
  result_.lookup = decoder.stats();
  result_.text = std::move(output_.text());
  return absl::OkStatus();
}

std::optional<StopReason> Generation::Take(TokenId token) {
  const Tokenizer& tokenizer = session_.model().tokenizer();
  text_.push_back(token);
  result_.tokens.push_back(token);
  if (!tokenizer.IsSpecial(token) && !output_.Push(tokenizer.Piece(token))) {
    return output_.stopped_by_text() ? StopReason::kStopText : StopReason::kCancelled;
  }
  if (static_cast<int>(result_.tokens.size()) == options_.max_tokens) return StopReason::kLength;
  if (StopRequested()) return StopReason::kCancelled;
  return std::nullopt;
}

absl::Status Generation::DecodeLoop(LookupDecoder& decoder, std::span<const float> logits) {
  const Tokenizer& tokenizer = session_.model().tokenizer();
  result_.stop_reason = StopReason::kLength;
  if (options_.max_tokens == 0) return absl::OkStatus();
  while (true) {
    ASSIGN_OR_RETURN(const TokenId token, sampler_.Sample(Adjusted(logits), text_));
    if (!options_.ignore_end && tokenizer.IsEndOfGeneration(token)) {
      result_.stop_reason = StopReason::kEndOfGeneration;
      return absl::OkStatus();
    }
    if (const std::optional<StopReason> reason = Take(token)) {
      result_.stop_reason = *reason;
      return absl::OkStatus();
    }
    if (decoder.position() == session_.context_length()) {
      if (!options_.context_shift) {
        result_.stop_reason = StopReason::kContext;
        return absl::OkStatus();
      }
      RETURN_IF_ERROR(ShiftContext(decoder));
    }
    const int wanted = options_.max_tokens - static_cast<int>(result_.tokens.size());
    ASSIGN_OR_RETURN(logits, decoder.Append(token, wanted));
    ++result_.decoded_tokens;
  }
}

absl::Status Generation::ShiftContext(LookupDecoder& decoder) {
  decoder.DropDraft();
  // text_ = kept, dropped before, in the session, the newest token (not yet in it).
  const size_t begin = keep_ + dropped_;
  const size_t held = text_.size() - 1 - begin;
  dropped_ += (held + 1) / 2;
  const std::span<const TokenId> tail =
      std::span(text_).subspan(keep_ + dropped_, held - (held + 1) / 2);
  session_.Rewind(static_cast<int>(keep_));
  ++result_.context_shifts;
  for (size_t begin_part = 0; begin_part < tail.size(); begin_part += kPromptPart) {
    const size_t count = std::min(kPromptPart, tail.size() - begin_part);
    RETURN_IF_ERROR(
        session_.Decode(tail.subspan(begin_part, count), /*all_positions=*/false).status());
  }
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
  RETURN_IF_ERROR(CheckOptions(session, options));
  if (prompt.empty()) return absl::InvalidArgumentError("expected a prompt, got an empty one");
  GenerateResult result;
  result.prompt_tokens = static_cast<int>(prompt.size());
  Generation generation(session, options, on_text, result);
  RETURN_IF_ERROR(generation.Run(prompt));
  return result;
}

}  // namespace lorikeet
