#include "common/dp/utility.h"

#include "common/dp/accountant.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

UtilityRequest Request(int64_t clients) {
  return {.clients = clients, .personas = 4, .dimension = 1024, .rounds = 1, .epsilon = 1};
}

TEST(UtilityTest, IsNoiseNormOverClipNorm) {
  const Utility utility = UtilityOf(Request(1000)).value();
  EXPECT_NEAR(utility.noise_multiplier, 4.224678889, 1e-8);
  EXPECT_NEAR(utility.noise_ratio, 4.224678889 * 32 / 250, 1e-8);
  EXPECT_FALSE(utility.release);
  EXPECT_TRUE(UtilityOf(Request(10000))->release);
}

// Each change that is named is enough, and nothing less is.
TEST(UtilityTest, WhatIsNeededIsEnough) {
  const UtilityRequest request = Request(1000);
  const Utility utility = UtilityOf(request).value();
  UtilityRequest changed = request;
  changed.clients = utility.clients_needed;
  EXPECT_TRUE(UtilityOf(changed)->release);
  --changed.clients;
  EXPECT_FALSE(UtilityOf(changed)->release);
  changed = request;
  changed.dimension = utility.dimension_needed;
  EXPECT_TRUE(UtilityOf(changed)->release);
  ++changed.dimension;
  EXPECT_FALSE(UtilityOf(changed)->release);
  changed = request;
  changed.epsilon = utility.epsilon_needed * 1.0001;
  EXPECT_TRUE(UtilityOf(changed)->release);
  changed.epsilon = utility.epsilon_needed * 0.9999;
  EXPECT_FALSE(UtilityOf(changed)->release);
  EXPECT_NE(UtilityAdvice(utility).find("or more devices"), std::string::npos);
}

TEST(UtilityTest, RefusesValuesOutOfRange) {
  EXPECT_FALSE(UtilityOf(Request(0)).ok());
  UtilityRequest bad = Request(10);
  bad.epsilon = 0;
  EXPECT_FALSE(UtilityOf(bad).ok());
  bad = Request(10);
  bad.delta = 0;
  EXPECT_FALSE(UtilityOf(bad).ok());
}

}  // namespace
}  // namespace lorikeet
