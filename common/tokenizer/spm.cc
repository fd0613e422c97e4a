#include "common/tokenizer/spm.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/tokenizer/unicode.h"

namespace lorikeet {
namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // U+2581

// Replaces every `from` by `to`.
std::string Replace(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  for (size_t start = 0;;) {
    const size_t found = text.find(from, start);
    out.append(text.substr(start, found - start));
    if (found == std::string_view::npos) return out;
    out.append(to);
    start = found + from.size();
  }
}

// Where the first U+2581 stands that follows another character, or the end.
size_t WordEnd(std::string_view text) {
  size_t position = 0;
  while (text.substr(position).starts_with(kSpace)) position += kSpace.size();
  return std::min(text.find(kSpace, position), text.size());
}

constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

}  // namespace

absl::StatusOr<std::unique_ptr<const Tokenizer>> SpmTokenizer::Create(
    std::shared_ptr<const GgufFile> file) {
  VocabularyDefaults defaults;
  defaults.add_bos = true;
  defaults.sentencepiece_ids = true;
  ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::Load(std::move(file), defaults));
  std::unique_ptr<SpmTokenizer> tokenizer(new SpmTokenizer(std::move(vocabulary)));
  RETURN_IF_ERROR(tokenizer->LoadScores());
  return tokenizer;
}

absl::Status SpmTokenizer::LoadScores() {
  const GgufFile& file = *vocabulary().file;
  ASSIGN_OR_RETURN(const GgufArray* scores, file.GetArray("tokenizer.ggml.scores"));
  if (scores->floats.size() != vocabulary().texts.size()) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml.scores: expected ",
                                                   vocabulary().texts.size(), " floats, found ",
                                                   scores->floats.size()));
  }
  scores_ = scores->floats;
  for (double& score : scores_) {
    // A NaN would break the order of merges.
    if (score != score) return absl::InvalidArgumentError("tokenizer.ggml.scores holds NaN");
  }
  words_apart_ = std::none_of(vocabulary().texts.begin(), vocabulary().texts.end(),
                              [](std::string_view text) { return WordEnd(text) < text.size(); });
  ASSIGN_OR_RETURN(space_prefix_, file.GetBool("tokenizer.ggml.add_space_prefix", true));
  for (int b = 0; b < 256; ++b) {
    byte_tokens_[b] = vocabulary().Find(absl::StrFormat("<0x%02X>", b));
    const char byte = static_cast<char>(b);
    if (!byte_tokens_[b]) byte_tokens_[b] = vocabulary().Find(std::string_view(&byte, 1));
  }
  return absl::OkStatus();
}

// The text as a list of neighbouring symbols, and the merges that are possible.
struct SpmTokenizer::Symbols {
  struct Symbol {
    uint32_t begin, size;  // in bytes; size 0: merged into the one before
    uint32_t before, after;
  };
  struct Candidate {
    double score;
    uint32_t left, right, size;  // the size of both tells a stale candidate
    bool operator<(const Candidate& other) const {
      return score != other.score ? score < other.score : left > other.left;  // best on top
    }
  };

  explicit Symbols(const SpmTokenizer& spm) : tokenizer(spm) {}

  void Reset(std::string_view whole) {
    text = whole;
    symbols.clear();
    for (size_t i = 0; i < text.size();) {
      const uint8_t size = CharAt(text, i).size;
      const auto index = static_cast<uint32_t>(symbols.size());
      symbols.push_back({static_cast<uint32_t>(i), size, index == 0 ? kNone : index - 1,
                         i + size == text.size() ? kNone : index + 1});
      i += size;
    }
  }

  void Offer(uint32_t left, uint32_t right) {
    if (left == kNone || right == kNone) return;
    const uint32_t size = symbols[left].size + symbols[right].size;
    const auto id = tokenizer.vocabulary().Find(text.substr(symbols[left].begin, size));
    if (id) queue.push({tokenizer.scores_[*id], left, right, size});
  }

  void Merge() {
    for (uint32_t i = 0; i + 1 < symbols.size(); ++i) Offer(i, i + 1);
    while (!queue.empty()) {
      const Candidate top = queue.top();
      queue.pop();
      Symbol& left = symbols[top.left];
      Symbol& right = symbols[top.right];
      if (left.size == 0 || right.size == 0 || left.size + right.size != top.size) continue;
      left.size += right.size;
      right.size = 0;
      left.after = right.after;
      if (left.after != kNone) symbols[left.after].before = top.left;
      Offer(left.before, top.left);
      Offer(top.left, left.after);
    }
  }

  const SpmTokenizer& tokenizer;
  std::string_view text;
  std::vector<Symbol> symbols;
  std::priority_queue<Candidate> queue;
};

void SpmTokenizer::EncodePlain(std::string_view text, bool first, std::vector<TokenId>& out) const {
  std::string escaped(first && space_prefix_ ? kSpace : std::string_view());
  escaped += Replace(text, " ", kSpace);
  // Offsets are 32 bit.  Words that long are cut; a merge across the cut is lost.
  constexpr size_t kMostBytes = size_t{1} << 30;
  Symbols symbols(*this);
  for (std::string_view rest = escaped; !rest.empty();) {
    const size_t size = std::min(words_apart_ ? WordEnd(rest) : rest.size(), kMostBytes);
    symbols.Reset(rest.substr(0, size));
    symbols.Merge();
    EmitTokens(symbols, out);
    rest.remove_prefix(size);
  }
}

void SpmTokenizer::EmitTokens(const Symbols& symbols, std::vector<TokenId>& out) const {
  for (const Symbols::Symbol& symbol : symbols.symbols) {
    if (symbol.size == 0) continue;
    const std::string_view piece = symbols.text.substr(symbol.begin, symbol.size);
    if (const std::optional<TokenId> id = vocabulary().Find(piece)) {
      out.push_back(*id);
      continue;
    }
    for (const char c : piece) {
      const std::optional<TokenId>& byte = byte_tokens_[static_cast<uint8_t>(c)];
      if (byte || vocabulary().unknown) out.push_back(byte ? *byte : *vocabulary().unknown);
    }
  }
}

std::string SpmTokenizer::Piece(TokenId id) const {
  if (!vocabulary().Contains(id)) return std::string();
  const std::string_view text = vocabulary().texts[id];
  if (vocabulary().types[id] == TokenType::kByte) {
    unsigned value = 0;
    constexpr std::string_view kHex = "0123456789ABCDEF";
    if (text.size() == 6 && text.starts_with("<0x") && text[5] == '>') {
      value = static_cast<unsigned>((kHex.find(text[3]) << 4) | kHex.find(text[4]));
      if (value < 256) return std::string(1, static_cast<char>(value));
    }
    return std::string(text);
  }
  return IsWhole(id) ? std::string(text) : Replace(text, kSpace, " ");
}

absl::StatusOr<std::string> SpmTokenizer::Decode(std::span<const TokenId> ids) const {
  std::string out;
  bool first = space_prefix_;
  for (const TokenId id : ids) {
    RETURN_IF_ERROR(CheckId(id));
    std::string piece = Piece(id);
    const bool whole = IsWhole(id);
    if (first && !whole && piece.starts_with(' ')) piece.erase(0, 1);
    first = whole && space_prefix_;
    out += piece;
  }
  return out;
}

}  // namespace lorikeet
