// What operators, subscripts and slices mean for each kind of value, as in Python.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/template/evaluator.h"

namespace lorikeet::jinja {
namespace {

absl::Status Undefined(std::string_view op, const Value& left, const Value& right) {
  return absl::InvalidArgumentError(absl::StrCat("expected operands that \"", ToAbsl(op),
                                                 "\" takes, got ", ToAbsl(KindName(left.kind)),
                                                 " and ", ToAbsl(KindName(right.kind))));
}

absl::Status OutOfRange(std::string_view op) {
  return absl::InvalidArgumentError(
      absl::StrCat("expected a result of \"", ToAbsl(op), "\" in 64 bits, got a larger one"));
}

absl::StatusOr<Value> Power(int64_t base, int64_t exponent) {
  if (exponent < 0) return Value::Float(std::pow(static_cast<double>(base), exponent));
  int64_t result = 1;
  // Beyond 64 factors only 0, 1 and -1 stay in range; these repeat.
  for (int64_t i = 0; i < std::min<int64_t>(exponent, 64 + exponent % 2); ++i) {
    if (__builtin_mul_overflow(result, base, &result)) return OutOfRange("**");
  }
  return Value::Int(result);
}

absl::StatusOr<Value> Whole(std::string_view op, int64_t a, int64_t b) {
  int64_t result = 0;
  if (op == "**") return Power(a, b);
  if (op == "+" || op == "-" || op == "*") {
    const bool overflows = op == "+"   ? __builtin_add_overflow(a, b, &result)
                           : op == "-" ? __builtin_sub_overflow(a, b, &result)
                                       : __builtin_mul_overflow(a, b, &result);
    if (overflows) return OutOfRange(op);
    return Value::Int(result);
  }
  if (b == 0) return absl::InvalidArgumentError("expected a divisor that is not 0");
  if (op == "/") return Value::Float(static_cast<double>(a) / static_cast<double>(b));
  if (b == -1) return op == "%" ? absl::StatusOr<Value>(Value::Int(0)) : Whole("-", 0, a);
  const int64_t remainder = a % b;
  const bool below = remainder != 0 && (remainder < 0) != (b < 0);  // Python rounds down
  if (op == "//") return Value::Int(a / b - (below ? 1 : 0));
  return Value::Int(remainder + (below ? b : 0));
}

absl::StatusOr<Value> Real(std::string_view op, double a, double b) {
  if (op == "+") return Value::Float(a + b);
  if (op == "-") return Value::Float(a - b);
  if (op == "*") return Value::Float(a * b);
  if (op == "**") return Value::Float(std::pow(a, b));
  if (b == 0) return absl::InvalidArgumentError("expected a divisor that is not 0");
  if (op == "/") return Value::Float(a / b);
  const double quotient = std::floor(a / b);
  return Value::Float(op == "//" ? quotient : a - quotient * b);
}

absl::StatusOr<Value> Repeat(Heap& heap, const Value& value, int64_t times) {
  times = std::max<int64_t>(times, 0);
  const int64_t size = value.is(Kind::kString) ? static_cast<int64_t>(value.text->size())
                                               : static_cast<int64_t>(value.list->items.size());
  int64_t total = 0;
  if (__builtin_mul_overflow(size, times, &total)) return OutOfRange("*");
  RETURN_IF_ERROR(heap.Charge(total));  // before the memory is taken
  if (size == 0) times = 0;
  if (value.is(Kind::kString)) {
    Text text;
    for (int64_t i = 0; i < times; ++i) text.Append(*value.text);
    return heap.MakeText(std::move(text));
  }
  RETURN_IF_ERROR(heap.Charge(total > (int64_t{1} << 40) ? total : total * int64_t{sizeof(Value)}));
  std::vector<Value> items;
  for (int64_t i = 0; i < times; ++i) {
    items.insert(items.end(), value.list->items.begin(), value.list->items.end());
  }
  return heap.MakeList(std::move(items), value.list->is_tuple);
}

absl::StatusOr<Value> Concatenate(Heap& heap, const Value& left, const Value& right) {
  Text text;
  RETURN_IF_ERROR(AppendString(left, heap, text));
  RETURN_IF_ERROR(AppendString(right, heap, text));
  return heap.MakeText(std::move(text));
}

absl::StatusOr<bool> Contains(Heap& heap, const Value& part, const Value& whole) {
  RETURN_IF_ERROR(heap.Step(WeightOf(whole)));
  if (whole.is(Kind::kString)) {
    if (!part.is(Kind::kString)) return Undefined("in", part, whole);
    return whole.text->bytes().find(part.text->bytes()) != std::string::npos;
  }
  if (whole.is_mapping()) return Find(*whole.dict, part) != nullptr;
  if (whole.is(Kind::kList)) {
    return std::any_of(whole.list->items.begin(), whole.list->items.end(),
                       [&](const Value& item) { return Equal(item, part); });
  }
  if (whole.is(Kind::kUndefined)) return false;
  return Undefined("in", part, whole);
}

// Byte positions of the characters, and the size at the end.
std::vector<size_t> Offsets(std::string_view text) {
  std::vector<size_t> offsets;
  for (size_t i = 0; i < text.size(); i += CharacterSize(text, i)) offsets.push_back(i);
  offsets.push_back(text.size());
  return offsets;
}

// The indices that Python's slice takes of `count` items.
absl::StatusOr<std::vector<size_t>> SliceIndices(int64_t count, const Value& begin,
                                                 const Value& end, const Value& step) {
  const auto bound = [&](const Value& value, int64_t missing, int64_t low,
                         int64_t high) -> absl::StatusOr<int64_t> {
    if (value.is(Kind::kNone)) return missing;
    if (!value.is(Kind::kInt)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "expected an integer as bound of a slice, got ", ToAbsl(KindName(value.kind))));
    }
    const int64_t at = value.integer < 0 ? value.integer + count : value.integer;
    return std::clamp(at, low, high);
  };
  constexpr int64_t kFarthest = int64_t{1} << 40;
  ASSIGN_OR_RETURN(const int64_t by, bound(step, 1, -kFarthest, kFarthest));
  // A negative step is no index from the end.
  const int64_t stride = step.is(Kind::kInt) ? std::clamp(step.integer, -kFarthest, kFarthest) : by;
  if (stride == 0) return absl::InvalidArgumentError("expected a step that is not 0");
  const int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? count : count - 1;
  ASSIGN_OR_RETURN(const int64_t first, bound(begin, stride > 0 ? low : high, low, high));
  ASSIGN_OR_RETURN(const int64_t last, bound(end, stride > 0 ? high : low, low, high));
  std::vector<size_t> indices;
  for (int64_t i = first; stride > 0 ? i < last : i > last; i += stride) {
    indices.push_back(static_cast<size_t>(i));
  }
  return indices;
}

}  // namespace

absl::StatusOr<Value> BinaryOperation(Heap& heap, std::string_view op, const Value& left,
                                      const Value& right) {
  if (op == "~") return Concatenate(heap, left, right);
  if (left.is_number() && right.is_number()) {
    if (left.is(Kind::kFloat) || right.is(Kind::kFloat)) {
      return Real(op, left.number(), right.number());
    }
    return Whole(op, left.whole(), right.whole());
  }
  if (op == "+" && left.is(Kind::kString) && right.is(Kind::kString)) {
    return Concatenate(heap, left, right);
  }
  if (op == "+" && left.is(Kind::kList) && right.is(Kind::kList)) {
    std::vector<Value> items = left.list->items;
    items.insert(items.end(), right.list->items.begin(), right.list->items.end());
    return heap.MakeList(std::move(items), left.list->is_tuple);
  }
  if (op == "*") {
    const bool reversed = left.is(Kind::kInt);
    const Value &value = reversed ? right : left, &times = reversed ? left : right;
    if (times.is(Kind::kInt) && (value.is(Kind::kString) || value.is(Kind::kList))) {
      return Repeat(heap, value, times.integer);
    }
  }
  return Undefined(op, left, right);
}

absl::StatusOr<Value> UnaryOperation(std::string_view op, const Value& value) {
  if (!value.is_number()) {
    return absl::InvalidArgumentError(absl::StrCat("expected a number after \"", ToAbsl(op),
                                                   "\", got ", ToAbsl(KindName(value.kind))));
  }
  if (value.is(Kind::kFloat)) return Value::Float(op == "-" ? -value.real : value.real);
  return Whole(op, 0, value.whole());
}

absl::StatusOr<bool> CompareOperation(Heap& heap, std::string_view op, const Value& left,
                                      const Value& right) {
  if (op == "in" || op == "not in") {
    ASSIGN_OR_RETURN(const bool contains, Contains(heap, left, right));
    return contains == (op == "in");
  }
  RETURN_IF_ERROR(heap.Step(std::min(WeightOf(left), WeightOf(right))));
  if (op == "==" || op == "!=") return Equal(left, right) == (op == "==");
  const bool swapped = op == ">" || op == "<=";
  ASSIGN_OR_RETURN(const bool less, swapped ? Less(right, left) : Less(left, right));
  return less == (op == "<" || op == ">");
}

absl::StatusOr<Value> Subscript(Heap& heap, const Value& value, const Value& index) {
  RETURN_IF_ERROR(
      heap.Step(value.is_mapping() ? static_cast<int64_t>(value.dict->items.size()) : 1));
  if (value.is_mapping()) {
    const Value* found = Find(*value.dict, index);
    return found == nullptr ? Value() : *found;
  }
  if (value.is(Kind::kUndefined)) {
    return absl::InvalidArgumentError("expected a list, mapping or string to index, got undefined");
  }
  const bool is_text = value.is(Kind::kString);
  if (!index.is(Kind::kInt) || (!is_text && !value.is(Kind::kList))) return Value();
  std::vector<size_t> offsets;
  if (is_text) {
    RETURN_IF_ERROR(heap.Step(WeightOf(value)));
    offsets = Offsets(value.str());
  }
  const auto count = static_cast<int64_t>(is_text ? offsets.size() - 1 : value.list->items.size());
  const int64_t at = index.integer < 0 ? index.integer + count : index.integer;
  if (at < 0 || at >= count) return Value();
  const auto position = static_cast<size_t>(at);
  if (!is_text) return value.list->items[position];
  return heap.MakeText(value.text->Substring(offsets[position], offsets[position + 1]));
}

absl::StatusOr<Value> Slice(Heap& heap, const Value& value, const Value& begin, const Value& end,
                            const Value& step) {
  if (value.is(Kind::kList)) {
    RETURN_IF_ERROR(heap.Step(static_cast<int64_t>(value.list->items.size())));
    ASSIGN_OR_RETURN(
        const auto indices,
        SliceIndices(static_cast<int64_t>(value.list->items.size()), begin, end, step));
    std::vector<Value> items;
    for (const size_t i : indices) items.push_back(value.list->items[i]);
    return heap.MakeList(std::move(items), value.list->is_tuple);
  }
  if (!value.is(Kind::kString)) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a list or string to slice, got ", ToAbsl(KindName(value.kind))));
  }
  RETURN_IF_ERROR(heap.Charge(static_cast<int64_t>(value.text->size())));
  const std::vector<size_t> offsets = Offsets(value.str());
  ASSIGN_OR_RETURN(const auto indices,
                   SliceIndices(static_cast<int64_t>(offsets.size()) - 1, begin, end, step));
  Text text;
  for (const size_t i : indices) text.AppendRange(*value.text, offsets[i], offsets[i + 1]);
  return heap.MakeText(std::move(text));
}

}  // namespace lorikeet::jinja
