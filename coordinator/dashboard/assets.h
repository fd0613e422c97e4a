// The page's files, embedded by embed_assets.cmake.
#ifndef LORIKEET_COORDINATOR_DASHBOARD_ASSETS_H_
#define LORIKEET_COORDINATOR_DASHBOARD_ASSETS_H_

#include <span>
#include <string_view>

namespace lorikeet {

struct Asset {
  std::string_view path;  // as asked for: "/", "/dashboard.css"
  std::string_view content_type;
  std::string_view bytes;
};

std::span<const Asset> DashboardAssets();

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DASHBOARD_ASSETS_H_
