// Values of template expressions, and the heap that owns them for the time of one rendering.
//
// Values are small handles; strings, lists and mappings live in the Heap until it goes.  The heap
// counts every byte and step: a template from an untrusted file ends with RESOURCE_EXHAUSTED, not
// with the memory.
#ifndef LORIKEET_DEVICE_TEMPLATE_VALUE_H_
#define LORIKEET_DEVICE_TEMPLATE_VALUE_H_

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "device/template/text.h"

namespace lorikeet::jinja {

struct Statement;
struct Frame;
struct Loop;
struct List;
struct Dict;

enum class Kind : uint8_t {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kDict,
  kNamespace,  // a Dict that {% set ns.x = ... %} changes
  kMacro,
  kFunction,
  kLoop,
};

enum class Function : uint8_t { kRaiseException, kStrftimeNow, kRange, kNamespace, kDict };

struct Macro {
  const Statement* definition;
  Frame* scope;  // where it was defined
};

struct Value {
  Kind kind = Kind::kUndefined;
  union {
    bool boolean;
    int64_t integer;
    double real;
    const Text* text;
    const List* list;
    Dict* dict;
    const Macro* macro;
    Function function;
    const Loop* loop;
  };

  Value() : integer(0) {}
  static Value None();
  static Value Bool(bool b);
  static Value Int(int64_t i);
  static Value Float(double d);
  static Value Of(const Text* t);
  static Value Of(const List* l);
  static Value Of(Dict* d, Kind kind = Kind::kDict);
  static Value Of(const Macro* m);
  static Value Of(Function f);
  static Value Of(const Loop* l);

  bool is(Kind k) const { return kind == k; }
  bool is_number() const { return is(Kind::kInt) || is(Kind::kFloat) || is(Kind::kBool); }
  bool is_mapping() const { return is(Kind::kDict) || is(Kind::kNamespace); }
  // REQUIRES: is_number().
  double number() const;
  // REQUIRES: kInt or kBool.
  int64_t whole() const { return is(Kind::kBool) ? (boolean ? 1 : 0) : integer; }
  // REQUIRES: kString.
  std::string_view str() const { return text->bytes(); }
};

// Lists and dicts do not change once made, so that no value can hold itself.  `weight`: the steps
// that it takes to look at everything in it.
struct List {
  std::vector<Value> items;
  bool is_tuple = false;
  int64_t weight = 1;
};

// In the order of insertion.  Keys are strings, numbers or None.
struct Dict {
  std::vector<std::pair<Value, Value>> items;
  int64_t weight = 1;
};

// What `loop` is inside {% for %}.
struct Loop {
  const std::vector<Value>* items = nullptr;
  size_t index = 0;  // from 0
  int depth = 1;
};

// Variables of one scope.
struct Frame {
  Frame* parent = nullptr;
  std::vector<std::pair<std::string_view, Value>> variables;

  const Value* Find(std::string_view name) const;  // here and in the scopes around; null: none
  void Set(std::string_view name, Value value);    // here
};

struct Limits {
  int64_t steps = 20'000'000;  // expressions evaluated, and one for every 16 bytes looked at
  int64_t bytes = 256 << 20;   // of strings and lists made
  int depth = 200;             // of nested evaluation, macro calls included
};

class Heap {
 public:
  explicit Heap(const Limits& limits) : limits_(limits) {}
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  const Limits& limits() const { return limits_; }
  // RESOURCE_EXHAUSTED beyond the limits.
  absl::Status Step(int64_t count = 1);
  absl::Status Charge(int64_t bytes);

  // These charge what they make.  RESOURCE_EXHAUSTED.
  absl::StatusOr<Value> MakeText(Text text);
  absl::StatusOr<Value> MakeText(std::string_view bytes, Origin origin = {}) {
    return MakeText(Text(bytes, origin));
  }
  absl::StatusOr<Value> MakeList(std::vector<Value> items, bool is_tuple = false);
  absl::StatusOr<Value> MakeDict(Dict dict);
  Value MakeNamespace(Dict dict) {
    return Value::Of(&dicts_.emplace_back(std::move(dict)), Kind::kNamespace);
  }
  Frame* MakeFrame(Frame* parent) { return &frames_.emplace_back(Frame{parent, {}}); }
  Loop* MakeLoop() { return &loops_.emplace_back(); }
  Value MakeMacro(Macro macro) { return Value::Of(&macros_.emplace_back(macro)); }

 private:
  Limits limits_;
  int64_t steps_ = 0;
  int64_t bytes_ = 0;
  std::deque<Text> texts_;
  std::deque<List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Frame> frames_;
  std::deque<Loop> loops_;
  std::deque<Macro> macros_;
};

// "string", "list" ...: for messages.
std::string_view KindName(Kind kind);
bool IsTrue(const Value& value);
int64_t WeightOf(const Value& value);
// Python's ==; never an error.  Values nested deeper than 100 count as different.
bool Equal(const Value& a, const Value& b, int depth = 0);
// Python's <.  INVALID_ARGUMENT: no order between these kinds.
absl::StatusOr<bool> Less(const Value& a, const Value& b, int depth = 0);
// The item under `key`; null: none.
const Value* Find(const Dict& dict, std::string_view key);
const Value* Find(const Dict& dict, const Value& key);
// Replaces the item of an equal key.
void Insert(Dict& dict, Value key, Value value);

// str(value) as Python prints it.  INVALID_ARGUMENT: nested too deep.
absl::Status AppendString(const Value& value, Heap& heap, Text& out);
// What {{ value }} and json print for a double: shortest digits that give it back, as Python.
std::string FloatString(double value);

struct JsonStyle {
  int indent = -1;  // spaces a level; negative: one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
  bool ascii = false;  // other characters as \uXXXX
};
// json.dumps(value).  INVALID_ARGUMENT: a value that JSON has no form for.
absl::Status AppendJson(const Value& value, const JsonStyle& style, Heap& heap, Text& out);

}  // namespace lorikeet::jinja

#endif  // LORIKEET_DEVICE_TEMPLATE_VALUE_H_
