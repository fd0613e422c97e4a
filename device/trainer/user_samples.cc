#include "device/trainer/user_samples.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

absl::Status LineError(size_t line, std::string_view expected, std::string_view got) {
  return absl::InvalidArgumentError(
      absl::StrCat("line ", line, ": expected ", ToAbsl(expected), ", got ", ToAbsl(got)));
}

// The string under `key`, nothing if there is no such key.
absl::StatusOr<std::optional<std::string>> StringField(const nlohmann::json& object,
                                                       const char* key, size_t line) {
  const auto found = object.find(key);
  if (found == object.end()) return std::optional<std::string>();
  if (!found->is_string()) {
    return LineError(line, absl::StrCat("a string under \"", key, "\""), found->type_name());
  }
  return std::optional<std::string>(found->get<std::string>());
}

absl::StatusOr<std::vector<ChatMessage>> ParseMessages(const nlohmann::json& messages,
                                                       size_t line) {
  std::vector<ChatMessage> parsed;
  if (!messages.is_array()) {
    return LineError(line, "an array under \"messages\"", messages.type_name());
  }
  for (const nlohmann::json& message : messages) {
    if (!message.is_object()) {
      return LineError(line, "messages that are objects", message.type_name());
    }
    ASSIGN_OR_RETURN(auto role, StringField(message, "role", line));
    ASSIGN_OR_RETURN(auto content, StringField(message, "content", line));
    if (!role.has_value() || !content.has_value()) {
      return LineError(line, "\"role\" and \"content\" in a message", "one without");
    }
    parsed.push_back({std::move(*role), std::move(*content)});
  }
  return parsed;
}

absl::StatusOr<Sample> ParseSample(std::string_view text, size_t line) {
  const auto object = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
  if (!object.is_object()) {
    return LineError(line, "a JSON object",
                     object.is_discarded() ? "malformed JSON" : object.type_name());
  }
  Sample sample{.user = {}, .split = "train", .document = {}, .line = line};
  ASSIGN_OR_RETURN(sample.user, StringField(object, "user", line));
  ASSIGN_OR_RETURN(auto split, StringField(object, "split", line));
  if (split.has_value()) sample.split = std::move(*split);
  if (const auto messages = object.find("messages"); messages != object.end()) {
    ASSIGN_OR_RETURN(sample.document.messages, ParseMessages(*messages, line));
    return sample;
  }
  ASSIGN_OR_RETURN(auto own, StringField(object, "text", line));
  if (!own.has_value()) return LineError(line, "\"text\" or \"messages\"", "neither");
  sample.document.text = std::move(*own);
  return sample;
}

absl::StatusOr<std::vector<Sample>> ParseSamples(std::string_view content) {
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (content.starts_with(kByteOrderMark)) content.remove_prefix(kByteOrderMark.size());
  std::vector<Sample> samples;
  for (size_t line = 1; !content.empty(); ++line) {
    const size_t end = std::min(content.find('\n'), content.size());
    const std::string_view text = content.substr(0, end);
    content.remove_prefix(std::min(end + 1, content.size()));
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    ASSIGN_OR_RETURN(Sample sample, ParseSample(text, line));
    if (sample.document.text.empty() && sample.document.messages.empty()) continue;
    samples.push_back(std::move(sample));
  }
  return samples;
}

absl::StatusOr<std::vector<UserSamples>> GroupByUser(std::vector<Sample> samples) {
  std::vector<UserSamples> users;
  std::map<std::string, size_t> index;
  for (Sample& sample : samples) {
    if (!sample.user.has_value()) return LineError(sample.line, "a \"user\"", "none");
    if (!sample.document.messages.empty()) {
      return LineError(sample.line, "a \"text\"", "\"messages\"");
    }
    const auto [it, is_new] = index.emplace(*sample.user, users.size());
    if (is_new) {
      users.push_back({.user = *sample.user, .train = {}, .test = {}, .other_work = {}});
    }
    UserSamples& user = users[it->second];
    if (sample.split == "train") {
      user.train.push_back(std::move(sample.document.text));
    } else if (sample.split == "test") {
      user.test.push_back(std::move(sample.document.text));
    } else if (sample.split == "test_other_work") {
      user.other_work.push_back(std::move(sample.document.text));
    } else {
      return LineError(sample.line, "split train, test or test_other_work",
                       absl::StrCat("\"", sample.split, "\""));
    }
  }
  if (users.empty()) return absl::InvalidArgumentError("expected lines of users, got none");
  return users;
}

}  // namespace

absl::StatusOr<std::vector<Sample>> ReadSamples(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string content, ReadFile(path));
  RETURN_IF_ERROR(CheckText(content, path));
  auto samples = ParseSamples(content);
  if (!samples.ok()) return Annotate(samples.status(), path);
  return samples;
}

absl::StatusOr<std::vector<UserSamples>> ReadUserSamples(const std::string& path) {
  ASSIGN_OR_RETURN(std::vector<Sample> samples, ReadSamples(path));
  auto users = GroupByUser(std::move(samples));
  if (!users.ok()) return Annotate(users.status(), path);
  return users;
}

}  // namespace lorikeet
