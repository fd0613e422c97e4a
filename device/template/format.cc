// How values print: str() and repr() of Python, and json.dumps.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/tokenizer/unicode.h"
#include "device/template/value.h"

namespace lorikeet::jinja {
namespace {

constexpr int kMaxNesting = 100;

absl::Status TooDeep() {
  return absl::InvalidArgumentError(
      absl::StrCat("expected values nested at most ", kMaxNesting, " deep, got deeper ones"));
}

// One run of `text` at a time through `append`, so that every piece keeps its origin.
template <typename Append>
void ForEachRun(const Text& text, Append append) {
  size_t begin = 0;
  for (const Text::Run& run : text.runs()) {
    append(std::string_view(text.bytes()).substr(begin, run.end - begin), run.origin);
    begin = run.end;
  }
}

void AppendRepr(const Text& text, Text& out) {
  const std::string& bytes = text.bytes();
  const char quote =
      bytes.find('\'') != std::string::npos && bytes.find('"') == std::string::npos ? '"' : '\'';
  const std::string_view mark(&quote, 1);
  out.Append(mark, {});
  ForEachRun(text, [&](std::string_view part, Origin origin) {
    std::string escaped;
    for (const char c : part) {
      const auto byte = static_cast<uint8_t>(c);
      if (c == quote || c == '\\') {
        escaped += {'\\', c};
      } else if (c == '\n' || c == '\r' || c == '\t') {
        escaped += {'\\', c == '\n' ? 'n' : c == '\r' ? 'r' : 't'};
      } else if (byte < 0x20 || byte == 0x7f) {
        absl::StrAppendFormat(&escaped, "\\x%02x", byte);
      } else {
        escaped += c;
      }
    }
    out.Append(escaped, origin);
  });
  out.Append(mark, {});
}

void AppendJsonString(const Text& text, bool ascii, Text& out) {
  constexpr std::string_view kPlain = "\"\\\n\r\t\b\f", kEscaped = "\"\\nrtbf";
  out.Append("\"", {});
  ForEachRun(text, [&](std::string_view part, Origin origin) {
    std::string escaped;
    for (size_t i = 0; i < part.size();) {
      const Char c = CharAt(part, i);
      if (const size_t at = c.code < 0x80 ? kPlain.find(part[i]) : std::string_view::npos;
          at != std::string_view::npos) {
        escaped += {'\\', kEscaped[at]};
      } else if (c.code < 0x20 || (ascii && c.code >= 0x80 && c.code < 0x10000)) {
        absl::StrAppendFormat(&escaped, "\\u%04x", c.code);
      } else if (ascii && c.code >= 0x10000 && c.code != kBadByte) {
        const uint32_t rest = c.code - 0x10000;
        absl::StrAppendFormat(&escaped, "\\u%04x\\u%04x", 0xd800 + (rest >> 10),
                              0xdc00 + (rest & 0x3ff));
      } else {
        escaped.append(part.substr(i, c.size));
      }
      i += c.size;
    }
    out.Append(escaped, origin);
  });
  out.Append("\"", {});
}

class Printer {
 public:
  Printer(Heap& heap, Text& out) : heap_(heap), out_(out) {}

  absl::Status Repr(const Value& value, int depth) {
    RETURN_IF_ERROR(heap_.Charge(16));
    if (depth > kMaxNesting) return TooDeep();
    if (value.is(Kind::kString)) {
      RETURN_IF_ERROR(heap_.Charge(static_cast<int64_t>(value.text->size())));
      AppendRepr(*value.text, out_);
      return absl::OkStatus();
    }
    if (value.is(Kind::kList)) return ReprList(*value.list, depth);
    if (value.is(Kind::kDict)) return ReprDict(*value.dict, depth);
    out_.Append(value.is(Kind::kUndefined) ? "Undefined" : Scalar(value), {});
    return absl::OkStatus();
  }

  // Everything but strings, lists and dicts.
  static std::string Scalar(const Value& value) {
    switch (value.kind) {
      case Kind::kUndefined:
        return "";
      case Kind::kNone:
        return "None";
      case Kind::kBool:
        return value.boolean ? "True" : "False";
      case Kind::kInt:
        return absl::StrCat(value.integer);
      case Kind::kFloat:
        return FloatString(value.real);
      default:
        return absl::StrCat("<", ToAbsl(KindName(value.kind)), ">");
    }
  }

 private:
  absl::Status ReprList(const List& list, int depth) {
    out_.Append(list.is_tuple ? "(" : "[", {});
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_.Append(", ", {});
      RETURN_IF_ERROR(Repr(list.items[i], depth + 1));
    }
    if (list.is_tuple && list.items.size() == 1) out_.Append(",", {});
    out_.Append(list.is_tuple ? ")" : "]", {});
    return absl::OkStatus();
  }

  absl::Status ReprDict(const Dict& dict, int depth) {
    out_.Append("{", {});
    for (size_t i = 0; i < dict.items.size(); ++i) {
      if (i > 0) out_.Append(", ", {});
      RETURN_IF_ERROR(Repr(dict.items[i].first, depth + 1));
      out_.Append(": ", {});
      RETURN_IF_ERROR(Repr(dict.items[i].second, depth + 1));
    }
    out_.Append("}", {});
    return absl::OkStatus();
  }

  Heap& heap_;
  Text& out_;
};

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Heap& heap, Text& out)
      : style_(style), heap_(heap), out_(out) {}

  absl::Status Write(const Value& value, int depth) {
    RETURN_IF_ERROR(heap_.Charge(16));
    if (depth > kMaxNesting) return TooDeep();
    switch (value.kind) {
      case Kind::kString:
        RETURN_IF_ERROR(heap_.Charge(static_cast<int64_t>(value.text->size())));
        AppendJsonString(*value.text, style_.ascii, out_);
        return absl::OkStatus();
      case Kind::kList:
        return WriteList(*value.list, depth);
      case Kind::kDict:
        return WriteDict(*value.dict, depth);
      case Kind::kNone:
      case Kind::kBool:
      case Kind::kInt:
      case Kind::kFloat:
        out_.Append(Scalar(value), {});
        return absl::OkStatus();
      default:
        return absl::InvalidArgumentError(absl::StrCat(
            "tojson: expected a value that JSON can write, got ", ToAbsl(KindName(value.kind))));
    }
  }

 private:
  static std::string Scalar(const Value& value) {
    if (value.is(Kind::kNone)) return "null";
    if (value.is(Kind::kBool)) return value.boolean ? "true" : "false";
    if (value.is(Kind::kInt)) return absl::StrCat(value.integer);
    if (std::isnan(value.real)) return "NaN";
    if (std::isinf(value.real)) return value.real > 0 ? "Infinity" : "-Infinity";
    return FloatString(value.real);
  }

  absl::Status Break(int depth) {
    if (style_.indent < 0) return absl::OkStatus();
    const int64_t spaces = int64_t{style_.indent} * depth;
    RETURN_IF_ERROR(heap_.Charge(spaces));
    out_.Append("\n" + std::string(static_cast<size_t>(spaces), ' '), {});
    return absl::OkStatus();
  }

  absl::Status WriteList(const List& list, int depth) {
    if (list.items.empty()) {
      out_.Append("[]", {});
      return absl::OkStatus();
    }
    out_.Append("[", {});
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_.Append(style_.item_separator, {});
      RETURN_IF_ERROR(Break(depth + 1));
      RETURN_IF_ERROR(Write(list.items[i], depth + 1));
    }
    RETURN_IF_ERROR(Break(depth));
    out_.Append("]", {});
    return absl::OkStatus();
  }

  absl::Status WriteDict(const Dict& dict, int depth) {
    if (dict.items.empty()) {
      out_.Append("{}", {});
      return absl::OkStatus();
    }
    std::vector<std::pair<Value, Value>> items = dict.items;
    if (style_.sort_keys) {
      std::stable_sort(items.begin(), items.end(), [](const auto& a, const auto& b) {
        return Less(a.first, b.first).value_or(false);
      });
    }
    out_.Append("{", {});
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_.Append(style_.item_separator, {});
      RETURN_IF_ERROR(Break(depth + 1));
      // Keys that are no strings become strings.
      const bool is_string = items[i].first.is(Kind::kString);
      if (!is_string) out_.Append("\"", {});
      RETURN_IF_ERROR(Write(items[i].first, depth + 1));
      if (!is_string) out_.Append("\"", {});
      out_.Append(style_.key_separator, {});
      RETURN_IF_ERROR(Write(items[i].second, depth + 1));
    }
    RETURN_IF_ERROR(Break(depth));
    out_.Append("}", {});
    return absl::OkStatus();
  }

  const JsonStyle& style_;
  Heap& heap_;
  Text& out_;
};

}  // namespace

absl::Status AppendString(const Value& value, Heap& heap, Text& out) {
  if (value.is(Kind::kString)) {
    RETURN_IF_ERROR(heap.Charge(static_cast<int64_t>(value.text->size())));
    out.Append(*value.text);
    return absl::OkStatus();
  }
  if (value.is(Kind::kList) || value.is(Kind::kDict)) return Printer(heap, out).Repr(value, 0);
  out.Append(Printer::Scalar(value), {});
  return absl::OkStatus();
}

std::string FloatString(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  // Shortest digits d.ddde+XX, laid out as Python does: plain for exponents in [-4, 16).
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  const std::string_view written(buffer, static_cast<size_t>(end.ptr - buffer));
  const size_t e = written.find('e');
  const int exponent = std::atoi(std::string(written.substr(e + 1)).c_str());
  std::string sign, digits;
  for (const char c : written.substr(0, e)) {
    if (c == '-') sign = "-";
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < -4 || exponent >= 16) {
    if (digits.size() > 1) digits.insert(1, ".");
    return absl::StrFormat("%s%se%c%02d", sign, digits, exponent < 0 ? '-' : '+',
                           std::abs(exponent));
  }
  if (exponent < 0) {
    return absl::StrCat(sign, "0.", std::string(static_cast<size_t>(-exponent - 1), '0'), digits);
  }
  const auto point = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= point) digits.append(point + 1 - digits.size(), '0');
  return absl::StrCat(sign, digits.substr(0, point), ".", digits.substr(point));
}

absl::Status AppendJson(const Value& value, const JsonStyle& style, Heap& heap, Text& out) {
  return JsonWriter(style, heap, out).Write(value, 0);
}

}  // namespace lorikeet::jinja
