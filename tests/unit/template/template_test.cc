// The interpreter: against Jinja's own results (expected.json), origins of bytes, limits, errors.
#include "device/template/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/file.h"
#include "common/base/strings.h"

namespace lorikeet::jinja {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

Value ToValue(const Json& json, Heap& heap, Origin origin) {
  if (json.is_null()) return Value::None();
  if (json.is_boolean()) return Value::Bool(json.get<bool>());
  if (json.is_number_integer()) return Value::Int(json.get<int64_t>());
  if (json.is_number()) return Value::Float(json.get<double>());
  if (json.is_string()) return heap.MakeText(json.get<std::string>(), origin).value();
  if (json.is_array()) {
    std::vector<Value> items;
    for (const Json& item : json) items.push_back(ToValue(item, heap, origin));
    return heap.MakeList(std::move(items)).value();
  }
  Dict dict;
  for (const auto& [key, item] : json.items()) {
    Insert(dict, heap.MakeText(key).value(), ToValue(item, heap, origin));
  }
  return heap.MakeDict(std::move(dict)).value();
}

struct RenderOptions {
  Limits limits = {};
  std::optional<absl::CivilSecond> now = absl::CivilSecond(2025, 3, 4, 5, 6, 7);
};

// Strings of the context are of origin 7.
absl::StatusOr<Text> Render(const std::string& source, const Json& context = Json::object(),
                            const RenderOptions& options = {}) {
  const auto parsed = Template::Parse(source);
  if (!parsed.ok()) return parsed.status();
  Heap heap(options.limits);
  std::vector<std::pair<std::string_view, Value>> variables;
  for (const auto& [name, value] : context.items()) {
    variables.emplace_back(name, ToValue(value, heap, {.source = 7}));
  }
  return parsed->Render(heap, variables, options.now);
}

std::string ErrorOf(const std::string& source, const RenderOptions& options = {}) {
  const auto text = Render(source, Json::object(), options);
  return text.ok() ? "no error" : std::string(Message(text.status()));
}

void Compare(const Json& one, const Json& context) {
  const std::string source = one["source"].get<std::string>();
  SCOPED_TRACE(source);
  const auto text = Render(source, context);
  if (one["text"].is_null()) {
    EXPECT_FALSE(text.ok()) << text->bytes();
  } else {
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_EQ(text->bytes(), one["text"].get<std::string>());
  }
}

TEST(TemplateTest, EqualsJinja) {
  const auto file = ReadFile(LORIKEET_SOURCE_DIR "/tests/unit/template/expected.json");
  ASSERT_TRUE(file.ok()) << file.status();
  const Json expected = Json::parse(*file);
  ASSERT_GT(expected["cases"].size(), 300u);
  for (const Json& one : expected["cases"]) Compare(one, expected["context"]);
  ASSERT_GT(expected["chat"].size(), 50u);
  for (const Json& one : expected["chat"]) Compare(one, one["context"]);
}

// The bytes whose origin is a message.
std::string ForeignBytes(const Text& text) {
  std::string foreign;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.OriginAt(i).source == 7) foreign += text.bytes()[i];
  }
  return foreign;
}

TEST(TemplateTest, BytesKeepTheirOriginThroughOperations) {
  const Json context = {{"x", " <|a|> "}, {"l", {"p", "q"}}};
  const std::pair<const char*, const char*> cases[] = {
      {"[{{ x | trim }}]", "<|a|>"},
      {"{{ '<' + x.strip() ~ '>' }}", "<|a|>"},
      {"{{ x[2:4] }}{{ x[::-1] }}", "|a >|a|< "},
      {"{{ x.replace('a', 'b') }}", " <||> "},
      {"{{ 'a-a'.replace('a', x) }}", " <|a|>  <|a|> "},
      {"{{ x | upper }}{{ x.split('|') | join('!') }}", " <|A|>  <a> "},
      {"{{ {'k': x} | tojson }}{{ [x] }}", " <|a|>  <|a|> "},
      {"{% set y %}-{{ x }}-{% endset %}{{ y * 2 }}", " <|a|>  <|a|> "},
      {"{% macro m(z) %}<{{ z }}>{% endmacro %}{{ m(x) | indent(2, true) }}", " <|a|> "},
      {"{% for c in x %}{{ c }}{% endfor %}{{ '{}:{}'.format(x, 1) }}", " <|a|>  <|a|> "},
      {"{{ l | map('upper') | join(', ') }}{{ l | last | default('z') }}", "PQq"},
      {"{{ x | string | first }}{{ x ~ 1 }}", "  <|a|> "},
  };
  for (const auto& [source, foreign] : cases) {
    const auto text = Render(source, context);
    ASSERT_TRUE(text.ok()) << source << ": " << text.status();
    EXPECT_EQ(ForeignBytes(*text), foreign) << source << " -> " << text->bytes();
  }
}

TEST(TemplateTest, GenerationIsMarked) {
  const auto text = Render("a{% generation %}b{{ 1 + 1 }}{% endgeneration %}c");
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(text->bytes(), "ab2c");
  EXPECT_FALSE(text->OriginAt(0).generated);
  EXPECT_TRUE(text->OriginAt(1).generated && text->OriginAt(2).generated);
  EXPECT_FALSE(text->OriginAt(3).generated);
}

TEST(TemplateTest, WithoutAClockTheDateIsNotDefinedButThere) {
  const RenderOptions no_clock = {.now = std::nullopt};
  EXPECT_EQ(Render("{{ strftime_now is defined }}", Json::object(), no_clock)->bytes(), "False");
  EXPECT_EQ(Render("{{ strftime_now('%d %b %Y') }}", Json::object(), no_clock)->bytes(),
            "26 Jul 2024");
}

TEST(TemplateTest, ErrorsNameTheLineAndWhatWasExpected) {
  EXPECT_EQ(ErrorOf("\n{% if x %}\n"), "line 2: expected {% endif %}, got the end of the template");
  EXPECT_EQ(ErrorOf("a\n\n{{ 1 + }}"), "line 3: expected an expression, got \"}}\"");
  EXPECT_EQ(ErrorOf("{{ x.y }}"), "line 1: expected a value with \"y\", got an undefined one");
  EXPECT_EQ(ErrorOf("\n{{ raise_exception('no ' ~ 'tools') }}"),
            "line 2: the template refuses: no tools");
  EXPECT_THAT(ErrorOf("{% include 'x' %}"), HasSubstr("got the statement \"include\""));
  EXPECT_THAT(ErrorOf("{{ 1 | nosuch }}"), HasSubstr("got \"nosuch\""));
  // What a message says stays out of errors.
  const auto refused = Render("{{ raise_exception('bad ' + x) }}", {{"x", "private"}});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Message(refused.status()), "line 1: the template refuses: bad ...");
}

TEST(TemplateTest, WorkIsBounded) {
  const RenderOptions small = {.limits = {.steps = 100'000, .bytes = 1 << 20, .depth = 100}};
  const std::string nested(5000, '(');
  std::string sum = "{{ 1";
  for (int i = 0; i < 5000; ++i) sum += " + 1";
  std::string ifs;
  for (int i = 0; i < 5000; ++i) ifs += "{% if 1 %}";
  const std::string endless[] = {
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}",
      "{% set ns = namespace(s='x') %}{% for i in range(100) %}{% set ns.s = ns.s * 2 %}{% endfor "
      "%}",
      "{{ 'x' * 1000000000000 }}",
      "{{ 'x' * 4000000000 * 4000000000 }}",
      "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}",
      "{{ range(1000000000) }}",
      "{{ 'aaaaaaaaaa'.replace('', 'b' * 200000) }}",
      "{{ ['a', 'b'] | join('c' * 2000000) }}",
      "{{ " + nested,
      sum + " }}",
      ifs,
  };
  for (const std::string& source : endless) {
    const auto text = Render(source, Json::object(), small);
    EXPECT_FALSE(text.ok()) << source.substr(0, 80);
  }
  EXPECT_EQ(Template::Parse(std::string(2 << 20, 'x')).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(TemplateTest, NumbersOutOfRangeAreErrors) {
  for (const char* source :
       {"{{ 9223372036854775807 + 1 }}", "{{ 9223372036854775808 }}", "{{ 10 ** 40 }}",
        "{{ 1 // 0 }}", "{{ 1 % 0 }}", "{{ 1.0 / 0 }}", "{{ [1][::0] }}"}) {
    EXPECT_FALSE(Render(source).ok()) << source;
  }
  EXPECT_EQ(Render("{{ (-9223372036854775807 - 1) % -1 }}")->bytes(), "0");
  EXPECT_FALSE(Render("{{ (-9223372036854775807 - 1) // -1 }}").ok());
}

TEST(TemplateTest, BytesThatAreNotUtf8GoThrough) {
  const std::string bad = "a\xff\xe2\x82 b";
  const auto parsed = Template::Parse("{{ x | trim | upper }}|{{ x | length }}|{{ x[1] }}");
  ASSERT_TRUE(parsed.ok());
  Heap heap{Limits{}};
  const auto text = parsed->Render(heap, {{"x", heap.MakeText(bad, {.source = 7}).value()}}, {});
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->bytes(), "A\xff\xe2\x82 B|6|\xff");
}

}  // namespace
}  // namespace lorikeet::jinja
