// A self-contained HTML page: no script, no link, no font from elsewhere; readable on a phone and
// in the dark.
#ifndef LORIKEET_COMMON_REPORT_HTML_PAGE_H_
#define LORIKEET_COMMON_REPORT_HTML_PAGE_H_

#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

std::string EscapeHtml(std::string_view text);

class HtmlPage {
 public:
  explicit HtmlPage(std::string_view title);

  // All text is escaped.
  HtmlPage& Heading(std::string_view text);
  HtmlPage& Paragraph(std::string_view text);
  HtmlPage& Note(std::string_view text);  // a paragraph that stands out
  HtmlPage& Table(const std::vector<std::string>& header,
                  const std::vector<std::vector<std::string>>& rows);
  HtmlPage& Quote(std::string_view caption, std::string_view text);  // generated text
  // An SVG made by svg_plot.h, with a caption.  Not escaped.
  HtmlPage& Figure(std::string_view svg, std::string_view caption);

  std::string Render() const;

 private:
  std::string title_;
  std::string body_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_REPORT_HTML_PAGE_H_
