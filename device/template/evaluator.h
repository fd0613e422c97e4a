// Runs a syntax tree: statements (evaluate_statement.cc), expressions (evaluate_expression.cc),
// operators (operators.cc), filters, tests and methods (files of these names).
//
// Every error is a status that names the line; work is bounded by the heap's limits.
#ifndef LORIKEET_DEVICE_TEMPLATE_EVALUATOR_H_
#define LORIKEET_DEVICE_TEMPLATE_EVALUATOR_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "device/template/ast.h"
#include "device/template/value.h"

namespace lorikeet::jinja {

// Evaluated arguments of a call; each is taken at most once, by place or by name.
class CallArguments {
 public:
  // For messages: what is called.
  explicit CallArguments(std::string callee) : callee_(std::move(callee)) {}

  void Add(Value value) { positional_.push_back(value); }
  void Add(std::string_view name, Value value) { named_.emplace_back(name, value); }
  // The next argument by place, or the one called `name`; nullopt: neither.
  std::optional<Value> Take(std::string_view name);
  // INVALID_ARGUMENT: no such argument, or not a string.
  absl::StatusOr<const Text*> TakeText(std::string_view name);
  // INVALID_ARGUMENT: not an integer.
  absl::StatusOr<int64_t> TakeInt(std::string_view name, int64_t missing);
  // What is left by name, in order.
  std::vector<std::pair<std::string_view, Value>> TakeNamed();
  // INVALID_ARGUMENT: arguments are left over.
  absl::Status Finish() const;

 private:
  std::string callee_;
  size_t next_ = 0;
  std::vector<Value> positional_;
  std::vector<std::pair<std::string_view, Value>> named_;
};

class Evaluator {
 public:
  // `heap` and `globals` (of that heap) are borrowed.  `now`: local time for strftime_now; nullopt:
  // strftime_now counts as not defined, and says 26 Jul 2024 to templates that call it unasked.
  Evaluator(Heap& heap, Frame* globals, std::optional<absl::CivilSecond> now)
      : heap_(heap), frame_(globals), now_(now) {}

  absl::StatusOr<Text> Render(const Body& body);

  // For filters, tests and methods:
  Heap& heap() { return heap_; }
  absl::StatusOr<Value> Filter(std::string_view name, const Value& value, CallArguments& arguments);
  absl::StatusOr<bool> Test(std::string_view name, const Value& value, CallArguments& arguments);
  absl::StatusOr<Value> Attribute(const Value& value, std::string_view name);
  // What {% for %} goes over.  INVALID_ARGUMENT: not a list, mapping, string or undefined.
  absl::StatusOr<const std::vector<Value>*> Items(const Value& value);
  absl::StatusOr<Value> ToText(const Value& value);  // str(value)

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue };
  // Counts nested evaluation while it lives.
  class Level {
   public:
    explicit Level(int& depth) : depth_(++depth) {}
    ~Level() { --depth_; }

   private:
    int& depth_;
  };

  absl::Status Execute(const Body& body);
  absl::Status Execute(const Statement& statement);
  absl::Status ExecuteFor(const Statement& statement);
  absl::Status ExecuteIf(const Statement& statement);
  absl::Status ExecuteSet(const Statement& statement);
  // What a body writes, through the filters of `statement.expression`.
  absl::StatusOr<Value> ExecuteFiltered(const Statement& statement);
  absl::StatusOr<Text> Capture(const Body& body);
  absl::Status Bind(const std::vector<std::string>& targets, const Value& value);
  absl::Status Write(const Text& text);

  absl::StatusOr<Value> Evaluate(const Expression& expression);
  absl::StatusOr<Value> EvaluateKind(const Expression& expression);
  Value Lookup(std::string_view name) const;
  absl::StatusOr<Value> EvaluateList(const Expression& expression);
  absl::StatusOr<Value> EvaluateDict(const Expression& expression);
  absl::StatusOr<Value> EvaluateCompare(const Expression& expression);
  absl::StatusOr<Value> EvaluateConditional(const Expression& expression);
  absl::StatusOr<Value> EvaluateIndex(const Expression& expression);
  absl::StatusOr<Value> EvaluateSlice(const Expression& expression);
  absl::StatusOr<Value> EvaluateCall(const Expression& expression);
  absl::StatusOr<Value> EvaluateFilterOrTest(const Expression& expression);
  absl::Status EvaluateArguments(const Expression& expression, CallArguments& arguments);
  absl::StatusOr<Value> CallMacro(const Macro& macro, CallArguments& arguments);
  absl::StatusOr<Value> CallFunction(Function function, CallArguments& arguments);

  Heap& heap_;
  Frame* frame_;
  std::optional<absl::CivilSecond> now_;
  Text* out_ = nullptr;
  bool generating_ = false;
  Flow flow_ = Flow::kNext;
  int depth_ = 0;
  int loop_depth_ = 0;
};

// x + y and the like; the operator as written.  INVALID_ARGUMENT: not defined for these kinds, or
// out of range.
absl::StatusOr<Value> BinaryOperation(Heap& heap, std::string_view op, const Value& left,
                                      const Value& right);
absl::StatusOr<Value> UnaryOperation(std::string_view op, const Value& value);
// "==", "in" and the like.
absl::StatusOr<bool> CompareOperation(Heap& heap, std::string_view op, const Value& left,
                                      const Value& right);
// value[index]; undefined where there is none.
absl::StatusOr<Value> Subscript(Heap& heap, const Value& value, const Value& index);
// value[begin:end:step] of a list or string; absent bounds are none.
absl::StatusOr<Value> Slice(Heap& heap, const Value& value, const Value& begin, const Value& end,
                            const Value& step);
// value.name(arguments) for the methods of Python's str and dict.
absl::StatusOr<Value> CallMethod(Heap& heap, const Value& value, std::string_view name,
                                 CallArguments& arguments);
// str.replace; count < 0: all.
absl::StatusOr<Value> Replace(Heap& heap, const Text& text, const Text& from, const Text& to,
                              int64_t count);
// [[key, value], ...] of a mapping.
absl::StatusOr<Value> PairsOf(Heap& heap, const Dict& dict);
// The characters of a string, each a string.
absl::StatusOr<std::vector<Value>> CharactersOf(Heap& heap, const Text& text);

}  // namespace lorikeet::jinja

#endif  // LORIKEET_DEVICE_TEMPLATE_EVALUATOR_H_
