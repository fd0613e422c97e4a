// Reading of data files: ReadDocuments and CheckText.
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/trainer/data.h"
#include "device/trainer/user_samples.h"

namespace lorikeet {
namespace {

// Length of the UTF-8 character at the front of `text` (RFC 3629: no overlong forms, no
// surrogates), or 0.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  size_t length = 0;
  uint8_t least = 0x80, most = 0xbf;  // of the second byte
  if (first >= 0xc2 && first <= 0xdf) {
    length = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    length = 3;
    if (first == 0xe0) least = 0xa0;
    if (first == 0xed) most = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    length = 4;
    if (first == 0xf0) least = 0x90;
    if (first == 0xf4) most = 0x8f;
  }
  if (length == 0 || text.size() < length || byte(1) < least || byte(1) > most) return 0;
  for (size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xbf) return 0;
  }
  return length;
}

// What a file of many people's lines holds of `user` (empty: of all).
absl::StatusOr<DocumentSet> ChooseDocuments(std::vector<Sample> samples, std::string_view user) {
  DocumentSet set;
  std::set<std::string> users_seen;
  for (Sample& sample : samples) {
    if (sample.user.has_value()) users_seen.insert(*sample.user);
    if (!user.empty() && sample.user != std::optional<std::string>(user)) continue;
    if (sample.split == "test") {
      set.test.push_back(std::move(sample.document));
    } else if (sample.split == "train") {
      set.train.push_back(std::move(sample.document));
    }
  }
  const bool found = !set.train.empty() || !set.test.empty();
  if (!user.empty() && !found) {
    return absl::NotFoundError(absl::StrCat("expected lines of user \"", ToAbsl(user),
                                            "\", got lines of ", users_seen.size(),
                                            " other users"));
  }
  if (set.train.empty()) {
    return absl::InvalidArgumentError("expected text to train on, got none");
  }
  return set;
}

}  // namespace

absl::Status CheckText(std::string_view text, std::string_view name) {
  if (text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToAbsl(name), ": expected text, got none (0 bytes)"));
  }
  for (size_t at = 0; at < text.size();) {
    const size_t length = Utf8Length(text.substr(at, 4));
    if (length == 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: expected UTF-8, got byte 0x%02x at position %d", std::string(name),
                          static_cast<uint8_t>(text[at]), at));
    }
    at += length;
  }
  return absl::OkStatus();
}

absl::StatusOr<DocumentSet> ReadDocuments(const std::string& path, std::string_view user) {
  const bool lines = path.ends_with(".jsonl");
  if (!lines && !path.ends_with(".txt")) {
    return absl::InvalidArgumentError(
        absl::StrCat("data file: expected a name ending in .txt or .jsonl, got ", path));
  }
  if (!lines && !user.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a user can be chosen from a samples.jsonl, got ", path));
  }
  if (lines) {
    ASSIGN_OR_RETURN(std::vector<Sample> samples, ReadSamples(path));
    auto set = ChooseDocuments(std::move(samples), user);
    if (!set.ok()) return Annotate(set.status(), path);
    return set;
  }
  ASSIGN_OR_RETURN(std::string content, ReadFile(path));
  RETURN_IF_ERROR(CheckText(content, path));
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (content.starts_with(kByteOrderMark)) content.erase(0, kByteOrderMark.size());
  if (content.empty()) return CheckText(content, path);
  DocumentSet set;
  set.train.push_back({std::move(content), {}});
  return set;
}

}  // namespace lorikeet
