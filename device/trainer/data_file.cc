// Reading of data files: ReadDocuments and CheckText.
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/trainer/data.h"

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

absl::Status LineError(size_t line_number, std::string_view expected, std::string_view got) {
  return absl::InvalidArgumentError(
      absl::StrCat("line ", line_number, ": expected ", ToAbsl(expected), ", got ", ToAbsl(got)));
}

// The string under `key`, nothing if there is no such key.
absl::StatusOr<std::optional<std::string>> StringField(const nlohmann::json& object,
                                                       const char* key, size_t line_number) {
  const auto found = object.find(key);
  if (found == object.end()) return std::optional<std::string>();
  if (!found->is_string()) {
    return LineError(line_number, absl::StrCat("a string under \"", key, "\""), found->type_name());
  }
  return std::optional<std::string>(found->get<std::string>());
}

absl::StatusOr<Document> ParseMessages(const nlohmann::json& messages, size_t line_number) {
  Document document;
  if (!messages.is_array()) {
    return LineError(line_number, "an array under \"messages\"", messages.type_name());
  }
  for (const nlohmann::json& message : messages) {
    if (!message.is_object()) {
      return LineError(line_number, "messages that are objects", message.type_name());
    }
    ASSIGN_OR_RETURN(auto role, StringField(message, "role", line_number));
    ASSIGN_OR_RETURN(auto content, StringField(message, "content", line_number));
    if (!role.has_value() || !content.has_value()) {
      return LineError(line_number, "\"role\" and \"content\" in a message", "one without");
    }
    document.messages.push_back({std::move(*role), std::move(*content)});
  }
  return document;
}

// Collects the lines of one .jsonl file.
struct Collector {
  std::string_view user;
  DocumentSet set;
  std::set<std::string> users_seen;

  absl::Status AddLine(std::string_view line, size_t line_number) {
    const auto object = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
    if (!object.is_object()) {
      return LineError(line_number, "a JSON object",
                       object.is_discarded() ? "malformed JSON" : object.type_name());
    }
    ASSIGN_OR_RETURN(const auto owner, StringField(object, "user", line_number));
    if (owner.has_value()) users_seen.insert(*owner);
    if (!user.empty() && owner != std::optional<std::string>(user)) return absl::OkStatus();
    ASSIGN_OR_RETURN(const auto split, StringField(object, "split", line_number));
    Document document;
    if (const auto messages = object.find("messages"); messages != object.end()) {
      ASSIGN_OR_RETURN(document, ParseMessages(*messages, line_number));
    } else {
      ASSIGN_OR_RETURN(auto text, StringField(object, "text", line_number));
      if (!text.has_value()) {
        return LineError(line_number, "\"text\" or \"messages\"", "neither");
      }
      document.text = std::move(*text);
    }
    if (document.text.empty() && document.messages.empty()) return absl::OkStatus();
    if (split == std::optional<std::string>("test")) {
      set.test.push_back(std::move(document));
    } else if (!split.has_value() || *split == "train") {
      set.train.push_back(std::move(document));
    }
    return absl::OkStatus();
  }
};

absl::StatusOr<DocumentSet> ParseJsonLines(std::string_view content, std::string_view user) {
  Collector collector{user, {}, {}};
  size_t line_number = 0;
  while (!content.empty()) {
    ++line_number;
    const size_t end = std::min(content.find('\n'), content.size());
    const std::string_view line = content.substr(0, end);
    content.remove_prefix(std::min(end + 1, content.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    RETURN_IF_ERROR(collector.AddLine(line, line_number));
  }
  const bool found = !collector.set.train.empty() || !collector.set.test.empty();
  if (!user.empty() && !found) {
    return absl::NotFoundError(absl::StrCat("expected lines of user \"", ToAbsl(user),
                                            "\", got lines of ", collector.users_seen.size(),
                                            " other users"));
  }
  if (collector.set.train.empty()) {
    return absl::InvalidArgumentError("expected text to train on, got none");
  }
  return std::move(collector.set);
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
  ASSIGN_OR_RETURN(std::string content, ReadFile(path));
  RETURN_IF_ERROR(CheckText(content, path));
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (content.starts_with(kByteOrderMark)) content.erase(0, kByteOrderMark.size());
  if (lines) {
    absl::StatusOr<DocumentSet> set = ParseJsonLines(content, user);
    if (!set.ok()) return Annotate(set.status(), path);
    return set;
  }
  if (content.empty()) return CheckText(content, path);
  DocumentSet set;
  set.train.push_back({std::move(content), {}});
  return set;
}

}  // namespace lorikeet
