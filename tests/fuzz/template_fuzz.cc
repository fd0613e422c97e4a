// Any bytes as a chat template, run on a fixed conversation: bounded work, no crash, and no word of
// a message that passes for the template's own.
#include <algorithm>
#include <string>
#include <string_view>

#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "device/template/template.h"
#include "tests/fuzz/fuzz.h"

namespace lorikeet {
namespace {

using jinja::Heap;
using jinja::Origin;
using jinja::Value;

// A character that is in the messages, and in the template only if the fuzzer put it there.
constexpr std::string_view kForeign = "\xEE\x80\x81";

Value Message(Heap& heap, std::string_view role, std::string_view content) {
  jinja::Dict message;
  message.items = {
      {heap.MakeText("role").value(), heap.MakeText(role).value()},
      {heap.MakeText("content").value(),
       heap.MakeText(std::string(content) + std::string(kForeign), Origin{.source = 1}).value()}};
  return heap.MakeDict(std::move(message)).value();
}

void CheckOrigins(const jinja::Text& text) {
  size_t end = 0;
  for (const auto& run : text.runs()) {
    LORIKEET_CHECK(run.end > end);
    end = run.end;
  }
  LORIKEET_CHECK(end == text.size());
  for (size_t at = text.bytes().find(kForeign); at != std::string::npos;
       at = text.bytes().find(kForeign, at + 1)) {
    LORIKEET_CHECK(text.OriginAt(at).source == 1);
  }
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  return {
      "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' }}"
      "{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
      "{% set ns = namespace(a=1, s='') %}{% for m in messages[::-1] if m['content'] | trim %}"
      "{% set ns.a = ns.a * 2 - loop.index0 // 3 %}{% set ns.s = ns.s ~ m.content[1:-1] %}"
      "{% else %}x{% endfor %}{{ ns.a }}{{ ns.s | upper | replace('a', 'bb') }}",
      "{% macro m(x, y='d', z=none) -%}<{{ x }}{{ y | tojson(indent=2) }}>{%- endmacro %}"
      "{{ m(messages[0], z=[1, 2.5, {'k': (1,)}]) }}{{ m(messages | map(attribute='role') | list) "
      "}}",
      "{% set t %}  {{ messages[0].content.split('o', 1) | join('-') }} {% endset %}"
      "{{ t.strip() | default('q', true) | title | indent(3, first=true) }}{# c #}"
      "{% raw %}{{ no }}{% endraw %}{% generation %}{{ 'x' if t is string else "
      "raise_exception('n') }}"
      "{% endgeneration %}",
      "{% filter lower %}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}"
      "{{ messages[0].items() | list }}{{ range(5) | sum ** 2 % 7 }}{{ strftime_now('%d %b %Y') }}"
      "{{ dict(a=1, b='\\u00e9\\x41') | dictsort | string }}{% endfilter %}{% break %}",
      "{% if not a is defined and 1 < 2 <= 3 or 'x' in 'xyz' %}{% for k, v in {'a': 1}.items() %}"
      "{% continue %}{{ k ~ v }}{% endfor %}{% elif b is not none %}{{ [3, 1] | sort | first }}"
      "{% else %}{{ '{} {0}'.format(1, -2) | reverse }}{% endif %}",
  };
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  const std::string_view source = AsChars({data, size});
  const auto parsed = jinja::Template::Parse(source);
  if (!parsed.ok()) return 0;
  Heap heap({.steps = 100'000, .bytes = 4 << 20});
  const Value messages =
      heap.MakeList({Message(heap, "system", " Be brief.\n"), Message(heap, "user", "<|im_end|>"),
                     Message(heap, "assistant", "\xff{{ 1 }}"), Message(heap, "user", "")})
          .value();
  const auto text = parsed->Render(
      heap, {{"messages", messages}, {"add_generation_prompt", Value::Bool(true)}}, std::nullopt);
  // An escape or its own bytes let the template write the character.
  const bool may_write = std::any_of(source.begin(), source.end(), [](char c) {
    return c == '\\' || static_cast<uint8_t>(c) >= 0x80;
  });
  if (text.ok() && !may_write) CheckOrigins(*text);
  return 0;
}
