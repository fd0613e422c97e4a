#include "device/personalization/axes_definition.h"

#include <toml++/toml.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/adapter/explanation.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/personalization/axes_text.h"

namespace lorikeet {
namespace {

constexpr size_t kMaxAxes = kMaxExplanationWords / 2;
constexpr size_t kMinPrompts = 2, kMaxPrompts = 128, kMaxPromptBytes = 500;
constexpr size_t kMaxFileBytes = size_t{1} << 20;

class Parser {
 public:
  explicit Parser(std::string_view name) : name_(name) {}

  absl::StatusOr<AxesDefinition> Parse(const toml::table& table) {
    for (const auto& [key, value] : table) {
      if (key.str() != "version" && key.str() != "axis") {
        return Bad(value, key.str(), "expected \"version\" or [[axis]], got another key");
      }
    }
    const toml::node* version = table.get("version");
    if (version == nullptr) return Bad(table, "version", "expected version = 1, got none");
    if (version->value<int64_t>() != 1) return Bad(*version, "version", "expected 1");
    const toml::node* axes = table.get("axis");
    if (axes == nullptr || !axes->is_array_of_tables()) {
      return Bad(axes == nullptr ? table : *axes, "axis", "expected at least one table [[axis]]");
    }
    if (axes->as_array()->size() > kMaxAxes) {
      return Bad(*axes, "axis",
                 absl::StrCat("expected at most ", kMaxAxes, ", got ", axes->as_array()->size()));
    }
    AxesDefinition definition;
    for (const toml::node& node : *axes->as_array()) {
      AxisDefinition axis;
      RETURN_IF_ERROR(ReadAxis(*node.as_table(), &axis));
      definition.axes.push_back(std::move(axis));
    }
    return definition;
  }

 private:
  absl::Status Bad(const toml::node& at, std::string_view key, std::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(ToAbsl(name_), ": line ", at.source().begin.line,
                                                   ": ", ToAbsl(key), ": ", ToAbsl(what)));
  }

  absl::Status ReadAxis(const toml::table& table, AxisDefinition* axis) {
    for (const auto& [key, value] : table) {
      const std::string_view k = key.str();
      if (k == "word") {
        RETURN_IF_ERROR(ReadWord(value, k, &axis->word));
      } else if (k == "opposite") {
        RETURN_IF_ERROR(ReadWord(value, k, &axis->opposite));
      } else if (k == "positive") {
        RETURN_IF_ERROR(ReadPrompts(value, k, &axis->positive));
      } else if (k == "contrast") {
        RETURN_IF_ERROR(ReadPrompts(value, k, &axis->contrast));
      } else {
        return Bad(value, k, "expected word, opposite, positive or contrast, got another key");
      }
    }
    if (axis->word.empty()) return Bad(table, "word", "expected an adjective, got none");
    if (axis->positive.empty()) return Bad(table, "positive", "expected prompts, got none");
    if (axis->contrast.empty()) return Bad(table, "contrast", "expected prompts, got none");
    return absl::OkStatus();
  }

  absl::Status ReadWord(const toml::node& node, std::string_view key, std::string* word) {
    const auto text = node.value<std::string>();
    if (!text || !IsExplanationWord(*text)) {
      return Bad(node, key,
                 absl::StrCat("expected a word of 1 to ", kMaxExplanationWordBytes,
                              " letters a-z, \"-\" between them allowed, in quotes"));
    }
    if (!words_.insert(*text).second) {
      return Bad(node, key, absl::StrCat("expected each word once, got \"", *text, "\" again"));
    }
    *word = *text;
    return absl::OkStatus();
  }

  absl::Status ReadPrompts(const toml::node& node, std::string_view key,
                           std::vector<std::string>* prompts) {
    const toml::array* array = node.as_array();
    if (array == nullptr) return Bad(node, key, "expected a list of texts");
    if (array->size() < kMinPrompts || array->size() > kMaxPrompts) {
      return Bad(node, key,
                 absl::StrCat("expected ", kMinPrompts, " to ", kMaxPrompts, " texts, got ",
                              array->size()));
    }
    for (const toml::node& element : *array) {
      const auto text = element.value<std::string>();
      if (!text || text->size() > kMaxPromptBytes ||
          text->find_first_not_of(" \t\r\n") == std::string::npos) {
        return Bad(element, key,
                   absl::StrCat("expected a text of 1 to ", kMaxPromptBytes, " bytes, got ",
                                text ? absl::StrCat(text->size(), " bytes or only spaces")
                                     : std::string("something else")));
      }
      prompts->push_back(*text);
    }
    return absl::OkStatus();
  }

  const std::string_view name_;
  std::set<std::string, std::less<>> words_;
};

}  // namespace

absl::StatusOr<AxesDefinition> ParseAxesDefinition(std::string_view text, std::string_view name) {
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToAbsl(name), ": line ", error.source().begin.line,
                     ": expected TOML: ", ToAbsl(error.description())));
  }
  return Parser(name).Parse(table);
}

absl::StatusOr<AxesDefinition> ReadAxesDefinition(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  return ParseAxesDefinition(text, path);
}

const AxesDefinition& BuiltInAxes() {
  static const AxesDefinition* const axes = [] {
    auto parsed = ParseAxesDefinition(kBuiltInAxesText, "built-in axes");
    LORIKEET_CHECK(parsed.ok());
    return new AxesDefinition(*std::move(parsed));
  }();
  return *axes;
}

}  // namespace lorikeet
