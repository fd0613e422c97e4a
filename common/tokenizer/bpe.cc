#include "common/tokenizer/bpe.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <tuple>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/tokenizer/unicode.h"

namespace lorikeet {
namespace {

constexpr size_t kShortWordBytes = 48;
constexpr int32_t kNoRank = std::numeric_limits<int32_t>::max();

// GPT-2's table: printable Latin-1 stands for itself, the other bytes for U+0100 and up in order.
constexpr std::array<uint16_t, 256> kByteCodes = [] {
  std::array<uint16_t, 256> codes{};
  uint16_t next = 0x100;
  for (uint16_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    codes[b] = printable ? b : next++;
  }
  return codes;
}();

constexpr size_t kCodeCount = 0x144;

// The inverse: the byte of a code, or -1.
constexpr std::array<int16_t, kCodeCount> kCodeBytes = [] {
  std::array<int16_t, kCodeCount> bytes{};
  bytes.fill(-1);
  for (int16_t b = 0; b < 256; ++b) bytes[kByteCodes[b]] = b;
  return bytes;
}();

const std::array<std::string, 256>& ByteTexts() {
  static const std::array<std::string, 256> texts = [] {
    std::array<std::string, 256> table;
    for (size_t b = 0; b < 256; ++b) AppendUtf8(kByteCodes[b], table[b]);
    return table;
  }();
  return texts;
}

// Characters outside the table stay as they are: files may hold such tokens, texts then never
// produce them.
std::string DecodeBytes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const Char c = CharAt(text, i);
    if (c.code < kCodeCount && kCodeBytes[c.code] >= 0) {
      out.push_back(static_cast<char>(kCodeBytes[c.code]));
    } else {
      out.append(text.substr(i, c.size));
    }
    i += c.size;
  }
  return out;
}

}  // namespace

BpeTokenizer::BpeTokenizer(Vocabulary vocabulary, PreTokenizer pre_tokenizer)
    : VocabularyTokenizer(std::move(vocabulary)), pre_tokenizer_(pre_tokenizer) {}

absl::StatusOr<std::unique_ptr<const Tokenizer>> BpeTokenizer::Create(
    std::shared_ptr<const GgufFile> file) {
  ASSIGN_OR_RETURN(const std::string_view pre, file->GetString("tokenizer.ggml.pre", "default"));
  const std::optional<PreTokenizer> pre_tokenizer = ParsePreTokenizer(pre);
  if (!pre_tokenizer) {
    return absl::InvalidArgumentError(
        absl::StrCat("pre-tokenizer \"", ToAbsl(pre),
                     "\" is not supported; supported: ", ToAbsl(SupportedPreTokenizers())));
  }
  VocabularyDefaults defaults;
  defaults.add_bos = pre_tokenizer == PreTokenizer::kLlama;
  ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::Load(std::move(file), defaults));
  std::unique_ptr<BpeTokenizer> tokenizer(new BpeTokenizer(std::move(vocabulary), *pre_tokenizer));
  RETURN_IF_ERROR(tokenizer->LoadMerges());
  return tokenizer;
}

absl::Status BpeTokenizer::LoadMerges() {
  ASSIGN_OR_RETURN(const GgufArray* merges, vocabulary().file->GetArray("tokenizer.ggml.merges"));
  if (!merges->integers.empty() || !merges->floats.empty() ||
      merges->strings.size() > static_cast<size_t>(kNoRank)) {
    return absl::InvalidArgumentError("tokenizer.ggml.merges: expected an array of strings");
  }
  absl::flat_hash_map<std::string, Symbol> extra;
  const auto symbol = [&](std::string_view text) -> Symbol {
    if (const int32_t id = vocabulary().ids.Find(text); id >= 0) return id;
    const auto next = static_cast<Symbol>(vocabulary().texts.size() + extra.size());
    return extra.try_emplace(std::string(text), next).first->second;
  };
  for (size_t b = 0; b < byte_symbols_.size(); ++b) byte_symbols_[b] = symbol(ByteTexts()[b]);
  merges_.reserve(merges->strings.size());
  merge_slots_.assign(HashSlots(merges->strings.size()), -1);
  std::string merged;
  for (size_t rank = 0; rank < merges->strings.size(); ++rank) {
    const std::string_view pair = merges->strings[rank];
    const size_t space = pair.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == pair.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer.ggml.merges: entry ", rank, " is not two strings and a space"));
    }
    const std::string_view left = pair.substr(0, space), right = pair.substr(space + 1);
    merged.assign(left).append(right);
    const Symbol whole = symbol(merged);
    merges_.push_back({.left = symbol(left), .right = symbol(right), .merged = whole});
    IndexLastMerge();
  }
  return absl::OkStatus();
}

size_t BpeTokenizer::MergeSlot(Symbol left, Symbol right) const {
  const size_t mask = merge_slots_.size() - 1;
  size_t at = absl::HashOf(left, right) & mask;
  while (merge_slots_[at] >= 0) {
    const Merge& merge = merges_[merge_slots_[at]];
    if (merge.left == left && merge.right == right) break;
    at = (at + 1) & mask;
  }
  return at;
}

void BpeTokenizer::IndexLastMerge() {
  const Merge& merge = merges_.back();
  int32_t& slot = merge_slots_[MergeSlot(merge.left, merge.right)];
  if (slot < 0) slot = static_cast<int32_t>(merges_.size() - 1);
}

int32_t BpeTokenizer::FindMerge(Symbol left, Symbol right) const {
  const int32_t rank = merge_slots_[MergeSlot(left, right)];
  return rank < 0 ? kNoRank : rank;
}

void BpeTokenizer::EncodePlain(std::string_view text, bool, std::vector<TokenId>& out) const {
  for (const std::string_view word : SplitWords(text, pre_tokenizer_)) EncodeWord(word, out);
}

void BpeTokenizer::EncodeWord(std::string_view word, std::vector<TokenId>& out) const {
  // Llama 3's vocabulary holds words that its merges do not reach.
  if (pre_tokenizer_ == PreTokenizer::kLlama) {
    std::string text;
    text.reserve(word.size() * 2);
    for (const char c : word) text += ByteTexts()[static_cast<uint8_t>(c)];
    if (const std::optional<TokenId> id = vocabulary().Find(text)) return out.push_back(*id);
  }
  std::vector<Part> parts;
  parts.reserve(word.size());
  for (const char c : word) parts.push_back({byte_symbols_[static_cast<uint8_t>(c)], 1});
  word.size() <= kShortWordBytes ? MergeShort(parts) : MergeLong(parts);
  size_t position = 0;
  for (const Part& part : parts) {
    if (vocabulary().Contains(part.symbol)) {
      out.push_back(part.symbol);
    } else {
      // A vocabulary without this string: its bytes, or unknown, or nothing, as far as the
      // vocabulary goes.
      for (const char c : word.substr(position, part.size)) {
        const Symbol byte = byte_symbols_[static_cast<uint8_t>(c)];
        if (vocabulary().Contains(byte)) {
          out.push_back(byte);
        } else if (vocabulary().unknown) {
          out.push_back(*vocabulary().unknown);
        }
      }
    }
    position += part.size;
  }
}

void BpeTokenizer::MergeShort(std::vector<Part>& parts) const {
  if (parts.size() < 2) return;
  int32_t next[kShortWordBytes];  // next[i]: rank of the merge of parts i and i + 1
  const auto look_up = [&](size_t i) { next[i] = FindMerge(parts[i].symbol, parts[i + 1].symbol); };
  for (size_t i = 0; i + 1 < parts.size(); ++i) look_up(i);
  while (parts.size() > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < parts.size(); ++i) {
      if (next[i] < next[best]) best = i;
    }
    if (next[best] == kNoRank) return;
    parts[best] = {merges_[next[best]].merged, parts[best].size + parts[best + 1].size};
    std::copy(next + best + 1, next + parts.size() - 1, next + best);
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    if (best + 1 < parts.size()) look_up(best);
    if (best > 0) look_up(best - 1);
  }
}

void BpeTokenizer::MergeLong(std::vector<Part>& parts) const {
  struct Candidate {
    int32_t rank;
    uint32_t left, right;
    Symbol merged, left_symbol, right_symbol;  // the symbols tell a stale candidate
    bool operator<(const Candidate& other) const {
      return std::tie(other.rank, other.left) < std::tie(rank, left);  // best on top
    }
  };
  constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();
  const auto count = static_cast<uint32_t>(parts.size());
  std::vector<uint32_t> before(count), after(count);
  std::vector<bool> alive(count, true);
  std::priority_queue<Candidate> queue;
  const auto offer = [&](uint32_t left, uint32_t right) {
    if (left == kNone || right == kNone) return;
    const Symbol a = parts[left].symbol, b = parts[right].symbol;
    if (const int32_t rank = FindMerge(a, b); rank != kNoRank) {
      queue.push({rank, left, right, merges_[rank].merged, a, b});
    }
  };
  for (uint32_t i = 0; i < count; ++i) {
    before[i] = i == 0 ? kNone : i - 1;
    after[i] = i + 1 == count ? kNone : i + 1;
    offer(i, after[i]);
  }
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    if (!alive[top.left] || !alive[top.right] || after[top.left] != top.right ||
        parts[top.left].symbol != top.left_symbol || parts[top.right].symbol != top.right_symbol) {
      continue;
    }
    parts[top.left] = {top.merged, parts[top.left].size + parts[top.right].size};
    alive[top.right] = false;
    after[top.left] = after[top.right];
    if (after[top.left] != kNone) before[after[top.left]] = top.left;
    offer(before[top.left], top.left);
    offer(top.left, after[top.left]);
  }
  size_t kept = 0;
  for (uint32_t i = 0; i < count; ++i) {
    if (alive[i]) parts[kept++] = parts[i];
  }
  parts.resize(kept);
}

std::string BpeTokenizer::Piece(TokenId id) const {
  if (!vocabulary().Contains(id)) return std::string();
  const std::string_view text = vocabulary().texts[id];
  return IsWhole(id) ? std::string(text) : DecodeBytes(text);
}

absl::StatusOr<std::string> BpeTokenizer::Decode(std::span<const TokenId> ids) const {
  std::string out;
  for (const TokenId id : ids) {
    RETURN_IF_ERROR(CheckId(id));
    out += Piece(id);
  }
  return out;
}

}  // namespace lorikeet
