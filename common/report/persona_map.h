// Styles as points in the plane: near means alike.
//
// Personas are placed by multidimensional scaling of their cards' style distances: classically
// (Torgerson, "Multidimensional scaling", 1952), then by majorizing the stress (de Leeuw,
// "Convergence of the majorization method", 1988).  A device, or an owner, is placed among them
// from its own distances to the personas, by majorizing the weighted stress of that one point.
// Distances in the plane are approximate.
#ifndef LORIKEET_COMMON_REPORT_PERSONA_MAP_H_
#define LORIKEET_COMMON_REPORT_PERSONA_MAP_H_

#include <span>
#include <vector>

#include "common/report/svg_plot.h"

namespace lorikeet {

// `distances` is n x n, symmetric, row-major, zero diagonal; one point a row.
// REQUIRES: distances.size() == n * n.
std::vector<PlotPoint> ScaleToPlane(std::span<const double> distances, size_t n);

// The point whose distances to `landmarks` are closest to `distances`, near ones counting most.
// REQUIRES: equal sizes, not empty, distances >= 0.
PlotPoint PlaceAmong(std::span<const PlotPoint> landmarks, std::span<const double> distances);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_REPORT_PERSONA_MAP_H_
