#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/template/evaluator.h"

namespace lorikeet::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;  // as Jinja's sandbox
constexpr size_t kMaxDateFormat = 200;

// The words of the template itself: what a message said stays out of errors.
std::string MarkupOf(const Text& text) {
  std::string markup;
  size_t begin = 0;
  for (const Text::Run& run : text.runs()) {
    const bool own = run.origin.source == kMarkup;
    markup += own ? text.bytes().substr(begin, run.end - begin) : std::string("...");
    begin = run.end;
  }
  return markup;
}

absl::Status WithLine(const absl::Status& status, int line) {
  if (status.ok() || Message(status).starts_with("line ")) return status;
  return Annotate(status, absl::StrCat("line ", line));
}

Value LoopAttribute(const Loop& loop, std::string_view name) {
  const auto count = static_cast<int64_t>(loop.items->size());
  const auto index = static_cast<int64_t>(loop.index);
  if (name == "index") return Value::Int(index + 1);
  if (name == "index0") return Value::Int(index);
  if (name == "revindex") return Value::Int(count - index);
  if (name == "revindex0") return Value::Int(count - index - 1);
  if (name == "first") return Value::Bool(index == 0);
  if (name == "last") return Value::Bool(index + 1 == count);
  if (name == "length") return Value::Int(count);
  if (name == "depth") return Value::Int(loop.depth);
  if (name == "depth0") return Value::Int(loop.depth - 1);
  if (name == "previtem" && index > 0) return (*loop.items)[loop.index - 1];
  if (name == "nextitem" && index + 1 < count) return (*loop.items)[loop.index + 1];
  return Value();
}

absl::StatusOr<Value> Range(Heap& heap, CallArguments& arguments) {
  ASSIGN_OR_RETURN(int64_t begin, arguments.TakeInt("start", 0));
  const std::optional<Value> stop = arguments.Take("stop");
  int64_t end = begin;
  if (stop.has_value()) {
    if (!stop->is(Kind::kInt)) return absl::InvalidArgumentError("range: expected integers");
    end = stop->integer;
  } else {
    begin = 0;
  }
  ASSIGN_OR_RETURN(const int64_t step, arguments.TakeInt("step", 1));
  RETURN_IF_ERROR(arguments.Finish());
  if (step == 0) return absl::InvalidArgumentError("range: expected a step that is not 0");
  std::vector<Value> items;
  for (int64_t i = begin; step > 0 ? i < end : i > end;) {
    if (static_cast<int64_t>(items.size()) >= kMaxRange) {
      return absl::ResourceExhaustedError(
          absl::StrCat("range: expected at most ", kMaxRange, " numbers"));
    }
    items.push_back(Value::Int(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return heap.MakeList(std::move(items));
}

}  // namespace

absl::StatusOr<Value> Evaluator::Evaluate(const Expression& expression) {
  const Level level(depth_);
  if (depth_ > heap_.limits().depth) {
    return absl::ResourceExhaustedError(absl::StrCat("line ", expression.line,
                                                     ": the template nests deeper than ",
                                                     heap_.limits().depth, " levels"));
  }
  absl::Status status = heap_.Step();
  if (status.ok()) {
    auto value = EvaluateKind(expression);
    if (value.ok()) return value;
    status = value.status();
  }
  return WithLine(status, expression.line);
}

absl::StatusOr<Value> Evaluator::EvaluateKind(const Expression& expression) {
  const auto& operands = expression.operands;
  switch (expression.kind) {
    case ExpressionKind::kLiteral:
      return expression.is_text ? Value::Of(&expression.text) : expression.value;
    case ExpressionKind::kName:
      return Lookup(expression.name);
    case ExpressionKind::kList:
    case ExpressionKind::kTuple:
      return EvaluateList(expression);
    case ExpressionKind::kDict:
      return EvaluateDict(expression);
    case ExpressionKind::kNot: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*operands[0]));
      return Value::Bool(!IsTrue(value));
    }
    case ExpressionKind::kAnd:
    case ExpressionKind::kOr: {
      ASSIGN_OR_RETURN(const Value left, Evaluate(*operands[0]));
      if (IsTrue(left) == (expression.kind == ExpressionKind::kOr)) return left;
      return Evaluate(*operands[1]);
    }
    case ExpressionKind::kUnary: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*operands[0]));
      return UnaryOperation(expression.name, value);
    }
    case ExpressionKind::kBinary: {
      ASSIGN_OR_RETURN(const Value left, Evaluate(*operands[0]));
      ASSIGN_OR_RETURN(const Value right, Evaluate(*operands[1]));
      return BinaryOperation(heap_, expression.name, left, right);
    }
    case ExpressionKind::kCompare:
      return EvaluateCompare(expression);
    case ExpressionKind::kConditional:
      return EvaluateConditional(expression);
    case ExpressionKind::kAttribute: {
      ASSIGN_OR_RETURN(const Value value, Evaluate(*operands[0]));
      return Attribute(value, expression.name);
    }
    case ExpressionKind::kIndex:
      return EvaluateIndex(expression);
    case ExpressionKind::kSlice:
      return EvaluateSlice(expression);
    case ExpressionKind::kCall:
      return EvaluateCall(expression);
    case ExpressionKind::kFilter:
    case ExpressionKind::kTest:
      return EvaluateFilterOrTest(expression);
  }
  return absl::InternalError("an expression of no known kind");
}

Value Evaluator::Lookup(std::string_view name) const {
  if (const Value* found = frame_->Find(name)) return *found;
  if (name == "raise_exception") return Value::Of(Function::kRaiseException);
  if (name == "strftime_now") return Value::Of(Function::kStrftimeNow);
  if (name == "range") return Value::Of(Function::kRange);
  if (name == "namespace") return Value::Of(Function::kNamespace);
  if (name == "dict") return Value::Of(Function::kDict);
  return Value();
}

absl::StatusOr<Value> Evaluator::EvaluateList(const Expression& expression) {
  std::vector<Value> items;
  for (const auto& operand : expression.operands) {
    ASSIGN_OR_RETURN(const Value item, Evaluate(*operand));
    items.push_back(item);
  }
  return heap_.MakeList(std::move(items), expression.kind == ExpressionKind::kTuple);
}

absl::StatusOr<Value> Evaluator::EvaluateDict(const Expression& expression) {
  Dict dict;
  for (size_t i = 0; i < expression.operands.size(); i += 2) {
    ASSIGN_OR_RETURN(const Value key, Evaluate(*expression.operands[i]));
    if (!key.is(Kind::kString) && !key.is_number() && !key.is(Kind::kNone)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "expected a string, number or none as a key, got ", ToAbsl(KindName(key.kind))));
    }
    ASSIGN_OR_RETURN(const Value value, Evaluate(*expression.operands[i + 1]));
    RETURN_IF_ERROR(heap_.Step(static_cast<int64_t>(dict.items.size())));
    Insert(dict, key, value);
  }
  return heap_.MakeDict(std::move(dict));
}

absl::StatusOr<Value> Evaluator::EvaluateCompare(const Expression& expression) {
  ASSIGN_OR_RETURN(Value left, Evaluate(*expression.operands[0]));
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    ASSIGN_OR_RETURN(const Value right, Evaluate(*expression.operands[i + 1]));
    ASSIGN_OR_RETURN(const bool holds,
                     CompareOperation(heap_, expression.operators[i], left, right));
    if (!holds) return Value::Bool(false);
    left = right;
  }
  return Value::Bool(true);
}

absl::StatusOr<Value> Evaluator::EvaluateConditional(const Expression& expression) {
  ASSIGN_OR_RETURN(const Value condition, Evaluate(*expression.operands[1]));
  if (IsTrue(condition)) return Evaluate(*expression.operands[0]);
  if (expression.operands[2] == nullptr) return Value();
  return Evaluate(*expression.operands[2]);
}

absl::StatusOr<Value> Evaluator::Attribute(const Value& value, std::string_view name) {
  if (value.is(Kind::kUndefined)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a value with \"", ToAbsl(name), "\", got an undefined one"));
  }
  if (value.is(Kind::kLoop)) return LoopAttribute(*value.loop, name);
  if (!value.is_mapping()) return Value();
  RETURN_IF_ERROR(heap_.Step(static_cast<int64_t>(value.dict->items.size())));
  const Value* found = Find(*value.dict, name);
  return found == nullptr ? Value() : *found;
}

absl::StatusOr<Value> Evaluator::EvaluateIndex(const Expression& expression) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*expression.operands[0]));
  ASSIGN_OR_RETURN(const Value index, Evaluate(*expression.operands[1]));
  if (value.is(Kind::kLoop) && index.is(Kind::kString)) return Attribute(value, index.str());
  return Subscript(heap_, value, index);
}

absl::StatusOr<Value> Evaluator::EvaluateSlice(const Expression& expression) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*expression.operands[0]));
  Value bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    bounds[i] = Value::None();
    if (expression.operands[i + 1] == nullptr) continue;
    ASSIGN_OR_RETURN(bounds[i], Evaluate(*expression.operands[i + 1]));
  }
  return Slice(heap_, value, bounds[0], bounds[1], bounds[2]);
}

absl::Status Evaluator::EvaluateArguments(const Expression& expression, CallArguments& arguments) {
  for (const auto& argument : expression.arguments.positional) {
    ASSIGN_OR_RETURN(const Value value, Evaluate(*argument));
    arguments.Add(value);
  }
  for (const auto& [name, argument] : expression.arguments.named) {
    ASSIGN_OR_RETURN(const Value value, Evaluate(*argument));
    arguments.Add(name, value);
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Evaluator::EvaluateFilterOrTest(const Expression& expression) {
  CallArguments arguments(expression.name);
  ASSIGN_OR_RETURN(const Value value, Evaluate(*expression.operands[0]));
  if (expression.kind == ExpressionKind::kFilter) {
    RETURN_IF_ERROR(EvaluateArguments(expression, arguments));
    return Filter(expression.name, value, arguments);
  }
  // Without a clock strftime_now is there for templates that rely on it, but not "defined".
  if (value.is(Kind::kFunction) && value.function == Function::kStrftimeNow && !now_.has_value() &&
      (expression.name == "defined" || expression.name == "undefined")) {
    return Value::Bool((expression.name == "undefined") != expression.negated);
  }
  RETURN_IF_ERROR(EvaluateArguments(expression, arguments));
  ASSIGN_OR_RETURN(const bool holds, Test(expression.name, value, arguments));
  return Value::Bool(holds != expression.negated);
}

absl::StatusOr<Value> Evaluator::EvaluateCall(const Expression& expression) {
  const Expression& callee = *expression.operands[0];
  CallArguments arguments(callee.name);
  Value function;
  if (callee.kind == ExpressionKind::kAttribute) {
    ASSIGN_OR_RETURN(const Value object, Evaluate(*callee.operands[0]));
    if (object.is_mapping()) {
      ASSIGN_OR_RETURN(function, Attribute(object, callee.name));
    }
    if (!function.is(Kind::kMacro)) {
      RETURN_IF_ERROR(EvaluateArguments(expression, arguments));
      return CallMethod(heap_, object, callee.name, arguments);
    }
  } else {
    ASSIGN_OR_RETURN(function, Evaluate(callee));
  }
  RETURN_IF_ERROR(EvaluateArguments(expression, arguments));
  if (function.is(Kind::kMacro)) return CallMacro(*function.macro, arguments);
  if (function.is(Kind::kFunction)) return CallFunction(function.function, arguments);
  return absl::InvalidArgumentError(absl::StrCat("expected a macro or function to call, got ",
                                                 ToAbsl(KindName(function.kind)), " \"",
                                                 callee.name, "\""));
}

absl::StatusOr<Value> Evaluator::CallMacro(const Macro& macro, CallArguments& arguments) {
  const Statement& definition = *macro.definition;
  RETURN_IF_ERROR(heap_.Charge(
      static_cast<int64_t>(sizeof(Frame) + definition.parameters.size() * 2 * sizeof(Value))));
  Frame* const caller = frame_;
  Frame* const scope = heap_.MakeFrame(macro.scope);
  frame_ = scope;
  for (const Parameter& parameter : definition.parameters) {
    std::optional<Value> value = arguments.Take(parameter.name);
    if (!value.has_value() && parameter.fallback != nullptr) {
      ASSIGN_OR_RETURN(value, Evaluate(*parameter.fallback));
    }
    scope->Set(parameter.name, value.value_or(Value()));
  }
  RETURN_IF_ERROR(arguments.Finish());
  const bool generating = std::exchange(generating_, false);
  ASSIGN_OR_RETURN(Text text, Capture(definition.body));
  generating_ = generating;
  frame_ = caller;
  return heap_.MakeText(std::move(text));
}

absl::StatusOr<Value> Evaluator::CallFunction(Function function, CallArguments& arguments) {
  switch (function) {
    case Function::kRaiseException: {
      ASSIGN_OR_RETURN(const Text* message, arguments.TakeText("message"));
      return absl::FailedPreconditionError(
          absl::StrCat("the template refuses: ", MarkupOf(*message)));
    }
    case Function::kStrftimeNow: {
      ASSIGN_OR_RETURN(const Text* format, arguments.TakeText("format"));
      RETURN_IF_ERROR(arguments.Finish());
      if (format->size() > kMaxDateFormat) {
        return absl::InvalidArgumentError(
            absl::StrCat("strftime_now: expected a format of at most ", kMaxDateFormat, " bytes"));
      }
      const absl::TimeZone utc = absl::UTCTimeZone();
      const absl::CivilSecond now = now_.value_or(absl::CivilSecond(2024, 7, 26));
      return heap_.MakeText(absl::FormatTime(format->bytes(), absl::FromCivil(now, utc), utc));
    }
    case Function::kRange:
      return Range(heap_, arguments);
    case Function::kNamespace:
    case Function::kDict: {
      Dict dict;
      if (const std::optional<Value> from = arguments.Take("")) {
        if (!from->is(Kind::kDict)) return absl::InvalidArgumentError("expected a mapping");
        RETURN_IF_ERROR(heap_.Step(from->dict->weight));
        dict.items = from->dict->items;
      }
      for (const auto& [name, value] : arguments.TakeNamed()) {
        ASSIGN_OR_RETURN(const Value key, heap_.MakeText(name));
        Insert(dict, key, value);
      }
      RETURN_IF_ERROR(arguments.Finish());
      RETURN_IF_ERROR(heap_.Charge(static_cast<int64_t>(dict.items.size() * 2 * sizeof(Value))));
      if (function == Function::kNamespace) return heap_.MakeNamespace(std::move(dict));
      return heap_.MakeDict(std::move(dict));
    }
  }
  return absl::InternalError("a function of no known kind");
}

}  // namespace lorikeet::jinja
