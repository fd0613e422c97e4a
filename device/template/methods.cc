// Methods of strings and mappings, as Python's str and dict have them; and the calls' arguments.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/template/evaluator.h"

namespace lorikeet::jinja {
namespace {

constexpr size_t kNotFound = std::string::npos;

using Method = absl::StatusOr<Value> (*)(Heap&, const Text&, CallArguments&);

template <Side side>
absl::StatusOr<Value> StripMethod(Heap& heap, const Text& text, CallArguments& arguments) {
  const std::optional<Value> characters = arguments.Take("chars");
  if (!characters.has_value() || characters->is(Kind::kNone)) {
    return heap.MakeText(Strip(text, side));
  }
  if (!characters->is(Kind::kString)) {
    return absl::InvalidArgumentError("strip: expected a string of characters");
  }
  // Every character of the text may be compared with all of these.
  RETURN_IF_ERROR(heap.Step(WeightOf(*characters) * static_cast<int64_t>(text.size() + 1)));
  return heap.MakeText(Strip(text, side, &characters->text->bytes()));
}

template <LetterCase letter_case>
absl::StatusOr<Value> CaseMethod(Heap& heap, const Text& text, CallArguments&) {
  return heap.MakeText(ChangeCase(text, letter_case));
}

// starts: startswith; else endswith.  The argument is a string or a tuple of them.
template <bool starts>
absl::StatusOr<Value> AffixMethod(Heap& heap, const Text& text, CallArguments& arguments) {
  const std::optional<Value> affix = arguments.Take("prefix");
  std::vector<Value> affixes;
  if (affix.has_value() && affix->is(Kind::kList)) {
    affixes = affix->list->items;
  } else if (affix.has_value()) {
    affixes.push_back(*affix);
  }
  bool holds = false;
  for (const Value& one : affixes) {
    if (!one.is(Kind::kString)) return absl::InvalidArgumentError("expected a string to look for");
    RETURN_IF_ERROR(heap.Step(WeightOf(one)));
    holds =
        holds || (starts ? text.bytes().starts_with(one.str()) : text.bytes().ends_with(one.str()));
  }
  if (affixes.empty()) return absl::InvalidArgumentError("expected a string to look for, got none");
  return Value::Bool(holds);
}

template <bool prefix>
absl::StatusOr<Value> RemoveAffix(Heap& heap, const Text& text, CallArguments& arguments) {
  ASSIGN_OR_RETURN(const Text* affix, arguments.TakeText("affix"));
  const size_t size = text.size(), cut = affix->size();
  if (prefix && text.bytes().starts_with(affix->bytes()))
    return heap.MakeText(text.Substring(cut, size));
  if (!prefix && text.bytes().ends_with(affix->bytes())) {
    return heap.MakeText(text.Substring(0, size - cut));
  }
  return heap.MakeText(text);
}

absl::StatusOr<Value> ReplaceMethod(Heap& heap, const Text& text, CallArguments& arguments) {
  ASSIGN_OR_RETURN(const Text* from, arguments.TakeText("old"));
  ASSIGN_OR_RETURN(const Text* to, arguments.TakeText("new"));
  ASSIGN_OR_RETURN(const int64_t count, arguments.TakeInt("count", -1));
  return Replace(heap, text, *from, *to, count);
}

// [begin, end) of the parts between white space, at most `limit` cuts; the last part keeps what is
// behind it.
std::vector<std::pair<size_t, size_t>> SplitAtSpace(std::string_view text, int64_t limit) {
  std::vector<std::pair<size_t, size_t>> parts;
  size_t at = 0;
  while (true) {
    while (at < text.size() && IsSpaceAt(text, at)) at += CharacterSize(text, at);
    if (at >= text.size()) return parts;
    const size_t begin = at;
    if (limit >= 0 && static_cast<int64_t>(parts.size()) >= limit) {
      parts.emplace_back(begin, text.size());
      return parts;
    }
    while (at < text.size() && !IsSpaceAt(text, at)) at += CharacterSize(text, at);
    parts.emplace_back(begin, at);
  }
}

std::vector<std::pair<size_t, size_t>> SplitAt(const std::string& text,
                                               const std::string& separator, int64_t limit,
                                               bool from_right) {
  std::vector<size_t> cuts;
  const auto more = [&] { return limit < 0 || static_cast<int64_t>(cuts.size()) < limit; };
  if (from_right) {
    for (size_t end = text.size(); more() && end >= separator.size();) {
      const size_t found = text.rfind(separator, end - separator.size());
      if (found == kNotFound) break;
      cuts.push_back(found);
      end = found;
    }
    std::reverse(cuts.begin(), cuts.end());
  } else {
    for (size_t at = text.find(separator); more() && at != kNotFound;) {
      cuts.push_back(at);
      at = text.find(separator, at + separator.size());
    }
  }
  std::vector<std::pair<size_t, size_t>> parts;
  size_t begin = 0;
  for (const size_t cut : cuts) {
    parts.emplace_back(begin, cut);
    begin = cut + separator.size();
  }
  parts.emplace_back(begin, text.size());
  return parts;
}

template <bool from_right>
absl::StatusOr<Value> SplitMethod(Heap& heap, const Text& text, CallArguments& arguments) {
  const std::optional<Value> separator = arguments.Take("sep");
  ASSIGN_OR_RETURN(const int64_t limit, arguments.TakeInt("maxsplit", -1));
  std::vector<std::pair<size_t, size_t>> parts;
  if (!separator.has_value() || separator->is(Kind::kNone)) {
    if (from_right && limit >= 0) {
      return absl::UnimplementedError("rsplit: expected a separator with maxsplit");
    }
    parts = SplitAtSpace(text.bytes(), limit);
  } else if (separator->is(Kind::kString) && separator->text->size() > 0) {
    parts = SplitAt(text.bytes(), separator->text->bytes(), limit, from_right);
  } else {
    return absl::InvalidArgumentError("split: expected a separator that is not empty");
  }
  std::vector<Value> items;
  for (const auto& [begin, end] : parts) {
    ASSIGN_OR_RETURN(const Value part, heap.MakeText(text.Substring(begin, end)));
    items.push_back(part);
  }
  return heap.MakeList(std::move(items));
}

absl::StatusOr<Value> SplitLinesMethod(Heap& heap, const Text& text, CallArguments&) {
  std::vector<Value> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.bytes().find_first_of("\r\n", begin), text.size());
    ASSIGN_OR_RETURN(const Value line, heap.MakeText(text.Substring(begin, end)));
    lines.push_back(line);
    begin = end + (text.bytes().compare(end, 2, "\r\n") == 0 ? 2 : 1);
  }
  return heap.MakeList(std::move(lines));
}

// Positions are in characters.
template <bool from_right>
absl::StatusOr<Value> FindMethod(Heap& heap, const Text& text, CallArguments& arguments) {
  ASSIGN_OR_RETURN(const Text* part, arguments.TakeText("sub"));
  RETURN_IF_ERROR(heap.Charge(static_cast<int64_t>(text.size())));
  const size_t at =
      from_right ? text.bytes().rfind(part->bytes()) : text.bytes().find(part->bytes());
  if (at == kNotFound) return Value::Int(-1);
  return Value::Int(
      static_cast<int64_t>(CountCharacters(std::string_view(text.bytes()).substr(0, at))));
}

absl::StatusOr<Value> CountMethod(Heap& heap, const Text& text, CallArguments& arguments) {
  ASSIGN_OR_RETURN(const Text* part, arguments.TakeText("sub"));
  RETURN_IF_ERROR(heap.Charge(static_cast<int64_t>(text.size())));
  if (part->size() == 0) {
    return Value::Int(static_cast<int64_t>(CountCharacters(text.bytes())) + 1);
  }
  return Value::Int(static_cast<int64_t>(SplitAt(text.bytes(), part->bytes(), -1, false).size()) -
                    1);
}

absl::StatusOr<Value> IsDigitMethod(Heap&, const Text& text, CallArguments&) {
  const std::string& bytes = text.bytes();
  return Value::Bool(!bytes.empty() && std::all_of(bytes.begin(), bytes.end(),
                                                   [](char c) { return c >= '0' && c <= '9'; }));
}

absl::StatusOr<Value> JoinMethod(Heap& heap, const Text& text, CallArguments& arguments) {
  const std::optional<Value> parts = arguments.Take("iterable");
  if (!parts.has_value() || !parts->is(Kind::kList)) {
    return absl::InvalidArgumentError("join: expected a list");
  }
  Text joined;
  for (size_t i = 0; i < parts->list->items.size(); ++i) {
    const Value& part = parts->list->items[i];
    if (!part.is(Kind::kString)) return absl::InvalidArgumentError("join: expected strings");
    RETURN_IF_ERROR(heap.Charge(static_cast<int64_t>(text.size() + part.text->size())));
    if (i > 0) joined.Append(text);
    joined.Append(*part.text);
  }
  return heap.MakeText(std::move(joined));
}

// "{} and {}" and "{0}"; no other fields.
absl::StatusOr<Value> FormatMethod(Heap& heap, const Text& text, CallArguments& arguments) {
  std::vector<Value> values;
  for (std::optional<Value> v = arguments.Take(""); v.has_value(); v = arguments.Take("")) {
    values.push_back(*v);
  }
  const std::string& bytes = text.bytes();
  Text out;
  size_t next = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const char c = bytes[i];
    if ((c == '{' || c == '}') && i + 1 < bytes.size() && bytes[i + 1] == c) {
      out.AppendRange(text, i, i + 1);
      ++i;
    } else if (c == '{') {
      const size_t end = bytes.find('}', i);
      const std::string field = bytes.substr(i + 1, end == kNotFound ? kNotFound : end - i - 1);
      const bool numbered = field.size() == 1 && field[0] >= '0' && field[0] <= '9';
      const size_t index = numbered ? static_cast<size_t>(field[0] - '0') : next++;
      if (end == kNotFound || (!field.empty() && !numbered) || index >= values.size()) {
        return absl::InvalidArgumentError(
            "format: expected a field {} or {0} for each argument, got another");
      }
      RETURN_IF_ERROR(AppendString(values[index], heap, out));
      i = end;
    } else {
      out.AppendRange(text, i, i + 1);
    }
  }
  return heap.MakeText(std::move(out));
}

struct Named {
  std::string_view name;
  Method method;
};

constexpr Named kTextMethods[] = {
    {"strip", StripMethod<Side::kBoth>},
    {"lstrip", StripMethod<Side::kLeft>},
    {"rstrip", StripMethod<Side::kRight>},
    {"split", SplitMethod<false>},
    {"rsplit", SplitMethod<true>},
    {"splitlines", SplitLinesMethod},
    {"startswith", AffixMethod<true>},
    {"endswith", AffixMethod<false>},
    {"removeprefix", RemoveAffix<true>},
    {"removesuffix", RemoveAffix<false>},
    {"upper", CaseMethod<LetterCase::kUpper>},
    {"lower", CaseMethod<LetterCase::kLower>},
    {"title", CaseMethod<LetterCase::kTitle>},
    {"capitalize", CaseMethod<LetterCase::kCapitalize>},
    {"replace", ReplaceMethod},
    {"find", FindMethod<false>},
    {"rfind", FindMethod<true>},
    {"count", CountMethod},
    {"isdigit", IsDigitMethod},
    {"join", JoinMethod},
    {"format", FormatMethod},
};

absl::StatusOr<Value> DictMethod(Heap& heap, const Dict& dict, std::string_view name,
                                 CallArguments& arguments) {
  RETURN_IF_ERROR(heap.Step(static_cast<int64_t>(dict.items.size())));
  if (name == "items") return PairsOf(heap, dict);
  if (name == "keys" || name == "values") {
    std::vector<Value> items;
    for (const auto& [key, value] : dict.items) items.push_back(name == "keys" ? key : value);
    return heap.MakeList(std::move(items));
  }
  const std::optional<Value> key = arguments.Take("key");
  const std::optional<Value> missing = arguments.Take("default");
  if (name != "get" || !key.has_value()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "expected a method of mappings (get, items, keys, values), got \"", ToAbsl(name), "\""));
  }
  const Value* found = Find(dict, *key);
  return found != nullptr ? *found : missing.value_or(Value::None());
}

}  // namespace

absl::StatusOr<Value> CallMethod(Heap& heap, const Value& value, std::string_view name,
                                 CallArguments& arguments) {
  absl::StatusOr<Value> result = Value();
  if (value.is(Kind::kDict)) {
    result = DictMethod(heap, *value.dict, name, arguments);
  } else {
    const auto* found = std::find_if(std::begin(kTextMethods), std::end(kTextMethods),
                                     [&](const Named& m) { return m.name == name; });
    if (!value.is(Kind::kString) || found == std::end(kTextMethods)) {
      return absl::InvalidArgumentError(absl::StrCat("expected a method that ",
                                                     ToAbsl(KindName(value.kind)), " has, got \"",
                                                     ToAbsl(name), "\""));
    }
    RETURN_IF_ERROR(heap.Step(WeightOf(value)));
    result = found->method(heap, *value.text, arguments);
  }
  RETURN_IF_ERROR(result.status());
  RETURN_IF_ERROR(arguments.Finish());
  return result;
}

absl::StatusOr<Value> Replace(Heap& heap, const Text& text, const Text& from, const Text& to,
                              int64_t count) {
  Text out;
  size_t begin = 0;
  while (begin <= text.size() && count != 0) {
    // Nothing is found before every character and at the end.
    const size_t at = text.bytes().find(from.bytes(), begin);
    if (at == kNotFound) break;
    RETURN_IF_ERROR(heap.Charge(static_cast<int64_t>(at - begin + to.size() + 1)));
    out.AppendRange(text, begin, at);
    out.Append(to);
    begin = at + from.size();
    if (from.size() == 0) {
      const size_t next = begin + CharacterSize(text.bytes(), begin);
      out.AppendRange(text, begin, next);
      begin = next == begin ? text.size() + 1 : next;
    }
    if (count > 0) --count;
  }
  if (begin < text.size()) out.AppendRange(text, begin, text.size());
  return heap.MakeText(std::move(out));
}

absl::StatusOr<Value> PairsOf(Heap& heap, const Dict& dict) {
  std::vector<Value> pairs;
  for (const auto& [key, value] : dict.items) {
    ASSIGN_OR_RETURN(const Value pair, heap.MakeList({key, value}, /*is_tuple=*/true));
    pairs.push_back(pair);
  }
  return heap.MakeList(std::move(pairs));
}

absl::StatusOr<std::vector<Value>> CharactersOf(Heap& heap, const Text& text) {
  std::vector<Value> characters;
  for (size_t i = 0; i < text.size();) {
    const size_t size = CharacterSize(text.bytes(), i);
    ASSIGN_OR_RETURN(const Value character, heap.MakeText(text.Substring(i, i + size)));
    characters.push_back(character);
    i += size;
  }
  return characters;
}

std::optional<Value> CallArguments::Take(std::string_view name) {
  if (next_ < positional_.size()) return positional_[next_++];
  const auto found = std::find_if(named_.begin(), named_.end(),
                                  [&](const auto& named) { return named.first == name; });
  if (found == named_.end()) return std::nullopt;
  const Value value = found->second;
  named_.erase(found);
  return value;
}

absl::StatusOr<const Text*> CallArguments::TakeText(std::string_view name) {
  const std::optional<Value> value = Take(name);
  if (value.has_value() && value->is(Kind::kString)) return value->text;
  return absl::InvalidArgumentError(
      absl::StrCat(callee_, ": expected a string as ", ToAbsl(name), ", got ",
                   value.has_value() ? ToAbsl(KindName(value->kind)) : "nothing"));
}

absl::StatusOr<int64_t> CallArguments::TakeInt(std::string_view name, int64_t missing) {
  const std::optional<Value> value = Take(name);
  if (!value.has_value() || value->is(Kind::kNone)) return missing;
  if (value->is(Kind::kInt) || value->is(Kind::kBool)) return value->whole();
  return absl::InvalidArgumentError(absl::StrCat(callee_, ": expected an integer as ", ToAbsl(name),
                                                 ", got ", ToAbsl(KindName(value->kind))));
}

std::vector<std::pair<std::string_view, Value>> CallArguments::TakeNamed() {
  return std::exchange(named_, {});
}

absl::Status CallArguments::Finish() const {
  if (next_ < positional_.size()) {
    return absl::InvalidArgumentError(absl::StrCat(callee_, ": expected at most ", next_,
                                                   " arguments, got ", positional_.size()));
  }
  if (named_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(callee_, ": got an unexpected argument \"", ToAbsl(named_[0].first), "\""));
}

}  // namespace lorikeet::jinja
