#include "device/personalization/rehearsal.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "device/runtime/sampler.h"
#include "device/runtime/session.h"

namespace lorikeet {
namespace {

// Continues `first` until the base ends the text or `most` tokens are there.
absl::StatusOr<Sequence> Continue(Session& session, Sampler& sampler, TokenId first, int most) {
  Sequence sequence;
  sequence.tokens.push_back(first);
  session.Rewind(0);
  while (static_cast<int>(sequence.tokens.size()) < most) {
    ASSIGN_OR_RETURN(const ConstMatrix logits,
                     session.Decode({&sequence.tokens.back(), 1}, /*all_positions=*/false));
    ASSIGN_OR_RETURN(const TokenId next,
                     sampler.Sample({logits.row(0), static_cast<size_t>(logits.cols)}, {}));
    if (session.model().tokenizer().IsEndOfGeneration(next)) break;
    sequence.tokens.push_back(next);
  }
  return sequence;
}

}  // namespace

absl::StatusOr<std::vector<Sequence>> RehearseBase(std::shared_ptr<const Model> model,
                                                   ThreadPool* pool,
                                                   const RehearsalOptions& options) {
  std::vector<Sequence> sequences;
  if (options.tokens <= 0) return sequences;
  if (options.sequence_tokens < 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rehearsal: expected sequences of at least 2 tokens, got ", options.sequence_tokens));
  }
  SessionOptions session_options;
  session_options.context_length = options.sequence_tokens;
  ASSIGN_OR_RETURN(const auto session, Session::Create(model, pool, session_options));
  Sampler sampler({.temperature = 1.0, .seed = options.seed});
  Rng rng(options.seed);
  const auto vocabulary = static_cast<uint64_t>(model->config().vocabulary_size);
  for (int64_t left = options.tokens; left > 0;) {
    const TokenId first =
        model->tokenizer().bos().value_or(static_cast<TokenId>(rng.Below(vocabulary)));
    const int most = static_cast<int>(
        std::min<int64_t>(options.sequence_tokens, std::max<int64_t>(left + 1, 2)));
    ASSIGN_OR_RETURN(Sequence sequence, Continue(*session, sampler, first, most));
    // A text that ends at once also counts, so that this ends.
    left -= std::max<int64_t>(1, static_cast<int64_t>(sequence.tokens.size()) - 1);
    if (sequence.tokens.size() >= 2) sequences.push_back(std::move(sequence));
  }
  return sequences;
}

}  // namespace lorikeet
