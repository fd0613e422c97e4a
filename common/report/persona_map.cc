#include "common/report/persona_map.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numbers>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr int kIterations = 200;
constexpr double kTiny = 1e-9;
constexpr int kDirections = 12;

// One Guttman transform: every point moves to the mean of where the others want it.
std::vector<PlotPoint> Majorize(const std::vector<PlotPoint>& points,
                                std::span<const double> distances) {
  const size_t n = points.size();
  std::vector<PlotPoint> next(n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      if (i == j) continue;
      const double dx = points[i].x - points[j].x, dy = points[i].y - points[j].y;
      const double stretch = distances[i * n + j] / std::max(std::hypot(dx, dy), kTiny);
      next[i].x += stretch * dx / static_cast<double>(n);
      next[i].y += stretch * dy / static_cast<double>(n);
    }
  }
  return next;
}

double Stress(std::span<const PlotPoint> landmarks, std::span<const double> distances,
              std::span<const double> weights, PlotPoint at) {
  double stress = 0;
  for (size_t i = 0; i < landmarks.size(); ++i) {
    const double off = std::hypot(at.x - landmarks[i].x, at.y - landmarks[i].y) - distances[i];
    stress += weights[i] * off * off;
  }
  return stress;
}

// Majorizes the weighted stress of one point from a start.
PlotPoint Descend(std::span<const PlotPoint> landmarks, std::span<const double> distances,
                  std::span<const double> weights, PlotPoint at) {
  double total = 0;
  for (const double weight : weights) total += weight;
  for (int k = 0; k < kIterations; ++k) {
    PlotPoint next;
    for (size_t i = 0; i < landmarks.size(); ++i) {
      const double dx = at.x - landmarks[i].x, dy = at.y - landmarks[i].y;
      const double pull = distances[i] / std::max(std::hypot(dx, dy), kTiny);
      next.x += weights[i] * (landmarks[i].x + pull * dx);
      next.y += weights[i] * (landmarks[i].y + pull * dy);
    }
    at = {next.x / total, next.y / total};
  }
  return at;
}

}  // namespace

std::vector<PlotPoint> ScaleToPlane(std::span<const double> distances, size_t n) {
  LORIKEET_CHECK(distances.size() == n * n);
  const auto count = static_cast<Eigen::Index>(n);
  std::vector<PlotPoint> points(n);
  if (n < 2) return points;
  Eigen::MatrixXd squared(count, count);
  for (Eigen::Index i = 0; i < count; ++i) {
    for (Eigen::Index j = 0; j < count; ++j) {
      const double d = distances[static_cast<size_t>(i * count + j)];
      squared(i, j) = d * d;
    }
  }
  const Eigen::MatrixXd centering =
      Eigen::MatrixXd::Identity(count, count) -
      Eigen::MatrixXd::Constant(count, count, 1.0 / static_cast<double>(count));
  const Eigen::MatrixXd gram = -0.5 * centering * squared * centering;
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(gram);  // eigenvalues ascend
  const auto coordinate = [&](Eigen::Index i, Eigen::Index rank) {
    const Eigen::Index column = count - 1 - rank;
    return solver.eigenvectors()(i, column) *
           std::sqrt(std::max(0.0, solver.eigenvalues()(column)));
  };
  for (Eigen::Index i = 0; i < count; ++i) {
    points[static_cast<size_t>(i)] = {coordinate(i, 0), coordinate(i, 1)};
  }
  for (int k = 0; k < kIterations; ++k) points = Majorize(points, distances);
  return points;
}

PlotPoint PlaceAmong(std::span<const PlotPoint> landmarks, std::span<const double> distances) {
  LORIKEET_CHECK(!landmarks.empty() && landmarks.size() == distances.size());
  constexpr double kFloor = 1e-3;  // keeps the weight of an equal style finite
  std::vector<double> weights(distances.size());
  double total = 0;
  PlotPoint mean;
  for (size_t i = 0; i < landmarks.size(); ++i) {
    weights[i] = std::pow(std::max(distances[i], kFloor), -3);
    total += weights[i];
    mean.x += weights[i] * landmarks[i].x;
    mean.y += weights[i] * landmarks[i].y;
  }
  mean = {mean.x / total, mean.y / total};
  // The stress of one point has several minima (in front of a cluster and behind it), so descend
  // from the mean and from all sides of the nearest landmark.
  const size_t nearest =
      static_cast<size_t>(std::ranges::min_element(distances) - distances.begin());
  PlotPoint best = Descend(landmarks, distances, weights, mean);
  double least = Stress(landmarks, distances, weights, best);
  for (int k = 0; k < kDirections; ++k) {
    const double angle = 2 * std::numbers::pi * k / kDirections;
    const PlotPoint start = {landmarks[nearest].x + distances[nearest] * std::cos(angle),
                             landmarks[nearest].y + distances[nearest] * std::sin(angle)};
    const PlotPoint at = Descend(landmarks, distances, weights, start);
    const double stress = Stress(landmarks, distances, weights, at);
    if (stress < least) best = at, least = stress;
  }
  return best;
}

}  // namespace lorikeet
