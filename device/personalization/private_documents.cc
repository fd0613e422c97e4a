#include "device/personalization/private_documents.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "device/personalization/text_check.h"

namespace lorikeet {
namespace {

constexpr size_t kMaxPieceBytes = 2000;
constexpr size_t kFewPieces = 10;  // fewer documents than this are cut finer
constexpr size_t kMinPieceBytes = 60;

const TextAccess& Access() {
  static const TextAccess access("personalization: count style, make training examples");
  return access;
}

std::vector<std::string_view> Views(std::span<const PrivateText> documents) {
  std::vector<std::string_view> views;
  for (const PrivateText& document : documents) views.push_back(document.Open(Access()));
  return views;
}

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

size_t CutPoint(std::string_view text, size_t max_bytes) {
  const std::string_view head = text.substr(0, max_bytes);
  const size_t least = max_bytes / 2;
  if (const size_t line = head.rfind('\n'); line != std::string_view::npos && line >= least)
    return line + 1;
  for (size_t i = head.size() - 1; i > least; --i) {
    if (head[i] == ' ' && (head[i - 1] == '.' || head[i - 1] == '!' || head[i - 1] == '?'))
      return i + 1;
  }
  if (const size_t space = head.rfind(' '); space != std::string_view::npos && space >= least)
    return space + 1;
  size_t cut = max_bytes;
  while (cut > 1 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  return cut;
}

std::vector<std::string_view> Pieces(std::span<const PrivateText> documents, Repeats* left_out) {
  std::vector<std::string_view> views;
  for (const PrivateText& document : documents) {
    if (!IsBlank(document.Open(Access()))) views.push_back(document.Open(Access()));
  }
  views = CollapseRepeats(views, left_out);
  const size_t count = views.size();
  size_t bytes = 0;
  for (std::string_view view : views) bytes += view.size();
  const size_t limit = count >= kFewPieces
                           ? kMaxPieceBytes
                           : std::clamp(bytes / kFewPieces, kMinPieceBytes, kMaxPieceBytes);
  std::vector<std::string_view> pieces;
  for (std::string_view view : views) {
    for (std::string_view piece : CutText(view, limit)) pieces.push_back(piece);
  }
  return pieces;
}

// `before` stands before each window; it carries no loss.
std::vector<Sequence> Tokenize(const Model& model, std::span<const std::string_view> pieces,
                               int window_tokens, std::optional<TokenId> before) {
  const Tokenizer& tokenizer = model.tokenizer();
  const auto window =
      static_cast<size_t>(std::max(2, std::min(window_tokens, model.config().context_length)));
  std::vector<Sequence> sequences;
  for (std::string_view piece : pieces) {
    const std::vector<TokenId> ids = tokenizer.Encode(piece);
    for (size_t begin = 0; begin < ids.size();) {
      Sequence sequence;
      sequence.tokens.reserve(window);
      if (before) sequence.tokens.push_back(*before);
      const size_t take = std::min(window - sequence.tokens.size(), ids.size() - begin);
      sequence.tokens.insert(sequence.tokens.end(),
                             ids.begin() + static_cast<std::ptrdiff_t>(begin),
                             ids.begin() + static_cast<std::ptrdiff_t>(begin + take));
      begin += take;
      if (sequence.tokens.size() >= 2) sequences.push_back(std::move(sequence));
    }
  }
  return sequences;
}

std::vector<Sequence> Tokenize(const Model& model, std::span<const std::string_view> pieces,
                               int window_tokens) {
  return Tokenize(model, pieces, window_tokens, model.tokenizer().bos());
}

std::vector<std::string_view> Passages(std::span<const std::string_view> pieces) {
  std::vector<std::string_view> passages;
  for (std::string_view piece : pieces) {
    for (std::string_view passage : CutText(piece, kPassageBytes)) passages.push_back(passage);
  }
  return passages;
}

// First index such that the pieces from it on hold at least `share` of the bytes and are not all.
size_t TailBegin(std::span<const std::string_view> pieces, double share) {
  size_t total = 0, tail = 0;
  for (std::string_view piece : pieces) total += piece.size();
  size_t begin = pieces.size();
  while (begin > 1 && static_cast<double>(tail) < share * static_cast<double>(total)) {
    tail += pieces[--begin].size();
  }
  return begin;
}

}  // namespace

std::vector<std::string_view> CutText(std::string_view text, size_t max_bytes) {
  std::vector<std::string_view> pieces;
  while (!text.empty()) {
    const size_t cut = text.size() <= max_bytes ? text.size() : CutPoint(text, max_bytes);
    if (!IsBlank(text.substr(0, cut))) pieces.push_back(text.substr(0, cut));
    text.remove_prefix(cut);
  }
  return pieces;
}

int64_t PredictedTokens(std::span<const Sequence> sequences) {
  int64_t count = 0;
  for (const Sequence& sequence : sequences) {
    count += std::max<int64_t>(0, static_cast<int64_t>(sequence.tokens.size()) - 1);
  }
  return count;
}

std::vector<Sequence> TokenizeDocuments(const Model& model, std::span<const PrivateText> documents,
                                        int window_tokens) {
  return Tokenize(model, Views(documents), window_tokens);
}

StyleStatistics CountStyle(std::span<const PrivateText> documents) {
  const std::vector<std::string_view> views = Views(documents);
  return CountStyle(std::span<const std::string_view>(views));
}

OwnerText SetJudgeApart(const OwnerText& text, const SplitOptions& options) {
  if (!text.judge.empty()) return text;
  Repeats left_out;
  const std::vector<std::string_view> pieces = Pieces(text.documents, &left_out);
  const std::span<const std::string_view> all(pieces);
  const size_t judge_begin = TailBegin(all, options.judge_share);
  OwnerText apart;
  apart.record_ids = text.record_ids;
  for (std::string_view piece : all.first(judge_begin)) {
    apart.documents.emplace_back(std::string(piece));
  }
  for (std::string_view passage : Passages(all.subspan(judge_begin))) {
    apart.judge.emplace_back(std::string(passage));
  }
  return apart;
}

std::vector<Sequence> TokenizeWhole(const Model& model, const PrivateText& document,
                                    int window_tokens) {
  const Tokenizer& tokenizer = model.tokenizer();
  std::optional<TokenId> before = tokenizer.bos();
  if (!before) before = tokenizer.Encode("\n").back();
  const std::string_view view = document.Open(Access());
  return Tokenize(model, {&view, 1}, window_tokens, before);
}

absl::StatusOr<TextSplit> SplitText(const Model& model, const OwnerText& text,
                                    const SplitOptions& options) {
  TextSplit split;
  Repeats left_out;
  const std::vector<std::string_view> pieces = Pieces(text.documents, &left_out);
  RETURN_IF_ERROR(CheckWritten(pieces));
  split.notice = RepeatsNotice(left_out);
  const std::span<const std::string_view> all(pieces);
  const bool judge_given = !text.judge.empty();
  const size_t judge_begin = judge_given ? all.size() : TailBegin(all, options.judge_share);
  const auto rest = all.subspan(0, judge_begin);
  const size_t selection_begin =
      TailBegin(rest, options.selection_share / (judge_given ? 1.0 : 1.0 - options.judge_share));

  split.train = Tokenize(model, rest.subspan(0, selection_begin), options.window_tokens);
  split.selection = Tokenize(model, Passages(rest.subspan(selection_begin)), options.window_tokens);
  const std::vector<std::string_view> judge =
      judge_given ? Views(text.judge)
                  : std::vector<std::string_view>(
                        pieces.begin() + static_cast<std::ptrdiff_t>(judge_begin), pieces.end());
  split.judge = Tokenize(model, Passages(judge), options.window_tokens);
  const int64_t tokens = PredictedTokens(split.train) + PredictedTokens(split.selection) +
                         PredictedTokens(split.judge);
  if (tokens < options.min_tokens || split.train.empty() || split.selection.empty() ||
      split.judge.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("too little text to personalize: expected at least ", options.min_tokens,
                     " tokens in three pieces or more, found ", tokens, " in ", pieces.size(),
                     split.notice.empty() ? "" : absl::StrCat(" (", split.notice, ")")));
  }
  split.style = CountStyle(rest);
  const size_t sketches = std::min(kMostSketches, rest.size());
  for (size_t i = 0; i < sketches; ++i) {
    split.sketches.push_back(SketchDocument(rest[i * rest.size() / sketches]));
  }
  return split;
}

}  // namespace lorikeet
