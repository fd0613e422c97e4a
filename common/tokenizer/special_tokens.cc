#include "common/tokenizer/special_tokens.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace lorikeet {

SpecialTokens::SpecialTokens(std::vector<Entry> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const Entry& entry) { return entry.first.empty(); });
  std::sort(tokens_.begin(), tokens_.end());
  for (const Entry& entry : tokens_) starts_[static_cast<uint8_t>(entry.first[0])] = true;
}

// Narrows the sorted tokens by one more byte of text at a time: as in a trie, without one.
void SpecialTokens::MatchesAt(std::string_view text, size_t begin,
                              std::vector<Match>& matches) const {
  auto low = tokens_.begin(), high = tokens_.end();
  for (size_t depth = 0; begin + depth < text.size(); ++depth) {
    // Among tokens with the same first `depth` bytes, the ones that end there come first.
    const auto byte = static_cast<uint8_t>(text[begin + depth]);
    low = std::partition_point(low, high, [&](const Entry& entry) {
      return entry.first.size() <= depth || static_cast<uint8_t>(entry.first[depth]) < byte;
    });
    high = std::partition_point(low, high, [&](const Entry& entry) {
      return static_cast<uint8_t>(entry.first[depth]) == byte;
    });
    if (low == high) return;
    if (low->first.size() == depth + 1) matches.push_back({begin, begin + depth + 1, low->second});
  }
}

std::vector<TextSegment> SpecialTokens::Split(std::string_view text) const {
  std::vector<Match> matches;
  for (size_t i = 0; i < text.size() && !tokens_.empty(); ++i) {
    if (starts_[static_cast<uint8_t>(text[i])]) MatchesAt(text, i, matches);
  }
  std::sort(matches.begin(), matches.end(), [](const Match& a, const Match& b) {
    const size_t a_size = a.end - a.begin, b_size = b.end - b.begin;
    return std::tie(b_size, a.id, a.begin) < std::tie(a_size, b.id, b.begin);
  });
  std::map<size_t, const Match*> chosen;  // by begin
  for (const Match& match : matches) {
    const auto after = chosen.lower_bound(match.begin);
    if (after != chosen.end() && after->first < match.end) continue;
    if (after != chosen.begin() && std::prev(after)->second->end > match.begin) continue;
    chosen.emplace_hint(after, match.begin, &match);
  }
  std::vector<TextSegment> segments;
  size_t position = 0;
  for (const auto& [begin, match] : chosen) {
    if (begin > position) segments.push_back({text.substr(position, begin - position), -1});
    segments.push_back({text.substr(begin, match->end - begin), match->id});
    position = match->end;
  }
  if (position < text.size()) segments.push_back({text.substr(position), -1});
  return segments;
}

}  // namespace lorikeet
