#include "device/template/value.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet::jinja {
namespace {

constexpr int kMaxNesting = 100;  // of values in values
constexpr int64_t kBytesPerStep = 16;

bool EqualLists(const List& a, const List& b, int depth) {
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(),
                    [&](const Value& x, const Value& y) { return Equal(x, y, depth + 1); });
}

bool EqualDicts(const Dict& a, const Dict& b, int depth) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    const Value* other = Find(b, key);
    if (other == nullptr || !Equal(value, *other, depth + 1)) return false;
  }
  return true;
}

}  // namespace

Value Value::None() {
  Value v;
  v.kind = Kind::kNone;
  return v;
}

Value Value::Bool(bool b) {
  Value v;
  v.kind = Kind::kBool;
  v.boolean = b;
  return v;
}

Value Value::Int(int64_t i) {
  Value v;
  v.kind = Kind::kInt;
  v.integer = i;
  return v;
}

Value Value::Float(double d) {
  Value v;
  v.kind = Kind::kFloat;
  v.real = d;
  return v;
}

Value Value::Of(const Text* t) {
  Value v;
  v.kind = Kind::kString;
  v.text = t;
  return v;
}

Value Value::Of(const List* l) {
  Value v;
  v.kind = Kind::kList;
  v.list = l;
  return v;
}

Value Value::Of(Dict* d, Kind kind) {
  Value v;
  v.kind = kind;
  v.dict = d;
  return v;
}

Value Value::Of(const Macro* m) {
  Value v;
  v.kind = Kind::kMacro;
  v.macro = m;
  return v;
}

Value Value::Of(Function f) {
  Value v;
  v.kind = Kind::kFunction;
  v.function = f;
  return v;
}

Value Value::Of(const Loop* l) {
  Value v;
  v.kind = Kind::kLoop;
  v.loop = l;
  return v;
}

double Value::number() const { return is(Kind::kFloat) ? real : static_cast<double>(whole()); }

const Value* Frame::Find(std::string_view name) const {
  for (const Frame* frame = this; frame != nullptr; frame = frame->parent) {
    for (const auto& [key, value] : frame->variables) {
      if (key == name) return &value;
    }
  }
  return nullptr;
}

void Frame::Set(std::string_view name, Value value) {
  for (auto& [key, old] : variables) {
    if (key == name) {
      old = value;
      return;
    }
  }
  variables.emplace_back(name, value);
}

absl::Status Heap::Step(int64_t count) {
  steps_ += count;
  if (steps_ <= limits_.steps) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("the template takes more than ", limits_.steps, " steps"));
}

absl::Status Heap::Charge(int64_t bytes) {
  bytes_ += bytes;
  if (bytes_ <= limits_.bytes) return Step(bytes / kBytesPerStep);
  return absl::ResourceExhaustedError(
      absl::StrCat("the template makes more than ", limits_.bytes, " bytes of values"));
}

absl::StatusOr<Value> Heap::MakeText(Text text) {
  RETURN_IF_ERROR(Charge(static_cast<int64_t>(text.size() + sizeof(Text))));
  return Value::Of(&texts_.emplace_back(std::move(text)));
}

absl::StatusOr<Value> Heap::MakeList(std::vector<Value> items, bool is_tuple) {
  List list{std::move(items), is_tuple};
  for (const Value& item : list.items) list.weight += WeightOf(item);
  RETURN_IF_ERROR(Step(list.weight));
  RETURN_IF_ERROR(Charge(static_cast<int64_t>(list.items.size() * sizeof(Value) + sizeof(List))));
  return Value::Of(&lists_.emplace_back(std::move(list)));
}

absl::StatusOr<Value> Heap::MakeDict(Dict dict) {
  for (const auto& [key, value] : dict.items) dict.weight += WeightOf(key) + WeightOf(value);
  RETURN_IF_ERROR(Step(dict.weight));
  RETURN_IF_ERROR(
      Charge(static_cast<int64_t>(dict.items.size() * 2 * sizeof(Value) + sizeof(Dict))));
  return Value::Of(&dicts_.emplace_back(std::move(dict)));
}

std::string_view KindName(Kind kind) {
  constexpr std::string_view kNames[] = {"undefined", "none",   "boolean",  "integer",
                                         "float",     "string", "list",     "mapping",
                                         "namespace", "macro",  "function", "loop"};
  return kNames[static_cast<size_t>(kind)];
}

int64_t WeightOf(const Value& value) {
  if (value.is(Kind::kString)) return 1 + static_cast<int64_t>(value.text->size()) / kBytesPerStep;
  if (value.is(Kind::kList)) return value.list->weight;
  if (value.is(Kind::kDict)) return value.dict->weight;
  return 1;
}

bool IsTrue(const Value& value) {
  switch (value.kind) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.whole() != 0;
    case Kind::kFloat:
      return value.real != 0;
    case Kind::kString:
      return value.text->size() > 0;
    case Kind::kList:
      return !value.list->items.empty();
    case Kind::kDict:
      return !value.dict->items.empty();
    default:
      return true;
  }
}

bool Equal(const Value& a, const Value& b, int depth) {
  if (depth > kMaxNesting) return false;
  if (a.is_number() && b.is_number()) {
    if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat)) return a.whole() == b.whole();
    return a.number() == b.number();
  }
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case Kind::kString:
      return a.str() == b.str();
    case Kind::kList:
      return a.list->is_tuple == b.list->is_tuple && EqualLists(*a.list, *b.list, depth);
    case Kind::kDict:
      return EqualDicts(*a.dict, *b.dict, depth);
    case Kind::kNamespace:
      return a.dict == b.dict;
    case Kind::kMacro:
      return a.macro == b.macro;
    case Kind::kFunction:
      return a.function == b.function;
    case Kind::kLoop:
      return a.loop == b.loop;
    default:
      return true;
  }
}

absl::StatusOr<bool> Less(const Value& a, const Value& b, int depth) {
  if (a.is_number() && b.is_number()) {
    if (!a.is(Kind::kFloat) && !b.is(Kind::kFloat)) return a.whole() < b.whole();
    return a.number() < b.number();
  }
  // The order of UTF-8's bytes is that of its characters.
  if (a.is(Kind::kString) && b.is(Kind::kString)) return a.str() < b.str();
  if (a.is(Kind::kList) && b.is(Kind::kList) && depth <= kMaxNesting) {
    const size_t common = std::min(a.list->items.size(), b.list->items.size());
    for (size_t i = 0; i < common; ++i) {
      const Value &x = a.list->items[i], &y = b.list->items[i];
      if (!Equal(x, y, depth + 1)) return Less(x, y, depth + 1);
    }
    return a.list->items.size() < b.list->items.size();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("expected two numbers, strings or lists to order, got ",
                   ToAbsl(KindName(a.kind)), " and ", ToAbsl(KindName(b.kind))));
}

const Value* Find(const Dict& dict, std::string_view key) {
  for (const auto& [name, value] : dict.items) {
    if (name.is(Kind::kString) && name.str() == key) return &value;
  }
  return nullptr;
}

const Value* Find(const Dict& dict, const Value& key) {
  for (const auto& [name, value] : dict.items) {
    if (Equal(name, key)) return &value;
  }
  return nullptr;
}

void Insert(Dict& dict, Value key, Value value) {
  for (auto& [name, old] : dict.items) {
    if (Equal(name, key)) {
      old = value;
      return;
    }
  }
  dict.items.emplace_back(key, value);
}

}  // namespace lorikeet::jinja
