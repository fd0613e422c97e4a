#include "device/runtime/lookup_index.h"

#include <algorithm>

namespace lorikeet {
namespace {

constexpr TokenId kBorder = -1;
constexpr int kCandidates = 16;
constexpr size_t kSmallestTable = 1024;

uint64_t Mix(uint64_t hash, TokenId token) {
  hash = (hash ^ static_cast<uint32_t>(token)) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 29);
}

// Of the `count` tokens before `end`.
uint64_t HashBefore(std::span<const TokenId> tokens, size_t end, size_t count) {
  uint64_t hash = count;
  for (size_t i = end - count; i < end; ++i) hash = Mix(hash, tokens[i]);
  return hash;
}

}  // namespace

void LookupIndex::Append(TokenId token) {
  tokens_.push_back(token);
  previous_.push_back(0);
  if (tokens_.size() > threes_.table.size()) return Grow();
  // Only now does the n-gram before this token have a continuation.
  InsertEndingAt(tokens_.size() - 1);
}

void LookupIndex::Append(std::span<const TokenId> tokens) {
  for (const TokenId token : tokens) Append(token);
}

void LookupIndex::EndText() {
  if (!tokens_.empty() && tokens_.back() != kBorder) Append(kBorder);
}

void LookupIndex::InsertEndingAt(size_t end) {
  if (end < 2 || tokens_[end] == kBorder) return;
  twos_.of(HashBefore(tokens_, end, 2)) = static_cast<uint32_t>(end);
  if (end < 3) return;
  uint32_t& head = threes_.of(HashBefore(tokens_, end, 3));
  previous_[end] = head;
  head = static_cast<uint32_t>(end);
}

void LookupIndex::Grow() {
  const size_t size = std::max(kSmallestTable, 2 * threes_.table.size());
  threes_.table.assign(size, 0);
  twos_.table.assign(size, 0);
  for (size_t end = 0; end < tokens_.size(); ++end) InsertEndingAt(end);
}

int LookupIndex::MatchLength(std::span<const TokenId> text, size_t position) const {
  const size_t most = std::min({text.size(), position, static_cast<size_t>(kLongest)});
  size_t length = 0;
  while (length < most && tokens_[position - 1 - length] == text[text.size() - 1 - length]) {
    ++length;
  }
  return static_cast<int>(length);
}

LookupMatch LookupIndex::Find(std::span<const TokenId> text) const {
  LookupMatch best;
  if (threes_.table.empty() || text.size() < 2) return best;
  if (text.size() >= 3) {
    size_t position = threes_.of(HashBefore(text, text.size(), 3));
    for (int i = 0; i < kCandidates && position != 0; ++i, position = previous_[position]) {
      const int length = MatchLength(text, position);
      if (length >= 3 && length > best.length) best = {.length = length, .position = position};
    }
  }
  if (best.length > 0) return best;
  const size_t position = twos_.of(HashBefore(text, text.size(), 2));
  const int length = position == 0 ? 0 : MatchLength(text, position);
  if (length >= kShortest) best = {.length = length, .position = position};
  return best;
}

void LookupIndex::Continue(const LookupMatch& match, int count, std::vector<TokenId>* out) const {
  out->clear();
  for (int i = 0; i < count; ++i) {
    const size_t at = match.position + static_cast<size_t>(i);
    const TokenId token = at < tokens_.size() ? tokens_[at] : (*out)[at - tokens_.size()];
    if (token == kBorder) return;
    out->push_back(token);
  }
}

}  // namespace lorikeet
