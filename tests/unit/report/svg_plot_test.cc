#include "common/report/svg_plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <regex>

#include "common/base/random.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Label {
  double x = 0, y = 0;
  std::string text;
};

// Every centred text of a plot.
std::vector<Label> Labels(const std::string& svg) {
  const std::regex pattern(
      "<text class=\"(landmark|tick) mid\" x=\"([0-9.-]+)\" y=\"([0-9.-]+)\">"
      "([^<]*)</text>");
  std::vector<Label> labels;
  for (auto it = std::sregex_iterator(svg.begin(), svg.end(), pattern);
       it != std::sregex_iterator(); ++it) {
    labels.push_back({std::stod((*it)[2]), std::stod((*it)[3]), (*it)[4]});
  }
  return labels;
}

TEST(LinePlotTest, DotsHaveNoLineAndRangesFitTheFrame) {
  const LineSeries dots{.name = "d", .points = {{0, 1}, {1, 2}}, .dots = true};
  const LineSeries line{.name = "l", .points = {{0, 1}, {1, 2}}, .ranges = {{1, -50, 40}}};
  const std::string svg = LinePlot({dots, line}, {});
  const auto count = [&](const std::string& word) {
    int found = 0;
    for (size_t at = svg.find(word); at != std::string::npos; at = svg.find(word, at + 1)) ++found;
    return found;
  };
  EXPECT_EQ(count("<circle"), 2);
  EXPECT_EQ(count("<polyline"), 1);
  EXPECT_EQ(count("line faint s1"), 1);
  EXPECT_THAT(svg, HasSubstr(">-40</text>"));  // a tick: the range is inside
}

TEST(ScatterPlotTest, NamesDoNotCoverEachOther) {
  Rng rng(1);
  std::vector<ScatterPoint> points = {{"you", 0.5, 0.5, 1, true}};
  for (int i = 0; i < 80; ++i) {
    points.push_back({"persona_" + std::to_string(i), rng.Uniform(), rng.Uniform(), 0, false});
  }
  const std::vector<Label> labels = Labels(ScatterPlot(points, {.width = 360, .height = 300}));
  ASSERT_GT(labels.size(), 10u);
  EXPECT_LT(labels.size(), points.size());  // there is no room for all
  EXPECT_EQ(labels[0].text, "you");         // large ones come first
  for (size_t i = 0; i < labels.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const double apart = 2.5 * static_cast<double>(labels[i].text.size() + labels[j].text.size());
      EXPECT_TRUE(std::abs(labels[i].y - labels[j].y) >= 11 ||
                  std::abs(labels[i].x - labels[j].x) >= apart)
          << labels[i].text << " covers " << labels[j].text;
    }
    const double half = 2.5 * static_cast<double>(labels[i].text.size());
    EXPECT_GE(labels[i].x - half, 0) << labels[i].text;
    EXPECT_LE(labels[i].x + half, 360) << labels[i].text;
  }
}

TEST(ScatterPlotTest, EveryPointHasItsNameAsATooltip) {
  std::vector<ScatterPoint> points;
  for (int i = 0; i < 30; ++i) points.push_back({"p" + std::to_string(i) + "!", 0, 0, 0, false});
  const std::string svg = ScatterPlot(points, {.width = 360});
  for (const auto& point : points) EXPECT_THAT(svg, HasSubstr("<title>" + point.name + "</title>"));
}

TEST(LinePlotTest, ALegendOfLongNamesIsBrokenIntoRows) {
  const std::vector<LineSeries> lines = {{"a name of thirty letters or so", {{0, 1}}},
                                         {"another name of some length", {{0, 2}}}};
  EXPECT_THAT(LinePlot(lines, {.width = 360, .height = 200}), HasSubstr("viewBox=\"0 0 360 236\""));
  EXPECT_THAT(LinePlot(lines, {.width = 640, .height = 200}), HasSubstr("viewBox=\"0 0 640 218\""));
}

TEST(LinePlotTest, NumbersThatAreNotFiniteAreLeftOut) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string svg = LinePlot({{"line", {{0, 1}, {1, nan}, {2, 3}}}}, {});
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(BarPlotTest, NothingIsAFrame) {
  EXPECT_THAT(BarPlot({}, {}, {}), HasSubstr("</svg>"));
  EXPECT_THAT(ScatterPlot({}, {}), HasSubstr("</svg>"));
}

}  // namespace
}  // namespace lorikeet
