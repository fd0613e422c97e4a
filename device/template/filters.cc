// Filters: {{ value | name(arguments) }}.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/template/evaluator.h"

namespace lorikeet::jinja {
namespace {

using Implementation = absl::StatusOr<Value> (*)(Evaluator&, const Value&, CallArguments&);

absl::StatusOr<Value> Trim(Evaluator& evaluator, const Value& value, CallArguments& arguments) {
  ASSIGN_OR_RETURN(const Value text, evaluator.ToText(value));
  return CallMethod(evaluator.heap(), text, "strip", arguments);
}

template <LetterCase letter_case>
absl::StatusOr<Value> ChangeCaseOf(Evaluator& evaluator, const Value& value, CallArguments&) {
  ASSIGN_OR_RETURN(const Value text, evaluator.ToText(value));
  return evaluator.heap().MakeText(ChangeCase(*text.text, letter_case));
}

absl::StatusOr<Value> ReplaceIn(Evaluator& evaluator, const Value& value,
                                CallArguments& arguments) {
  ASSIGN_OR_RETURN(const Value text, evaluator.ToText(value));
  return CallMethod(evaluator.heap(), text, "replace", arguments);
}

absl::StatusOr<Value> ToJson(Evaluator& evaluator, const Value& value, CallArguments& arguments) {
  JsonStyle style;
  ASSIGN_OR_RETURN(const int64_t indent, arguments.TakeInt("indent", -1));
  style.indent = static_cast<int>(std::clamp<int64_t>(indent, -1, 100));
  if (style.indent >= 0) style.item_separator = ",";
  for (const auto& [name, option] : arguments.TakeNamed()) {
    if (name == "sort_keys") {
      style.sort_keys = IsTrue(option);
    } else if (name == "separators" && option.is(Kind::kList) && option.list->items.size() == 2 &&
               option.list->items[0].is(Kind::kString) && option.list->items[1].is(Kind::kString)) {
      style.item_separator = option.list->items[0].text->bytes();
      style.key_separator = option.list->items[1].text->bytes();
    } else if (name == "ensure_ascii") {
      style.ascii = IsTrue(option);
    } else if (!(name == "separators" && option.is(Kind::kNone))) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tojson: expected indent, separators (two strings), sort_keys or ensure_ascii, got \"",
          ToAbsl(name), "\""));
    }
  }
  Text text;
  RETURN_IF_ERROR(AppendJson(value, style, evaluator.heap(), text));
  return evaluator.heap().MakeText(std::move(text));
}

absl::StatusOr<Value> Length(Evaluator& evaluator, const Value& value, CallArguments&) {
  if (value.is(Kind::kString)) {
    RETURN_IF_ERROR(evaluator.heap().Step(WeightOf(value)));
    return Value::Int(static_cast<int64_t>(CountCharacters(value.str())));
  }
  if (value.is(Kind::kList)) return Value::Int(static_cast<int64_t>(value.list->items.size()));
  if (value.is(Kind::kDict)) return Value::Int(static_cast<int64_t>(value.dict->items.size()));
  if (value.is(Kind::kUndefined)) return Value::Int(0);
  return absl::InvalidArgumentError(absl::StrCat("length: expected a string, list or mapping, got ",
                                                 ToAbsl(KindName(value.kind))));
}

template <bool first>
absl::StatusOr<Value> FirstOrLast(Evaluator& evaluator, const Value& value, CallArguments&) {
  ASSIGN_OR_RETURN(const std::vector<Value>* items, evaluator.Items(value));
  if (items->empty()) return Value();
  return first ? items->front() : items->back();
}

absl::StatusOr<Value> Default(Evaluator&, const Value& value, CallArguments& arguments) {
  const std::optional<Value> fallback = arguments.Take("default_value");
  const std::optional<Value> falsy = arguments.Take("boolean");
  const bool missing =
      value.is(Kind::kUndefined) || (falsy.has_value() && IsTrue(*falsy) && !IsTrue(value));
  if (!missing) return value;
  static const Text* const empty = new Text();
  return fallback.value_or(Value::Of(empty));
}

absl::StatusOr<Value> Join(Evaluator& evaluator, const Value& value, CallArguments& arguments) {
  const std::optional<Value> separator = arguments.Take("d");
  const std::optional<Value> attribute = arguments.Take("attribute");
  ASSIGN_OR_RETURN(const std::vector<Value>* items, evaluator.Items(value));
  Text joined;
  for (size_t i = 0; i < items->size(); ++i) {
    if (i > 0 && separator.has_value()) {
      RETURN_IF_ERROR(AppendString(*separator, evaluator.heap(), joined));
    }
    Value item = (*items)[i];
    if (attribute.has_value() && attribute->is(Kind::kString)) {
      ASSIGN_OR_RETURN(item, evaluator.Attribute(item, attribute->str()));
    }
    RETURN_IF_ERROR(AppendString(item, evaluator.heap(), joined));
  }
  return evaluator.heap().MakeText(std::move(joined));
}

absl::StatusOr<Value> ItemsOf(Evaluator& evaluator, const Value& value, CallArguments&) {
  if (value.is(Kind::kUndefined)) return evaluator.heap().MakeList({});
  if (value.is(Kind::kDict)) return PairsOf(evaluator.heap(), *value.dict);
  return absl::InvalidArgumentError(
      absl::StrCat("items: expected a mapping, got ", ToAbsl(KindName(value.kind))));
}

absl::StatusOr<Value> ListOf(Evaluator& evaluator, const Value& value, CallArguments&) {
  ASSIGN_OR_RETURN(const std::vector<Value>* items, evaluator.Items(value));
  return evaluator.heap().MakeList(*items);
}

// None and the like are an empty list to map and select.
Value OrUndefined(const Value& value) { return IsTrue(value) ? value : Value(); }

absl::StatusOr<Value> Map(Evaluator& evaluator, const Value& value, CallArguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Value>* items, evaluator.Items(OrUndefined(value)));
  auto named = arguments.TakeNamed();
  const auto option = [&](std::string_view name) -> const Value* {
    for (const auto& [key, given] : named) {
      if (key == name) return &given;
    }
    return nullptr;
  };
  const Value* attribute = option("attribute");
  std::string_view filter;
  if (attribute == nullptr) {
    ASSIGN_OR_RETURN(const Text* name, arguments.TakeText("filter"));
    filter = name->bytes();
  } else if (!attribute->is(Kind::kString)) {
    return absl::InvalidArgumentError("map: expected a string as attribute");
  }
  std::vector<Value> rest;
  while (const std::optional<Value> argument = arguments.Take("")) rest.push_back(*argument);
  std::vector<Value> mapped;
  for (const Value& item : *items) {
    Value result;
    if (attribute != nullptr) {
      ASSIGN_OR_RETURN(result, evaluator.Attribute(item, attribute->str()));
      const Value* missing = option("default");
      if (result.is(Kind::kUndefined) && missing != nullptr) result = *missing;
    } else {
      CallArguments call{std::string(filter)};
      for (const Value& argument : rest) call.Add(argument);
      ASSIGN_OR_RETURN(result, evaluator.Filter(filter, item, call));
    }
    mapped.push_back(result);
  }
  return evaluator.heap().MakeList(std::move(mapped));
}

// select, reject, selectattr, rejectattr.
template <bool keep, bool by_attribute>
absl::StatusOr<Value> Select(Evaluator& evaluator, const Value& value, CallArguments& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Value>* items, evaluator.Items(OrUndefined(value)));
  const Text* attribute = nullptr;
  if (by_attribute) {
    ASSIGN_OR_RETURN(attribute, arguments.TakeText("attribute"));
  }
  const std::optional<Value> test = arguments.Take("test");
  if (test.has_value() && !test->is(Kind::kString)) {
    return absl::InvalidArgumentError("expected the name of a test");
  }
  std::vector<Value> rest;
  while (const std::optional<Value> argument = arguments.Take("")) rest.push_back(*argument);
  std::vector<Value> kept;
  for (const Value& item : *items) {
    Value tested = item;
    if (by_attribute) {
      ASSIGN_OR_RETURN(tested, evaluator.Attribute(item, attribute->bytes()));
    }
    bool holds = IsTrue(tested);
    if (test.has_value()) {
      CallArguments call{std::string(test->str())};
      for (const Value& argument : rest) call.Add(argument);
      ASSIGN_OR_RETURN(holds, evaluator.Test(test->str(), tested, call));
    }
    if (holds == keep) kept.push_back(item);
  }
  return evaluator.heap().MakeList(std::move(kept));
}

absl::StatusOr<Value> StringOf(Evaluator& evaluator, const Value& value, CallArguments&) {
  return evaluator.ToText(value);
}

absl::StatusOr<Value> Same(Evaluator&, const Value& value, CallArguments&) { return value; }

absl::StatusOr<Value> IntOf(Evaluator&, const Value& value, CallArguments& arguments) {
  const Value missing = arguments.Take("default").value_or(Value::Int(0));
  if (value.is(Kind::kInt) || value.is(Kind::kBool)) return Value::Int(value.whole());
  double real = 0;
  if (value.is(Kind::kString)) {
    int64_t whole = 0;
    if (absl::SimpleAtoi(ToAbsl(value.str()), &whole)) return Value::Int(whole);
    if (!absl::SimpleAtod(ToAbsl(value.str()), &real)) return missing;
  } else if (value.is(Kind::kFloat)) {
    real = value.real;
  } else {
    return missing;
  }
  if (!(std::abs(real) < 9.2e18)) return missing;
  return Value::Int(static_cast<int64_t>(real));
}

absl::StatusOr<Value> FloatOf(Evaluator&, const Value& value, CallArguments& arguments) {
  const Value missing = arguments.Take("default").value_or(Value::Float(0));
  if (value.is_number()) return Value::Float(value.number());
  double real = 0;
  if (value.is(Kind::kString) && absl::SimpleAtod(ToAbsl(value.str()), &real)) {
    return Value::Float(real);
  }
  return missing;
}

absl::StatusOr<Value> AbsoluteOf(Evaluator&, const Value& value, CallArguments&) {
  if (!value.is_number()) return absl::InvalidArgumentError("abs: expected a number");
  return value.number() < 0 ? UnaryOperation("-", value) : value;
}

absl::StatusOr<Value> Reverse(Evaluator& evaluator, const Value& value, CallArguments&) {
  if (value.is(Kind::kString)) {
    return Slice(evaluator.heap(), value, Value::None(), Value::None(), Value::Int(-1));
  }
  ASSIGN_OR_RETURN(const std::vector<Value>* items, evaluator.Items(value));
  return evaluator.heap().MakeList({items->rbegin(), items->rend()});
}

// Strings compare without case unless `case_sensitive`.
absl::StatusOr<Value> SortKey(Evaluator& evaluator, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.is(Kind::kString)) return value;
  return evaluator.heap().MakeText(ChangeCase(*value.text, LetterCase::kLower));
}

// `keyed`: pairs of the key to sort by and the value.
absl::StatusOr<Value> SortByKey(Evaluator& evaluator, std::vector<std::pair<Value, Value>> keyed,
                                bool reverse) {
  absl::Status status;
  int64_t weight = 1;
  for (const auto& [key, value] : keyed) weight += WeightOf(key);
  RETURN_IF_ERROR(evaluator.heap().Step(weight * 20));
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    const auto less = reverse ? Less(b.first, a.first) : Less(a.first, b.first);
    if (!less.ok()) status = less.status();
    return less.value_or(false);
  });
  RETURN_IF_ERROR(status);
  std::vector<Value> sorted;
  for (const auto& [key, value] : keyed) sorted.push_back(value);
  return evaluator.heap().MakeList(std::move(sorted));
}

absl::StatusOr<Value> Sort(Evaluator& evaluator, const Value& value, CallArguments& arguments) {
  const Value reverse = arguments.Take("reverse").value_or(Value::Bool(false));
  const Value case_sensitive = arguments.Take("case_sensitive").value_or(Value::Bool(false));
  const std::optional<Value> attribute = arguments.Take("attribute");
  ASSIGN_OR_RETURN(const std::vector<Value>* items, evaluator.Items(value));
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : *items) {
    Value key = item;
    if (attribute.has_value() && attribute->is(Kind::kString)) {
      ASSIGN_OR_RETURN(key, evaluator.Attribute(item, attribute->str()));
    }
    ASSIGN_OR_RETURN(key, SortKey(evaluator, key, IsTrue(case_sensitive)));
    keyed.emplace_back(key, item);
  }
  return SortByKey(evaluator, std::move(keyed), IsTrue(reverse));
}

absl::StatusOr<Value> DictSort(Evaluator& evaluator, const Value& value, CallArguments& arguments) {
  const Value case_sensitive = arguments.Take("case_sensitive").value_or(Value::Bool(false));
  const std::optional<Value> by = arguments.Take("by");
  const Value reverse = arguments.Take("reverse").value_or(Value::Bool(false));
  const bool by_value = by.has_value() && by->is(Kind::kString) && by->str() == "value";
  if (!value.is(Kind::kDict)) return absl::InvalidArgumentError("dictsort: expected a mapping");
  ASSIGN_OR_RETURN(const Value pairs, PairsOf(evaluator.heap(), *value.dict));
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& pair : pairs.list->items) {
    ASSIGN_OR_RETURN(const Value key, SortKey(evaluator, pair.list->items[by_value ? 1 : 0],
                                              IsTrue(case_sensitive)));
    keyed.emplace_back(key, pair);
  }
  return SortByKey(evaluator, std::move(keyed), IsTrue(reverse));
}

absl::StatusOr<Value> Unique(Evaluator& evaluator, const Value& value, CallArguments&) {
  ASSIGN_OR_RETURN(const std::vector<Value>* items, evaluator.Items(value));
  std::vector<Value> keys, unique;
  for (const Value& item : *items) {
    ASSIGN_OR_RETURN(const Value key, SortKey(evaluator, item, false));
    RETURN_IF_ERROR(evaluator.heap().Step(WeightOf(key) * (static_cast<int64_t>(keys.size()) + 1)));
    const bool seen = std::any_of(keys.begin(), keys.end(),
                                  [&](const Value& other) { return Equal(key, other); });
    if (seen) continue;
    keys.push_back(key);
    unique.push_back(item);
  }
  return evaluator.heap().MakeList(std::move(unique));
}

template <bool least>
absl::StatusOr<Value> Extreme(Evaluator& evaluator, const Value& value, CallArguments&) {
  ASSIGN_OR_RETURN(const std::vector<Value>* items, evaluator.Items(value));
  Value best;
  for (const Value& item : *items) {
    bool better = best.is(Kind::kUndefined);
    if (!better) {
      RETURN_IF_ERROR(evaluator.heap().Step(std::min(WeightOf(item), WeightOf(best))));
      ASSIGN_OR_RETURN(better, least ? Less(item, best) : Less(best, item));
    }
    if (better) best = item;
  }
  return best;
}

absl::StatusOr<Value> Sum(Evaluator& evaluator, const Value& value, CallArguments&) {
  ASSIGN_OR_RETURN(const std::vector<Value>* items, evaluator.Items(value));
  Value total = Value::Int(0);
  for (const Value& item : *items) {
    ASSIGN_OR_RETURN(total, BinaryOperation(evaluator.heap(), "+", total, item));
  }
  return total;
}

absl::StatusOr<Value> Indent(Evaluator& evaluator, const Value& value, CallArguments& arguments) {
  Text prefix;
  const Value width = arguments.Take("width").value_or(Value::Int(4));
  if (width.is(Kind::kString)) {
    prefix = *width.text;
  } else {
    const int64_t spaces = width.is(Kind::kInt) ? std::clamp<int64_t>(width.integer, 0, 1000) : 4;
    prefix = Text(std::string(static_cast<size_t>(spaces), ' '));
  }
  const bool first = IsTrue(arguments.Take("first").value_or(Value::Bool(false)));
  const bool blank = IsTrue(arguments.Take("blank").value_or(Value::Bool(false)));
  ASSIGN_OR_RETURN(const Value text, evaluator.ToText(value));
  const std::string& bytes = text.text->bytes();
  Text out;
  for (size_t begin = 0; begin <= bytes.size();) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    RETURN_IF_ERROR(evaluator.heap().Charge(static_cast<int64_t>(prefix.size() + end - begin + 1)));
    if (begin == 0 ? first : (blank || end > begin)) out.Append(prefix);
    out.AppendRange(*text.text, begin, std::min(end + 1, bytes.size()));
    begin = end + 1;
  }
  return evaluator.heap().MakeText(std::move(out));
}

struct Named {
  std::string_view name;
  Implementation filter;
};

constexpr Named kFilters[] = {
    {"trim", Trim},
    {"upper", ChangeCaseOf<LetterCase::kUpper>},
    {"lower", ChangeCaseOf<LetterCase::kLower>},
    {"title", ChangeCaseOf<LetterCase::kWords>},
    {"capitalize", ChangeCaseOf<LetterCase::kCapitalize>},
    {"replace", ReplaceIn},
    {"tojson", ToJson},
    {"length", Length},
    {"count", Length},
    {"first", FirstOrLast<true>},
    {"last", FirstOrLast<false>},
    {"default", Default},
    {"d", Default},
    {"join", Join},
    {"items", ItemsOf},
    {"list", ListOf},
    {"map", Map},
    {"select", Select<true, false>},
    {"reject", Select<false, false>},
    {"selectattr", Select<true, true>},
    {"rejectattr", Select<false, true>},
    {"string", StringOf},
    {"safe", Same},
    {"int", IntOf},
    {"float", FloatOf},
    {"abs", AbsoluteOf},
    {"reverse", Reverse},
    {"sort", Sort},
    {"dictsort", DictSort},
    {"unique", Unique},
    {"min", Extreme<true>},
    {"max", Extreme<false>},
    {"sum", Sum},
    {"indent", Indent},
};

}  // namespace

absl::StatusOr<Value> Evaluator::Filter(std::string_view name, const Value& value,
                                        CallArguments& arguments) {
  const auto* found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                   [&](const Named& f) { return f.name == name; });
  if (found == std::end(kFilters)) {
    return absl::UnimplementedError(
        absl::StrCat("expected a filter that is supported, got \"", ToAbsl(name), "\""));
  }
  // A filter may call others by name (map), and so itself.
  const Level level(depth_);
  if (depth_ > heap_.limits().depth) {
    return absl::ResourceExhaustedError("filters that call filters nest too deep");
  }
  RETURN_IF_ERROR(heap_.Step(value.is(Kind::kString) ? WeightOf(value) : 1));
  ASSIGN_OR_RETURN(const Value result, found->filter(*this, value, arguments));
  RETURN_IF_ERROR(arguments.Finish());
  return result;
}

absl::StatusOr<const std::vector<Value>*> Evaluator::Items(const Value& value) {
  std::vector<Value> items;
  if (value.is(Kind::kList)) {
    RETURN_IF_ERROR(heap_.Step(static_cast<int64_t>(value.list->items.size())));
    return &value.list->items;
  }
  if (value.is(Kind::kString)) {
    ASSIGN_OR_RETURN(items, CharactersOf(heap_, *value.text));
  } else if (value.is(Kind::kDict)) {
    for (const auto& [key, item] : value.dict->items) items.push_back(key);
  } else if (!value.is(Kind::kUndefined)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a list, mapping or string to go over, got ", ToAbsl(KindName(value.kind))));
  }
  ASSIGN_OR_RETURN(const Value list, heap_.MakeList(std::move(items)));
  return &list.list->items;
}

absl::StatusOr<Value> Evaluator::ToText(const Value& value) {
  if (value.is(Kind::kString)) return value;
  Text text;
  RETURN_IF_ERROR(AppendString(value, heap_, text));
  return heap_.MakeText(std::move(text));
}

}  // namespace lorikeet::jinja
