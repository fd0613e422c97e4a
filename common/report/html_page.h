// A self-contained HTML page: no script, no link, no font from elsewhere; readable on a phone and
// in the dark.
#ifndef LORIKEET_COMMON_REPORT_HTML_PAGE_H_
#define LORIKEET_COMMON_REPORT_HTML_PAGE_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lorikeet {

std::string EscapeHtml(std::string_view text);

// PlotAxes::width of a plot that fits a phone without being shrunk much.
inline constexpr int kNarrowPlotWidth = 360;

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
  // Texts to be compared: beside each other where there is room.  Captions and texts.
  HtmlPage& Quotes(const std::vector<std::pair<std::string, std::string>>& quotes);
  // A command to be copied: one line, in fixed width, broken where it does not fit.
  HtmlPage& Command(std::string_view command);
  // An SVG made by svg_plot.h, with a caption.  Not escaped.
  HtmlPage& Figure(std::string_view svg, std::string_view caption);
  // The same plot drawn twice: `narrow` (see kNarrowPlotWidth) is shown on a phone, where a wide
  // one would have to be scrolled or shrunk beyond reading.
  HtmlPage& Figure(std::string_view wide, std::string_view narrow, std::string_view caption);

  std::string Render() const;

 private:
  std::string title_;
  std::string body_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_REPORT_HTML_PAGE_H_
