// Lookup decoding: a session that is asked for one token's logits at a time, and looks ahead.
//
// Where the end of the text was seen before (lookup_index.h), what followed is decoded together
// with the next token.  If the caller then appends just that, its logits are there already; if not,
// the session goes back.  The caller chooses from the same logits as without, in the same order, so
// the text is the same for every seed and temperature: a session gives a row the same numbers to
// the last bit whether it is decoded alone or among up to eight (kernels/cached_attention.h, the
// kernels for few rows; lookup_test.cc holds them to it), and no more are ever verified together.
#ifndef LORIKEET_DEVICE_RUNTIME_LOOKUP_DECODER_H_
#define LORIKEET_DEVICE_RUNTIME_LOOKUP_DECODER_H_

#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "device/runtime/draft_policy.h"
#include "device/runtime/lookup_index.h"
#include "device/runtime/session.h"

namespace lorikeet {

struct LookupOptions {
  static constexpr int kAuto = -1;
  static constexpr int kMostDrafted = DraftPolicy::kMostDrafted;
  int draft = kAuto;                   // 0: off; n: n tokens at every match, however short
  const LookupIndex* texts = nullptr;  // more to draft from than the text itself; borrowed
};

struct LookupStats {
  int passes = 0;  // through the model, after the prompt
  int drafted = 0;
  int accepted = 0;  // of drafted
};

// Not thread-safe.
class LookupDecoder {
 public:
  // `session` is borrowed; `text`: the tokens behind its positions, or what is known of them.
  // REQUIRES: draft is kAuto or 0 to kMostDrafted.
  LookupDecoder(Session* session, const LookupOptions& options, std::span<const TokenId> text);

  // Appends `token`, and returns the logits after it, [V], valid until the next call.  `wanted`: no
  // more than so many tokens will follow it.  Errors as Session::Decode; RESOURCE_EXHAUSTED if
  // position() == context_length().
  absl::StatusOr<std::span<const float>> Append(TokenId token, int wanted);

  // Positions of what was appended; the session itself may be ahead.
  int position() const;
  // Brings the session back to position().
  void DropDraft();

  const LookupStats& stats() const { return stats_; }

 private:
  // Fills draft_ for the text that ends with the last token appended.
  void MakeDraft(int limit);
  // The draft is done with: learns from it.
  void Judge();

  Session* session_;
  LookupOptions options_;
  LookupIndex text_;
  DraftPolicy policy_;
  LookupStats stats_;

  std::vector<TokenId> input_;  // the certain token, then the draft
  int match_length_ = 0;
  double seconds_ = 0;
  bool judged_ = true;
  ConstMatrix logits_;  // [input_.size() or 1, V]
  int accepted_ = 0;    // of the draft
  int end_ = 0;         // session position after the certain token
  std::vector<TokenId> draft_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_RUNTIME_LOOKUP_DECODER_H_
