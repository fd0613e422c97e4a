#include "device/template/template.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "device/template/evaluator.h"
#include "device/template/lexer.h"
#include "device/template/parser.h"

namespace lorikeet::jinja {
namespace {

constexpr size_t kMaxSource = 1 << 20;

}  // namespace

absl::StatusOr<Template> Template::Parse(std::string_view source) {
  if (source.size() > kMaxSource) {
    return absl::ResourceExhaustedError(
        absl::StrCat("expected a template of at most ", kMaxSource, " bytes, got ", source.size()));
  }
  ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  Parser parser(std::move(tokens));
  Template parsed;
  ASSIGN_OR_RETURN(parsed.body_, parser.ParseTemplate());
  parsed.has_generation_ = parser.has_generation();
  return parsed;
}

absl::StatusOr<Text> Template::Render(
    Heap& heap, const std::vector<std::pair<std::string_view, Value>>& variables,
    std::optional<absl::CivilSecond> now) const {
  Frame* const globals = heap.MakeFrame(nullptr);
  for (const auto& [name, value] : variables) globals->Set(name, value);
  return Evaluator(heap, globals, now).Render(body_);
}

}  // namespace lorikeet::jinja
