// Plots as inline SVG: lines, grouped bars, labelled points.  Colours come from the page's style
// (classes s0..s9).
#ifndef LORIKEET_COMMON_REPORT_SVG_PLOT_H_
#define LORIKEET_COMMON_REPORT_SVG_PLOT_H_

#include <string>
#include <vector>

namespace lorikeet {

struct PlotPoint {
  double x = 0;
  double y = 0;
};

struct PlotAxes {
  std::string x_label = {};
  std::string y_label = {};
  bool y_from_zero = false;
  bool whole_x = false;  // x counts something: no ticks between whole numbers
  int width = 640;
  int height = 320;
};

// A vertical bar, such as an interval around a point.
struct PlotRange {
  double x = 0;
  double low = 0;
  double high = 0;
};

struct LineSeries {
  std::string name;
  std::vector<PlotPoint> points;       // non-finite ones are left out
  bool faint = false;                  // beside lines that matter more
  bool dots = false;                   // points without a line
  std::vector<PlotRange> ranges = {};  // drawn behind
};
// One line a series (a single point: a dot), with a legend and round axis ticks.  Empty series make
// an empty frame.
std::string LinePlot(const std::vector<LineSeries>& series, const PlotAxes& axes);

struct BarGroup {
  std::string name;
  std::vector<double> values;  // one for each of `bar_names`
};
std::string BarPlot(const std::vector<BarGroup>& groups, const std::vector<std::string>& bar_names,
                    const PlotAxes& axes);

struct ScatterPoint {
  std::string name;
  double x = 0;
  double y = 0;
  int style = 0;       // colour class
  bool large = false;  // a landmark
};
// Labelled points without ticks: positions mean distances, not values.  Names do not cover each
// other; one for which there is no room is left to the tooltip.  Large points get theirs first, and
// earlier points before later ones.
std::string ScatterPlot(const std::vector<ScatterPoint>& points, const PlotAxes& axes);

// About `count` round numbers that cover [low, high].
std::vector<double> RoundTicks(double low, double high, int count);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_REPORT_SVG_PLOT_H_
