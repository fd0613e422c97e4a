#include "device/personalization/text_check.h"

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <unordered_set>

#include "absl/strings/str_format.h"

namespace lorikeet {
namespace {

constexpr size_t kShortBytes = 32;
constexpr int kShortCopies = 8;
constexpr double kMostlyCopies = 0.5;
constexpr size_t kStretchBytes = 16;
constexpr size_t kLeastBytes = 1024;
constexpr size_t kLookedAtBytes = 256 * 1024;
constexpr double kLeastDistinct = 0.05;
constexpr double kMostControl = 0.05;

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) + 1 - begin);
}

// Counts how often a text was seen and says whether one more of it may stay.
class Seen {
 public:
  bool Keep(std::string_view text) {
    const std::string_view key = Trimmed(text);
    if (key.empty()) return true;
    return ++counts_[key] <= (key.size() < kShortBytes ? kShortCopies : 1);
  }

 private:
  std::unordered_map<std::string_view, int> counts_;
};

// Cuts the first line, with its line end, off `text`.
std::string_view TakeLine(std::string_view* text) {
  const size_t end = text->find('\n');
  const std::string_view line =
      text->substr(0, end == std::string_view::npos ? text->size() : end + 1);
  text->remove_prefix(line.size());
  return line;
}

std::vector<std::string_view> DistinctDocuments(std::span<const std::string_view> documents,
                                                Repeats* left_out) {
  std::vector<std::string_view> kept;
  Seen seen;
  for (std::string_view document : documents) {
    if (seen.Keep(document)) {
      kept.push_back(document);
    } else {
      ++left_out->count;
      left_out->bytes += static_cast<int64_t>(document.size());
    }
  }
  return kept;
}

// The runs of lines that stay.
std::vector<std::string_view> DistinctLines(std::span<const std::string_view> documents,
                                            Repeats* left_out) {
  std::vector<std::string_view> kept;
  Seen seen;
  for (std::string_view document : documents) {
    std::string_view run = document.substr(0, 0);
    for (std::string_view rest = document; !rest.empty();) {
      const std::string_view line = TakeLine(&rest);
      if (seen.Keep(line)) {
        run = {run.data(), run.size() + line.size()};
        continue;
      }
      ++left_out->count;
      left_out->bytes += static_cast<int64_t>(line.size());
      if (!run.empty()) kept.push_back(run);
      run = rest.substr(0, 0);
    }
    if (!run.empty()) kept.push_back(run);
  }
  return kept;
}

}  // namespace

std::vector<std::string_view> CollapseRepeats(std::span<const std::string_view> documents,
                                              Repeats* left_out) {
  const std::vector<std::string_view> distinct = DistinctDocuments(documents, left_out);
  size_t bytes = 0;
  for (std::string_view document : distinct) bytes += document.size();
  Repeats lines;
  std::vector<std::string_view> runs = DistinctLines(distinct, &lines);
  if (static_cast<double>(lines.bytes) <= kMostlyCopies * static_cast<double>(bytes)) {
    return distinct;
  }
  left_out->count += lines.count;
  left_out->bytes += lines.bytes;
  return runs;
}

std::string RepeatsNotice(const Repeats& left_out) {
  if (left_out.count == 0) return "";
  return absl::StrFormat("left out %d copies of lines or documents (%.1f kB)", left_out.count,
                         static_cast<double>(left_out.bytes) / 1e3);
}

absl::Status CheckWritten(std::span<const std::string_view> pieces) {
  size_t bytes = 0, control = 0, stretches = 0;
  std::unordered_set<size_t> distinct;  // hashes: a collision in millions does not matter here
  const std::hash<std::string_view> hash;
  for (std::string_view piece : pieces) {
    if (bytes >= kLookedAtBytes) break;
    piece = piece.substr(0, kLookedAtBytes - bytes);
    bytes += piece.size();
    control += static_cast<size_t>(std::ranges::count_if(piece, [](unsigned char c) {
      return (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f;
    }));
    for (size_t i = 0; i + kStretchBytes <= piece.size(); ++i, ++stretches) {
      distinct.insert(hash(piece.substr(i, kStretchBytes)));
    }
  }
  if (static_cast<double>(control) > kMostControl * static_cast<double>(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("expected text somebody wrote, found binary data: %.0f%% of it are control "
                        "characters",
                        100.0 * static_cast<double>(control) / static_cast<double>(bytes)));
  }
  if (bytes >= kLeastBytes &&
      static_cast<double>(distinct.size()) < kLeastDistinct * static_cast<double>(stretches)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "expected text somebody wrote, found one that only repeats itself: of %d stretches of %d "
        "characters %d differ",
        stretches, kStretchBytes, distinct.size()));
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
