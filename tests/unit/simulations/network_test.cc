#include "simulations/world/network.h"

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "simulations/world/traffic.h"

namespace lorikeet {
namespace {

TEST(NetworkTest, ReadsFaults) {
  const auto faults = ParseFaults("loss=0.25,duplicate=0.5,delay=2,restart=60");
  ASSERT_TRUE(faults.ok()) << faults.status();
  EXPECT_EQ(faults->loss, 0.25);
  EXPECT_EQ(faults->duplicate, 0.5);
  EXPECT_EQ(faults->delay, absl::Seconds(2));
  EXPECT_EQ(faults->restart, absl::Seconds(60));
  EXPECT_EQ(faults->tamper, 0);
  const auto again = ParseFaults(FaultsToString(*faults));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(FaultsToString(*again), FaultsToString(*faults));
  EXPECT_TRUE(ParseFaults("").ok());
}

TEST(NetworkTest, RefusesUnknownAndImpossibleFaults) {
  for (const char* spec :
       {"loss", "loss=", "loss=x", "loss=0.9", "delay=-1", "loss=nan", "fire=1"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(ParseFaults(spec).status())) << spec;
  }
}

TEST(NetworkTest, FaultlessCallsArriveWithinTheirDelay) {
  const FaultOptions faults;
  Network network(faults, 1);
  for (int i = 0; i < 1000; ++i) {
    const CallFate fate = network.NextCall();
    EXPECT_TRUE(fate.request_arrives && fate.answer_arrives);
    EXPECT_FALSE(fate.duplicated || fate.tampered);
    EXPECT_GE(fate.request_delay, faults.delay);
    EXPECT_LE(fate.request_delay, faults.delay + faults.jitter);
  }
}

// A binomial of 10000 is within 6 standard deviations but for a chance under 1e-8, and seeded.
TEST(NetworkTest, LosesTheShareItWasTold) {
  FaultOptions faults;
  faults.loss = 0.2;
  Network network(faults, 7);
  int lost = 0;
  for (int i = 0; i < 10000; ++i) lost += network.NextCall().request_arrives ? 0 : 1;
  EXPECT_NEAR(lost, 2000, 240);
}

TEST(NetworkTest, OneFaultDoesNotShiftTheOthers) {
  FaultOptions lossy;
  lossy.loss = 0.5;
  Network plain(FaultOptions{}, 3), other(lossy, 3);
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(plain.NextCall().request_delay, other.NextCall().request_delay);
  }
}

TEST(TrafficTest, CountsBySession) {
  TrafficMeter meter;
  PollQuery poll;
  poll.session[0] = 1;
  meter.CountRequest(poll);
  meter.CountResponse(poll, {});
  meter.CountRequest(HelloCall{});
  EXPECT_EQ(meter.OfSession(poll.session).bytes_up, 36u);
  EXPECT_EQ(meter.others().bytes_up, 4u);
  EXPECT_EQ(meter.OfSession(SessionId{}).bytes_up, 0u);
}

}  // namespace
}  // namespace lorikeet
