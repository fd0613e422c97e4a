#include "common/report/persona_map.h"

#include <gtest/gtest.h>

#include <cmath>

namespace lorikeet {
namespace {

double Distance(PlotPoint a, PlotPoint b) { return std::hypot(a.x - b.x, a.y - b.y); }

// A 3-4-5 triangle and the middle of its rectangle: exact in the plane.
constexpr double kDistances[] = {0, 3, 4, 2.5, 3, 0, 5, 2.5, 4, 5, 0, 2.5, 2.5, 2.5, 2.5, 0};

TEST(PersonaMapTest, KeepsDistancesThatFitInThePlane) {
  const auto points = ScaleToPlane(kDistances, 4);
  ASSERT_EQ(points.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    for (size_t j = 0; j < 4; ++j) {
      EXPECT_NEAR(Distance(points[i], points[j]), kDistances[i * 4 + j], 1e-6) << i << " " << j;
    }
  }
}

TEST(PersonaMapTest, KeepsPointsApartThatDoNotFit) {
  // Six points at equal distances need five dimensions; classical scaling lets some coincide.
  std::vector<double> equal(36, 1.0);
  for (size_t i = 0; i < 6; ++i) equal[i * 7] = 0;
  const auto points = ScaleToPlane(equal, 6);
  for (size_t i = 0; i < 6; ++i) {
    for (size_t j = 0; j < i; ++j) EXPECT_GT(Distance(points[i], points[j]), 0.3);
  }
}

TEST(PersonaMapTest, PlacesAPointFromItsDistances) {
  const PlotPoint landmarks[] = {{0, 0}, {4, 0}, {0, 3}, {4, 3}};
  const PlotPoint truth = {1, 0.5};
  double distances[4];
  for (size_t i = 0; i < 4; ++i) distances[i] = Distance(landmarks[i], truth);
  const PlotPoint placed = PlaceAmong(landmarks, distances);
  EXPECT_NEAR(Distance(placed, truth), 0, 1e-3);
}

TEST(PersonaMapTest, FindsTheSideOfAClusterThatFitsBest) {
  // Near a cluster at the left, and far from three others, of which two lie to its right: the mean
  // pulls to the right, the distances say left.
  const PlotPoint landmarks[] = {{0, 0}, {0, 0.1}, {1, 0}, {1, 0.1}, {1.1, 0}};
  const PlotPoint truth = {-0.4, 0.05};
  double distances[5];
  for (size_t i = 0; i < 5; ++i) distances[i] = Distance(landmarks[i], truth);
  EXPECT_NEAR(Distance(PlaceAmong(landmarks, distances), truth), 0, 1e-2);
}

TEST(PersonaMapTest, OnePersonaIsAPoint) {
  const double zero[] = {0};
  EXPECT_EQ(ScaleToPlane(zero, 1).size(), 1u);
}

}  // namespace
}  // namespace lorikeet
