#include "common/report/html_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/report/svg_plot.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(HtmlPageTest, TextIsEscapedEverywhere) {
  const std::string bad = "<script>alert(\"1\") & more</script>";
  const std::string page = HtmlPage(bad)
                               .Heading(bad)
                               .Paragraph(bad)
                               .Note(bad)
                               .Table({bad}, {{bad}})
                               .Quote(bad, bad)
                               .Quotes({{bad, bad}})
                               .Command(bad)
                               .Figure(LinePlot({{bad, {{0, 1}}}}, {.x_label = bad}), bad)
                               .Render();
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(&quot;1&quot;) &amp; more"));
}

TEST(HtmlPageTest, NeedsNothingFromElsewhere) {
  const std::string page = HtmlPage("title").Paragraph("text").Render();
  for (const char* outside : {"http:", "https:", "url(", "@import", "<link", "src="}) {
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  }
}

TEST(HtmlPageTest, ANarrowPlotStandsBeforeTheWideOne) {
  const std::string wide = LinePlot({{"wide", {{0, 1}, {1, 2}}}}, {.width = 640});
  const std::string narrow = LinePlot({{"narrow", {{0, 1}, {1, 2}}}}, {.width = kNarrowPlotWidth});
  const std::string page = HtmlPage("title").Figure(wide, narrow, "caption").Render();
  const size_t first = page.find("<svg class=\"plot narrow\" viewBox=\"0 0 360");
  const size_t second = page.find("<svg class=\"plot\" viewBox=\"0 0 640");
  ASSERT_NE(first, std::string::npos);
  ASSERT_NE(second, std::string::npos);
  EXPECT_LT(first, second);
}

}  // namespace
}  // namespace lorikeet
