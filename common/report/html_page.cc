#include "common/report/html_page.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr char kStyle[] = R"css(
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --paper: #ffffff; --band: #f3f6f4; --accent: #1b7f5c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --soft: #9aa6b2; --line: #36404c; --paper: #161b21; --band: #1e252d; --accent: #53c69d; } }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 62rem; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.7rem; margin: 0 0 .5rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; }
p { max-width: 46rem; } .note { border-left: 4px solid var(--accent); background: var(--band); padding: .6rem .9rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; width: 100%; }
th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; } td { font-variant-numeric: tabular-nums; } td:first-child { white-space: nowrap; }
figure { margin: 1rem 0; overflow-x: auto; } figcaption { color: var(--soft); font-size: .88rem; max-width: 46rem; }
blockquote { margin: .8rem 0; padding: .5rem .9rem; background: var(--band); white-space: pre-wrap; font-size: .92rem; }
blockquote b { display: block; color: var(--soft); font-weight: 600; font-size: .82rem; }
.quotes { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(15rem, 100%), 1fr)); gap: .6rem; margin: .8rem 0; }
.quotes blockquote { margin: 0; } blockquote, td, p { overflow-wrap: anywhere; } pre { background: var(--band); padding: .6rem .9rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .88rem; }
.plot { width: 100%; min-width: 34rem; max-width: 46rem; height: auto; } .plot text { fill: var(--ink); font: 11px system-ui, sans-serif; }
.plot.narrow { display: none; min-width: 0; max-width: 30rem; } @media (max-width: 40rem) { .plot.narrow { display: block; } .plot.narrow ~ .plot { display: none; } }
.plot .tick { fill: var(--soft); } .plot .axis { font-size: 12px; } .plot .landmark { font-weight: 600; font-size: 12px; }
.mid { text-anchor: middle; } .end { text-anchor: end; } .grid { stroke: var(--line); stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke: currentColor; } .faint { stroke-width: 1; opacity: .5; } .fill { fill: currentColor; }
.s0 { color: #1b9e77; } .s1 { color: #d95f02; } .s2 { color: #7570b3; } .s3 { color: #e7298a; } .s4 { color: #66a61e; }
.s5 { color: #c79a00; } .s6 { color: #a6761d; } .s7 { color: #7f8892; } .s8 { color: #1f78b4; } .s9 { color: #b2182b; }
)css";

}  // namespace

std::string EscapeHtml(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped.push_back(c);
    }
  }
  return escaped;
}

HtmlPage::HtmlPage(std::string_view title) : title_(EscapeHtml(title)) {}

HtmlPage& HtmlPage::Heading(std::string_view text) {
  absl::StrAppend(&body_, "<h2>", EscapeHtml(text), "</h2>\n");
  return *this;
}

HtmlPage& HtmlPage::Paragraph(std::string_view text) {
  absl::StrAppend(&body_, "<p>", EscapeHtml(text), "</p>\n");
  return *this;
}

HtmlPage& HtmlPage::Note(std::string_view text) {
  absl::StrAppend(&body_, "<p class=\"note\">", EscapeHtml(text), "</p>\n");
  return *this;
}

HtmlPage& HtmlPage::Table(const std::vector<std::string>& header,
                          const std::vector<std::vector<std::string>>& rows) {
  absl::StrAppend(&body_, "<div class=\"scroll\"><table><thead><tr>");
  for (const auto& cell : header) absl::StrAppend(&body_, "<th>", EscapeHtml(cell), "</th>");
  absl::StrAppend(&body_, "</tr></thead><tbody>\n");
  for (const auto& row : rows) {
    absl::StrAppend(&body_, "<tr>");
    for (const auto& cell : row) absl::StrAppend(&body_, "<td>", EscapeHtml(cell), "</td>");
    absl::StrAppend(&body_, "</tr>\n");
  }
  absl::StrAppend(&body_, "</tbody></table></div>\n");
  return *this;
}

HtmlPage& HtmlPage::Quote(std::string_view caption, std::string_view text) {
  absl::StrAppend(&body_, "<blockquote><b>", EscapeHtml(caption), "</b>", EscapeHtml(text),
                  "</blockquote>\n");
  return *this;
}

HtmlPage& HtmlPage::Figure(std::string_view svg, std::string_view caption) {
  absl::StrAppend(&body_, "<figure>", ToAbsl(svg), "<figcaption>", EscapeHtml(caption),
                  "</figcaption></figure>\n");
  return *this;
}

HtmlPage& HtmlPage::Quotes(const std::vector<std::pair<std::string, std::string>>& quotes) {
  absl::StrAppend(&body_, "<div class=\"quotes\">\n");
  for (const auto& [caption, text] : quotes) Quote(caption, text);
  absl::StrAppend(&body_, "</div>\n");
  return *this;
}

HtmlPage& HtmlPage::Command(std::string_view command) {
  absl::StrAppend(&body_, "<pre>", EscapeHtml(command), "</pre>\n");
  return *this;
}

HtmlPage& HtmlPage::Figure(std::string_view wide, std::string_view narrow,
                           std::string_view caption) {
  // The narrow one comes first: the style sheet hides the sibling that follows it.
  std::string svg(narrow);
  constexpr std::string_view kClass = "class=\"plot";
  const size_t at = svg.find(kClass);
  LORIKEET_CHECK(at != std::string::npos);
  svg.insert(at + kClass.size(), " narrow");
  svg.append(wide);
  return Figure(svg, caption);
}

std::string HtmlPage::Render() const {
  return absl::StrCat("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">",
                      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
                      "<title>", title_, "</title><style>", kStyle, "</style></head>\n<body><h1>",
                      title_, "</h1>\n", body_, "</body></html>\n");
}

}  // namespace lorikeet
