#include "common/report/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/report/html_page.h"

namespace lorikeet {
namespace {

constexpr int kLeft = 62, kRight = 16, kTop = 14, kBottom = 44;
constexpr int kLegendRow = 18;
constexpr int kMaxLegendColumns = 5;
constexpr double kTickLetter = 6.0, kLandmarkLetter = 7.0;  // widths, on the large side

double TextWidth(std::string_view text, double letter) {
  // Bytes that continue a UTF-8 character have no width.
  return letter * static_cast<double>(std::ranges::count_if(
                      text, [](unsigned char c) { return (c & 0xC0) != 0x80; }));
}

int LegendColumns(const std::vector<std::string>& names, const PlotAxes& axes) {
  double widest = 1;
  for (const std::string& name : names) widest = std::max(widest, TextWidth(name, kTickLetter));
  return std::clamp(static_cast<int>((axes.width - kLeft - kRight) / (widest + 27)), 1,
                    kMaxLegendColumns);
}

int LegendRows(const std::vector<std::string>& names, const PlotAxes& axes) {
  const size_t columns = static_cast<size_t>(LegendColumns(names, axes));
  return static_cast<int>((names.size() + columns - 1) / columns);
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Add(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  // Never empty, never of zero width.
  void Settle() {
    if (low > high) low = 0, high = 1;
    if (low == high) low -= 0.5, high += 0.5;
  }
};

// Maps data to pixels inside the frame.
class Frame {
 public:
  Frame(Range x, Range y, const PlotAxes& axes, int legend_rows)
      : x_(x),
        y_(y),
        axes_(axes),
        bottom_(axes.height - kBottom),
        height_(axes.height + legend_rows * kLegendRow) {}

  double X(double value) const {
    return kLeft + (value - x_.low) / (x_.high - x_.low) * (axes_.width - kLeft - kRight);
  }
  double Y(double value) const {
    return bottom_ - (value - y_.low) / (y_.high - y_.low) * (bottom_ - kTop);
  }
  int bottom() const { return bottom_; }

  std::string Open() const {
    return absl::StrFormat(
        "<svg class=\"plot\" viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">", axes_.width,
        height_, EscapeHtml(absl::StrCat(axes_.y_label, " by ", axes_.x_label)));
  }
  std::string YGrid() const {
    std::string svg;
    for (const double tick : RoundTicks(y_.low, y_.high, 5)) {
      if (tick < y_.low || tick > y_.high) continue;
      absl::StrAppendFormat(&svg,
                            "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>",
                            kLeft, axes_.width - kRight, Y(tick), Y(tick));
      absl::StrAppendFormat(&svg, "<text class=\"tick end\" x=\"%d\" y=\"%.1f\">%g</text>",
                            kLeft - 6, Y(tick) + 4, tick);
    }
    return svg;
  }
  std::string XTicks() const {
    std::string svg;
    for (const double tick : RoundTicks(x_.low, x_.high, axes_.width / 90)) {
      if (tick < x_.low || tick > x_.high) continue;
      if (axes_.whole_x && tick != std::round(tick)) continue;
      absl::StrAppendFormat(&svg, "<text class=\"tick mid\" x=\"%.1f\" y=\"%d\">%g</text>", X(tick),
                            bottom_ + 16, tick);
    }
    return svg;
  }
  std::string Labels() const {
    return absl::StrFormat(
        "<text class=\"axis mid\" x=\"%d\" y=\"%d\">%s</text>"
        "<text class=\"axis mid\" transform=\"rotate(-90)\" x=\"%d\" y=\"14\">%s</text>",
        (kLeft + axes_.width - kRight) / 2, bottom_ + 36, EscapeHtml(axes_.x_label),
        -(kTop + bottom_) / 2, EscapeHtml(axes_.y_label));
  }
  std::string Legend(const std::vector<std::string>& names) const {
    std::string svg;
    const int columns = LegendColumns(names, axes_);
    for (size_t i = 0; i < names.size(); ++i) {
      const int column = static_cast<int>(i) % columns, row = static_cast<int>(i) / columns;
      const int x = kLeft + column * (axes_.width - kLeft - kRight) / columns;
      const int y = axes_.height + row * kLegendRow;
      absl::StrAppendFormat(
          &svg, "<rect class=\"fill s%d\" x=\"%d\" y=\"%d\" width=\"12\" height=\"4\"/>", i % 10, x,
          y);
      absl::StrAppendFormat(&svg, "<text class=\"tick\" x=\"%d\" y=\"%d\">%s</text>", x + 17, y + 6,
                            EscapeHtml(names[i]));
    }
    return svg;
  }

 private:
  Range x_, y_;
  PlotAxes axes_;
  int bottom_;
  int height_;
};

struct Box {
  double left = 0, top = 0, right = 0, bottom = 0;

  bool Meets(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
};

// Finds room for the names of points: names do not cover each other, nor dots.
class LabelPlacer {
 public:
  LabelPlacer(int width, int height)
      : frame_{2, 2, static_cast<double>(width - 2), static_cast<double>(height - 2)} {}

  void AddDot(double x, double y, int radius) {
    taken_.push_back({x - radius, y - radius, x + radius, y + radius});
  }
  // Above, beside, below, or left of the point, further off if need be; empty where there is no
  // room at all.
  std::string Label(const ScatterPoint& point, double x, double y) {
    const double letter = point.large ? kLandmarkLetter : kTickLetter;
    const double half = TextWidth(point.name, letter) / 2, r = point.large ? 9 : 6;
    for (const double off : {0.0, 9.0, 18.0}) {
      const PlotPoint centers[] = {{x, y - r - 7 - off},
                                   {x + r + 2 + half + off, y},
                                   {x, y + r + 7 + off},
                                   {x - r - 2 - half - off, y}};
      for (const PlotPoint& c : centers) {
        const Box box = {c.x - half, c.y - 6.5, c.x + half, c.y + 6.5};
        if (!Free(box)) continue;
        taken_.push_back(box);
        return absl::StrFormat("<text class=\"%s mid\" x=\"%.1f\" y=\"%.1f\">%s</text>",
                               point.large ? "landmark" : "tick", c.x, c.y + 4,
                               EscapeHtml(point.name));
      }
    }
    return "";
  }

 private:
  bool Free(const Box& box) const {
    if (box.left < frame_.left || box.right > frame_.right || box.top < frame_.top ||
        box.bottom > frame_.bottom) {
      return false;
    }
    return std::ranges::none_of(taken_, [&](const Box& other) { return other.Meets(box); });
  }

  Box frame_;
  std::vector<Box> taken_;
};

}  // namespace

std::vector<double> RoundTicks(double low, double high, int count) {
  const double raw = (high - low) / std::max(1, count);
  if (!(raw > 0) || !std::isfinite(raw)) return {low};
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double fraction = raw / power;
  const double step = power * (fraction <= 1 ? 1 : fraction <= 2 ? 2 : fraction <= 5 ? 5 : 10);
  std::vector<double> ticks;
  for (double i = std::floor(low / step); i * step <= high + step / 2; ++i)
    ticks.push_back(i * step);
  return ticks;
}

namespace {

std::string RangeBars(const std::vector<PlotRange>& ranges, size_t series, const Frame& frame) {
  std::string svg;
  for (const auto& range : ranges) {
    if (!std::isfinite(range.low) || !std::isfinite(range.high)) continue;
    absl::StrAppendFormat(
        &svg, "<line class=\"line faint s%d\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>",
        series % 10, frame.X(range.x), frame.X(range.x), frame.Y(range.low), frame.Y(range.high));
  }
  return svg;
}

}  // namespace

std::string LinePlot(const std::vector<LineSeries>& series, const PlotAxes& axes) {
  Range x, y;
  if (axes.y_from_zero) y.Add(0);
  std::vector<std::string> names;
  for (const auto& line : series) {
    names.push_back(line.name);
    for (const auto& point : line.points) {
      x.Add(point.x);
      y.Add(point.y);
    }
    for (const auto& range : line.ranges) {
      y.Add(range.low);
      y.Add(range.high);
    }
  }
  x.Settle();
  y.Settle();
  const Frame frame(x, y, axes, LegendRows(names, axes));
  std::string svg = absl::StrCat(frame.Open(), frame.YGrid(), frame.XTicks(), frame.Labels());
  for (size_t i = 0; i < series.size(); ++i) {
    svg += RangeBars(series[i].ranges, i, frame);
    std::string path, dots;
    int drawn = 0;
    for (const auto& point : series[i].points) {
      if (!std::isfinite(point.x) || !std::isfinite(point.y)) continue;
      absl::StrAppendFormat(&path, "%.1f,%.1f ", frame.X(point.x), frame.Y(point.y));
      absl::StrAppendFormat(&dots, "<circle class=\"fill s%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>",
                            i % 10, frame.X(point.x), frame.Y(point.y));
      ++drawn;
    }
    if (series[i].dots || drawn == 1) {
      svg += dots;
      continue;
    }
    absl::StrAppendFormat(
        &svg, "<polyline class=\"line s%d%s\" points=\"%s\"><title>%s</title></polyline>", i % 10,
        series[i].faint ? " faint" : "", path, EscapeHtml(series[i].name));
  }
  return absl::StrCat(svg, frame.Legend(names), "</svg>");
}

std::string BarPlot(const std::vector<BarGroup>& groups, const std::vector<std::string>& bar_names,
                    const PlotAxes& axes) {
  Range y;
  if (axes.y_from_zero) y.Add(0);
  for (const auto& group : groups) {
    for (const double value : group.values) y.Add(value);
  }
  y.Settle();
  if (!axes.y_from_zero) y.low -= 0.15 * (y.high - y.low);
  const Frame frame({0, static_cast<double>(std::max<size_t>(1, groups.size()))}, y, axes,
                    LegendRows(bar_names, axes));
  std::string svg = absl::StrCat(frame.Open(), frame.YGrid(), frame.Labels());
  for (size_t g = 0; g < groups.size(); ++g) {
    const auto& values = groups[g].values;
    const double left = frame.X(static_cast<double>(g) + 0.12),
                 right = frame.X(static_cast<double>(g) + 0.88);
    const double width = (right - left) / static_cast<double>(std::max<size_t>(1, values.size()));
    for (size_t i = 0; i < values.size(); ++i) {
      if (!std::isfinite(values[i])) continue;
      const double top = frame.Y(values[i]);
      absl::StrAppendFormat(
          &svg,
          "<rect class=\"fill s%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\">"
          "<title>%s %s: %.4g</title></rect>",
          i % 10, left + width * static_cast<double>(i), top, std::max(1.0, width - 1),
          std::max(0.0, frame.bottom() - top), EscapeHtml(groups[g].name),
          EscapeHtml(i < bar_names.size() ? bar_names[i] : ""), values[i]);
    }
    absl::StrAppendFormat(&svg, "<text class=\"tick mid\" x=\"%.1f\" y=\"%d\">%s</text>",
                          (left + right) / 2, frame.bottom() + 16, EscapeHtml(groups[g].name));
  }
  return absl::StrCat(svg, frame.Legend(bar_names), "</svg>");
}

std::string ScatterPlot(const std::vector<ScatterPoint>& points, const PlotAxes& axes) {
  Range x, y;
  for (const auto& point : points) {
    x.Add(point.x);
    y.Add(point.y);
  }
  x.Settle();
  y.Settle();
  const double margin_x = 0.12 * (x.high - x.low), margin_y = 0.08 * (y.high - y.low);
  const Frame frame({x.low - margin_x, x.high + margin_x}, {y.low - margin_y, y.high + margin_y},
                    axes, 0);
  std::string svg = absl::StrCat(frame.Open(), frame.Labels());
  LabelPlacer placer(axes.width, axes.height);
  for (const auto& point : points) {
    placer.AddDot(frame.X(point.x), frame.Y(point.y), point.large ? 8 : 4);
    absl::StrAppendFormat(
        &svg,
        "<circle class=\"fill s%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"><title>%s</title></circle>",
        point.style % 10, frame.X(point.x), frame.Y(point.y), point.large ? 8 : 4,
        EscapeHtml(point.name));
  }
  for (const bool large : {true, false}) {
    for (const auto& point : points) {
      if (point.large != large) continue;
      absl::StrAppend(&svg, placer.Label(point, frame.X(point.x), frame.Y(point.y)));
    }
  }
  return absl::StrCat(svg, "</svg>");
}

}  // namespace lorikeet
