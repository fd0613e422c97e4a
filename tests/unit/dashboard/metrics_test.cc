#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/metrics/coordinator_metrics.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(MetricsTest, CountsCallsAndReadings) {
  CoordinatorMetrics metrics;
  metrics.OnCall("GetRound", absl::StatusCode::kOk, absl::Milliseconds(2));
  metrics.OnCall("GetRound", absl::StatusCode::kOk, absl::Milliseconds(20));
  metrics.OnCall("AdvertiseKeys", absl::StatusCode::kResourceExhausted, absl::Seconds(1));
  metrics.OnStoreRead(absl::Milliseconds(1), true);
  metrics.OnStoreRead(absl::Milliseconds(1), false);
  const std::string text = metrics.Render(nullptr);
  for (const char* line :
       {"lorikeet_rpc_total{code=\"OK\",method=\"GetRound\"} 2",
        "lorikeet_rpc_total{code=\"RESOURCE_EXHAUSTED\",method=\"AdvertiseKeys\"} 1",
        "lorikeet_rpc_seconds_bucket{method=\"GetRound\",le=\"0.0025\"} 1",
        "lorikeet_rpc_seconds_count{method=\"GetRound\"} 2", "lorikeet_store_read_errors_total 1",
        "lorikeet_store_up 0", "lorikeet_build_info{"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("process_resident_memory_bytes 0\n")));
  EXPECT_THAT(text, Not(HasSubstr("lorikeet_devices"))) << "the store could not be read";
}

TEST(MetricsTest, OfAFleetNameNoDeviceAndNoPersona) {
  TestFleet fleet;
  std::vector<TestDevice> devices;
  for (int i = 0; i < 4; ++i) devices.emplace_back(&fleet, i);
  for (TestDevice& device : devices) ASSERT_TRUE(device.Join().ok());
  FleetViewer viewer(&fleet.store());
  CoordinatorMetrics metrics;
  FleetView view = viewer.Read(fleet.clock().Now()).value();
  std::string text = metrics.Render(&view);
  EXPECT_THAT(text, HasSubstr("lorikeet_rounds_open{task=\"voices\",step=\"advertise\"} 1"));
  EXPECT_THAT(text, HasSubstr("lorikeet_rounds_open{task=\"voices\",step=\"mask\"} 0"));
  EXPECT_THAT(text, HasSubstr("lorikeet_round_arrived{task=\"voices\"} 4"));
  EXPECT_THAT(text, HasSubstr("lorikeet_round_expected{task=\"voices\"} 5"));

  fleet.clock().Set(fleet.service().Tick() + absl::Milliseconds(1));
  fleet.service().Tick();
  for (TestDevice& device : devices) ASSERT_TRUE(device.Share().ok());
  for (TestDevice& device : devices) ASSERT_TRUE(device.Mask(0, 0.5f).ok());
  for (TestDevice& device : devices) ASSERT_TRUE(device.Acknowledge().ok());
  for (TestDevice& device : devices) ASSERT_TRUE(device.Unmask().ok());
  view = viewer.Read(fleet.clock().Now()).value();
  ASSERT_EQ(view.recent.size(), 1u);
  ASSERT_EQ(view.recent[0].personas.size(), 2u) << "there is something not to be named";
  text = metrics.Render(&view);
  EXPECT_THAT(text, HasSubstr("lorikeet_rounds_total{task=\"voices\",outcome=\"done\"} 1"));
  EXPECT_THAT(text, HasSubstr("lorikeet_last_round_survivors{task=\"voices\"} 4"));
  EXPECT_THAT(text, HasSubstr("lorikeet_devices{state=\"enrolled\"} 6"));
  EXPECT_THAT(text, HasSubstr("lorikeet_release_version{kind=\"catalog\""));
  for (const auto& device : devices) EXPECT_THAT(text, Not(HasSubstr(device.id())));
  for (const auto& persona : view.recent[0].personas) {
    EXPECT_THAT(text, Not(HasSubstr(persona.id)));
  }
}

}  // namespace
}  // namespace lorikeet
