// Generating text: the prompt, then a token at a time, streamed in whole characters.
//
// Ends that a user may ask for: a number of tokens, texts, the model's own end, a full context (or
// go on with a shifted one).  How tokens are chosen is sampler.h's, how they are found faster
// lookup_decoder.h's; neither changes the other's result.
#ifndef LORIKEET_DEVICE_RUNTIME_GENERATE_H_
#define LORIKEET_DEVICE_RUNTIME_GENERATE_H_

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "device/runtime/lookup_decoder.h"
#include "device/runtime/sampler.h"
#include "device/runtime/session.h"

namespace lorikeet {

enum class StopReason {
  kEndOfGeneration,  // the model ended its text; that token is not part of the result
  kLength,           // max_tokens
  kContext,          // the session's context is full
  kStopText,         // one of stop_texts appeared; it and what follows is cut from the text
  kCancelled,        // the callback or stop_requested said so
};
// "end", "length", "context", "stop_text", "cancelled".
std::string_view StopReasonName(StopReason reason);

struct GenerateOptions {
  int max_tokens = 128;
  SamplingOptions sampling;
  bool ignore_end = false;                   // go on after an end-of-generation token
  std::vector<std::string> stop_texts = {};  // not empty strings
  LookupOptions lookup = {};
  // What to do when the context is full.  false: end.  true: keep the first `keep` tokens, drop the
  // older half of the others and decode the newer half again behind them, so that the model sees
  // just what a session sees that never held more.  It costs that decoding: half a context of
  // prefill for every half a context of text.
  bool context_shift = false;
  int keep = 0;  // tokens; a BOS in front is always kept
  // May change the logits [V] of the next token; `text`: all that came before it.
  std::function<void(std::span<const TokenId> text, std::span<float> logits)> adjust_logits =
      nullptr;
  // Asked between tokens and between parts of the prompt: true ends with what there is.
  std::function<bool()> stop_requested = nullptr;
};

struct GenerateResult {
  int prompt_tokens = 0;
  std::vector<TokenId> tokens;  // generated
  std::string text;  // of the tokens, control tokens left out; valid UTF-8 (see Utf8Stream)
  StopReason stop_reason = StopReason::kLength;
  double prefill_seconds = 0;
  double decode_seconds = 0;  // after the first token
  int decoded_tokens = 0;     // in decode_seconds
  LookupStats lookup;
  int context_shifts = 0;

  double prefill_tokens_per_second() const {
    return prefill_seconds > 0 ? prompt_tokens / prefill_seconds : 0;
  }
  double decode_tokens_per_second() const {
    return decode_seconds > 0 ? decoded_tokens / decode_seconds : 0;
  }
};

// Receives text as it appears, never half a character; false stops.
using TextCallback = std::function<bool(std::string_view text)>;

// Appends `prompt` and what is generated to the session (which may already hold the beginning of a
// conversation). The last generated token is not yet decoded when this returns, unless the end was
// kEndOfGeneration.  INVALID_ARGUMENT: empty prompt, an option out of range.  RESOURCE_EXHAUSTED:
// the prompt does not fit.  DATA_LOSS: the model's output is not finite.
absl::StatusOr<GenerateResult> Generate(Session& session, std::span<const TokenId> prompt,
                                        const GenerateOptions& options,
                                        const TextCallback& on_text = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_GENERATE_H_
