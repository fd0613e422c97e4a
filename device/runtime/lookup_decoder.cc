#include "device/runtime/lookup_decoder.h"

#include <algorithm>
#include <chrono>

#include "common/base/status_macros.h"

namespace lorikeet {

LookupDecoder::LookupDecoder(Session* session, const LookupOptions& options,
                             std::span<const TokenId> text)
    : session_(session), options_(options), end_(session->position()) {
  LORIKEET_CHECK(options.draft >= LookupOptions::kAuto &&
                 options.draft <= LookupOptions::kMostDrafted);
  if (options_.draft != 0) text_.Append(text);
}

int LookupDecoder::position() const { return judged_ ? session_->position() : end_ + accepted_; }

void LookupDecoder::Judge() {
  if (judged_) return;
  judged_ = true;
  const int drafted = static_cast<int>(draft_.size());
  stats_.accepted += accepted_;
  if (options_.draft == LookupOptions::kAuto) {
    policy_.Record(match_length_, drafted, accepted_, seconds_);
  }
}

void LookupDecoder::DropDraft() {
  const int end = position();
  Judge();
  session_->Rewind(end);
}

void LookupDecoder::MakeDraft(int limit) {
  draft_.clear();
  match_length_ = 0;
  if (options_.draft == 0 || limit <= 0) return;
  const std::span<const TokenId> text = text_.tokens();
  const LookupIndex* source = &text_;
  LookupMatch match = text_.Find(text);
  if (options_.texts != nullptr) {
    const LookupMatch other = options_.texts->Find(text);
    if (other.length > match.length) {
      match = other;
      source = options_.texts;
    }
  }
  if (match.length == 0) return;
  match_length_ = match.length;
  const int count = options_.draft == LookupOptions::kAuto ? policy_.Length(match.length, limit)
                                                           : std::min(options_.draft, limit);
  source->Continue(match, count, &draft_);
}

absl::StatusOr<std::span<const float>> LookupDecoder::Append(TokenId token, int wanted) {
  if (options_.draft != 0) text_.Append(token);
  const int drafted = static_cast<int>(draft_.size());
  if (!judged_ && accepted_ < drafted && draft_[accepted_] == token) {
    ++accepted_;
    return std::span<const float>(logits_.row(accepted_), logits_.cols);
  }
  DropDraft();
  // The draft's last token would only be decoded to be thrown away if nothing is wanted after it.
  MakeDraft(std::min(wanted - 1, session_->context_length() - session_->position() - 1));
  input_.assign(1, token);
  input_.insert(input_.end(), draft_.begin(), draft_.end());
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(logits_, session_->Decode(input_, /*all_positions=*/!draft_.empty()));
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  ++stats_.passes;
  stats_.drafted += static_cast<int>(draft_.size());
  accepted_ = 0;
  end_ = session_->position() - static_cast<int>(draft_.size());
  judged_ = false;
  return std::span<const float>(logits_.row(0), logits_.cols);
}

}  // namespace lorikeet
