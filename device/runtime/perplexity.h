// Perplexity of a text, in the convention of llama.cpp's perplexity tool.
//
// The text is tokenized whole (BOS first if the vocabulary adds one) and cut into full chunks of
// `context` tokens; what is left at the end does not count.  The first token of each chunk becomes
// BOS if the vocabulary adds one; positions context/2 .. context-2 of each chunk are scored (each
// predicts the token after it).
#ifndef LORIKEET_DEVICE_RUNTIME_PERPLEXITY_H_
#define LORIKEET_DEVICE_RUNTIME_PERPLEXITY_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "device/runtime/session.h"

namespace lorikeet {

struct PerplexityResult {
  double perplexity = 0;     // exp(mean_nll)
  double mean_nll = 0;       // nats a scored token
  double bits_per_byte = 0;  // over the bytes of the scored tokens
  int64_t tokens = 0;        // scored
  int chunks = 0;
};

// After each chunk: how many are done, of how many.  False stops: the result covers the chunks
// done.
using ChunkCallback = std::function<bool(int done, int total)>;

// `context` in tokens: 4 or more, up to the session's.  INVALID_ARGUMENT: context out of range; the
// text is shorter than one chunk.
absl::StatusOr<PerplexityResult> Perplexity(Session& session, std::span<const TokenId> tokens,
                                            int context, const ChunkCallback& on_chunk = nullptr);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_PERPLEXITY_H_
