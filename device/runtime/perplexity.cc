#include "device/runtime/perplexity.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr int kMinContext = 4;

absl::Status CheckContext(const Session& session, int64_t token_count, int context) {
  if (context < kMinContext || context > session.context_length()) {
    return absl::InvalidArgumentError(absl::StrCat("context: expected ", kMinContext, " to ",
                                                   session.context_length(), ", got ", context));
  }
  if (token_count < context) {
    return absl::InvalidArgumentError(absl::StrCat("expected a text of at least one context (",
                                                   context, " tokens), got ", token_count,
                                                   " tokens; a smaller context can be asked for"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PerplexityResult> Perplexity(Session& session, std::span<const TokenId> tokens,
                                            int context, const ChunkCallback& on_chunk) {
  RETURN_IF_ERROR(CheckContext(session, static_cast<int64_t>(tokens.size()), context));
  const Tokenizer& tokenizer = session.model().tokenizer();
  const int chunks = static_cast<int>(tokens.size() / context);
  const int first = context / 2 + 1;
  PerplexityResult result;
  double nll_sum = 0;
  int64_t bytes = 0;
  for (int i = 0; i < chunks; ++i) {
    const auto source = tokens.subspan(static_cast<size_t>(i) * context, context);
    std::vector<TokenId> chunk(source.begin(), source.end());
    if (tokenizer.adds_bos() && tokenizer.bos()) chunk[0] = *tokenizer.bos();
    ASSIGN_OR_RETURN(const std::vector<float> nll, session.ScoreTail(chunk, first));
    for (const float value : nll) nll_sum += value;
    result.tokens += static_cast<int64_t>(nll.size());
    for (int t = first; t < context; ++t) {
      bytes += static_cast<int64_t>(tokenizer.Piece(chunk[t]).size());
    }
    result.chunks = i + 1;
    if (on_chunk && !on_chunk(i + 1, chunks)) break;
  }
  result.mean_nll = nll_sum / static_cast<double>(result.tokens);
  result.perplexity = std::exp(result.mean_nll);
  result.bits_per_byte = bytes > 0 ? nll_sum / std::log(2.0) / static_cast<double>(bytes) : 0;
  return result;
}

}  // namespace lorikeet
