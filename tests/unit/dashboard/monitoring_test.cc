// deploy/monitoring speaks of metrics that there are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "coordinator/metrics/coordinator_metrics.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

std::string ReadMonitoring(const std::string& name) {
  const auto text =
      ReadFile(absl::StrCat(LORIKEET_SOURCE_DIR, "/deploy/monitoring/", name), 1 << 20);
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

std::set<std::string> NamesIn(const std::string& text) {
  static const std::regex name("\\b(?:lorikeet|process)_[a-z_]+");
  std::set<std::string> names;
  for (std::sregex_iterator it(text.begin(), text.end(), name), end; it != end; ++it) {
    names.insert(it->str());
  }
  return names;
}

// Of a coordinator with a task, a budget, a release and calls.
std::set<std::string> Exported() {
  FleetOptions options;
  options.epsilon_budget = 8;
  TestFleet fleet(options);
  FleetViewer viewer(&fleet.store());
  const FleetView view = viewer.Read(fleet.clock().Now()).value();
  CoordinatorMetrics metrics;
  metrics.OnCall("Hello", absl::StatusCode::kOk, absl::Milliseconds(1));
  return NamesIn(metrics.Render(&view));
}

TEST(MonitoringTest, AlertRulesNameMetricsThatThereAre) {
  const std::set<std::string> exported = Exported();
  const std::set<std::string> used = NamesIn(ReadMonitoring("alerts.yml"));
  EXPECT_GE(used.size(), 12u);
  for (const std::string& name : used) EXPECT_TRUE(exported.contains(name)) << name;
}

TEST(MonitoringTest, GrafanaPanelsNameMetricsThatThereAre) {
  const std::set<std::string> exported = Exported();
  const auto dashboard = nlohmann::json::parse(ReadMonitoring("grafana.json"));
  std::set<int> ids;
  for (const auto& panel : dashboard["panels"]) {
    EXPECT_TRUE(ids.insert(panel["id"].get<int>()).second);
    ASSERT_FALSE(panel["targets"].empty()) << panel["title"];
    for (const auto& target : panel["targets"]) {
      const auto names = NamesIn(target["expr"].get<std::string>());
      EXPECT_FALSE(names.empty()) << target["expr"];
      for (const std::string& name : names) EXPECT_TRUE(exported.contains(name)) << name;
    }
  }
  EXPECT_GE(ids.size(), 15u);
}

}  // namespace
}  // namespace lorikeet
