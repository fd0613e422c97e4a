// Tests: {{ value is name }}.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/template/evaluator.h"

namespace lorikeet::jinja {
namespace {

using KindTest = bool (*)(const Value&);

struct Named {
  std::string_view name;
  KindTest test;
};

// Tests of the value alone.
constexpr Named kKindTests[] = {
    {"defined", [](const Value& v) { return !v.is(Kind::kUndefined); }},
    {"undefined", [](const Value& v) { return v.is(Kind::kUndefined); }},
    {"none", [](const Value& v) { return v.is(Kind::kNone); }},
    {"string", [](const Value& v) { return v.is(Kind::kString); }},
    {"mapping", [](const Value& v) { return v.is(Kind::kDict); }},
    {"boolean", [](const Value& v) { return v.is(Kind::kBool); }},
    {"integer", [](const Value& v) { return v.is(Kind::kInt); }},
    {"float", [](const Value& v) { return v.is(Kind::kFloat); }},
    {"number", [](const Value& v) { return v.is_number(); }},
    {"true", [](const Value& v) { return v.is(Kind::kBool) && v.boolean; }},
    {"false", [](const Value& v) { return v.is(Kind::kBool) && !v.boolean; }},
    {"callable", [](const Value& v) { return v.is(Kind::kMacro) || v.is(Kind::kFunction); }},
    {"iterable",
     [](const Value& v) {
       return v.is(Kind::kString) || v.is(Kind::kList) || v.is(Kind::kDict) ||
              v.is(Kind::kUndefined) || v.is(Kind::kLoop);
     }},
    {"sequence",
     [](const Value& v) {
       return v.is(Kind::kString) || v.is(Kind::kList) || v.is(Kind::kDict) ||
              v.is(Kind::kUndefined);
     }},
};

// Tests that are comparisons, and their operators.
constexpr std::pair<std::string_view, std::string_view> kComparisons[] = {
    {"equalto", "=="}, {"eq", "=="}, {"ne", "!="},         {"lt", "<"},       {"le", "<="},
    {"gt", ">"},       {"ge", ">="}, {"greaterthan", ">"}, {"lessthan", "<"}, {"in", "in"}};

absl::StatusOr<bool> Divides(const Value& value, int64_t divisor) {
  if (!value.is(Kind::kInt) || divisor == 0) {
    return absl::InvalidArgumentError("expected integers and a divisor that is not 0");
  }
  return divisor == -1 || value.integer % divisor == 0;
}

bool Same(const Value& a, const Value& b) {
  if (a.is(Kind::kDict)) return b.is(Kind::kDict) && a.dict == b.dict;
  if (a.is(Kind::kList)) return b.is(Kind::kList) && a.list == b.list;
  return a.kind == b.kind && Equal(a, b);
}

}  // namespace

absl::StatusOr<bool> Evaluator::Test(std::string_view name, const Value& value,
                                     CallArguments& arguments) {
  for (const Named& test : kKindTests) {
    if (test.name != name) continue;
    RETURN_IF_ERROR(arguments.Finish());
    return test.test(value);
  }
  if (name == "lower" || name == "upper") {
    RETURN_IF_ERROR(arguments.Finish());
    ASSIGN_OR_RETURN(const Value text, ToText(value));
    const auto wanted = name == "lower" ? LetterCase::kLower : LetterCase::kUpper;
    const auto other = name == "lower" ? LetterCase::kUpper : LetterCase::kLower;
    RETURN_IF_ERROR(heap_.Charge(static_cast<int64_t>(text.text->size())));
    return ChangeCase(*text.text, wanted).bytes() == text.str() &&
           ChangeCase(*text.text, other).bytes() != text.str();
  }
  if (name == "odd" || name == "even") {
    RETURN_IF_ERROR(arguments.Finish());
    ASSIGN_OR_RETURN(const bool even, Divides(value, 2));
    return even == (name == "even");
  }
  // "==" and "<" are names of tests too, for selectattr.
  std::string_view op;
  for (const auto& [test, test_operator] : kComparisons) {
    if (name == test || (name == test_operator && name != "in")) op = test_operator;
  }
  const bool known = !op.empty() || name == "sameas" || name == "divisibleby";
  const std::optional<Value> other = arguments.Take("other");
  if (!known || !other.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(known ? "expected an argument of the test \"" : "expected a test, got \"",
                     ToAbsl(name), "\""));
  }
  RETURN_IF_ERROR(arguments.Finish());
  if (name == "sameas") return Same(value, *other);
  if (name == "divisibleby") return Divides(value, other->is(Kind::kInt) ? other->integer : 0);
  return CompareOperation(heap_, op, value, *other);
}

}  // namespace lorikeet::jinja
