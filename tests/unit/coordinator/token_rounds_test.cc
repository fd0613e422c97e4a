// Rounds that admit by anonymous token: nobody is named, nobody joins twice, whichever coordinator
// over the store is asked and however often it is killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/strings.h"
#include "coordinator/registry/device_registry.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

class TokenRoundsTest : public testing::Test {
 protected:
  TokenRoundsTest() : fleet_({.tokens = true}) {
    for (int i = 0; i < 5; ++i) devices_.emplace_back(&fleet_, i);
  }
  template <typename Step>
  void All(const Step& step) {
    for (TestDevice& device : devices_) {
      const absl::Status status = step(device);
      EXPECT_TRUE(status.ok()) << device.id() << ": " << status;
    }
  }
  void Finish() {
    All([](TestDevice& d) { return d.Share(); });
    All([](TestDevice& d) { return d.Mask(0, 0.5f); });
    All([](TestDevice& d) { return d.Acknowledge(); });
    All([](TestDevice& d) { return d.Unmask(); });
  }
  // The others join and finish: whatever was refused before did no harm.
  void RoundIsUnharmed() {
    for (TestDevice& device : devices_) {
      if (device.caller() != joined_) {
        const absl::Status status = device.Join();
        EXPECT_TRUE(status.ok()) << device.id() << ": " << status;
      }
    }
    Finish();
    EXPECT_EQ(fleet_.LatestRound().status, RoundStatus::kDone) << fleet_.LatestRound().message;
    EXPECT_EQ(fleet_.LatestRound().survivor_count, 5u);
  }

  TestFleet fleet_;
  std::vector<TestDevice> devices_;
  DeviceId joined_ = "nobody";  // of the one that has joined already
};

TEST_F(TokenRoundsTest, ARoundIsSummedWithoutKnowingADevice) {
  All([](TestDevice& d) { return d.Join(); });
  const auto events = fleet_.store().RoundEvents(fleet_.LatestRound().id).value();
  ASSERT_EQ(events.size(), 5u);
  for (const RoundEventRecord& event : events) {
    EXPECT_TRUE(IsTokenMember(event.device)) << event.device;
    EXPECT_FALSE(absl::StrContains(event.payload, "device-"));
  }
  fleet_.Restart();
  Finish();
  EXPECT_EQ(fleet_.LatestRound().status, RoundStatus::kDone) << fleet_.LatestRound().message;
  const Catalog after = fleet_.LatestCatalog();
  for (const float core : after.personas[0].cores) EXPECT_NEAR(core, 0.5, 0.05);
}

TEST_F(TokenRoundsTest, WithoutATokenOrByNameNobodyJoins) {
  TestDevice& device = devices_[0];
  ASSERT_TRUE(device.Prepare().ok());
  const auto none = fleet_.service().AdvertiseKeys(device.caller(), {device.keys(), std::nullopt});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(Message(none.status())), HasSubstr("expected one to join this round"));
  const auto named = fleet_.service().AdvertiseKeys("device-0", {device.keys(), device.token()});
  EXPECT_EQ(named.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(Message(named.status())), HasSubstr("got a device by its name"));
  // A member's name that does not follow from the token.
  const auto other = fleet_.service().AdvertiseKeys(absl::StrCat("member:", std::string(64, '0')),
                                                    {device.keys(), device.token()});
  EXPECT_EQ(other.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(fleet_.store().RoundEvents(fleet_.LatestRound().id)->empty());
  RoundIsUnharmed();
}

TEST_F(TokenRoundsTest, AMemberIsNobodyElsewhere) {
  ASSERT_TRUE(devices_[0].Join().ok());
  const DeviceId& member = devices_[0].caller();
  EXPECT_EQ(fleet_.service().Hello(member, 1).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(fleet_.office().GetTokenKeys(member).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_FALSE(EnrollDevice(&fleet_.store(), member, fleet_.clock().Now()).ok());
  const PollQuery query = {.session = devices_[0].round().secagg.session,
                           .ticket = devices_[0].ticket()};
  EXPECT_EQ(
      fleet_.service().Poll(absl::StrCat("member:", std::string(64, '0')), query).status().code(),
      absl::StatusCode::kNotFound);
}

TEST_F(TokenRoundsTest, ARepeatedJoinIsTheSameMember) {
  ASSERT_TRUE(devices_[0].Join().ok());
  const uint32_t ticket = devices_[0].ticket();
  ASSERT_TRUE(devices_[0].Advertise(&fleet_.service()).ok());
  fleet_.Restart();
  ASSERT_TRUE(devices_[0].Advertise(&fleet_.service()).ok());
  EXPECT_EQ(devices_[0].ticket(), ticket);
  EXPECT_EQ(fleet_.store().RoundEvents(fleet_.LatestRound().id)->size(), 1u);
  joined_ = devices_[0].caller();
  RoundIsUnharmed();
}

TEST_F(TokenRoundsTest, ATokenIsBoundToItsKeys) {
  ASSERT_TRUE(devices_[0].Prepare().ok());
  ASSERT_TRUE(devices_[1].Prepare().ok());
  const auto stolen = fleet_.service().AdvertiseKeys(devices_[0].caller(),
                                                     {devices_[1].keys(), devices_[0].token()});
  EXPECT_EQ(stolen.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(Message(stolen.status())), HasSubstr("bound to others"));
  Token forged = *devices_[0].token();
  forged.output[0] ^= 1;
  devices_[0].set_token(forged);
  EXPECT_EQ(devices_[0].Advertise(&fleet_.service()).code(), absl::StatusCode::kPermissionDenied);
  forged = *devices_[1].token();
  forged.epoch += 1;
  devices_[1].set_token(forged);
  EXPECT_EQ(devices_[1].Advertise(&fleet_.service()).code(), absl::StatusCode::kFailedPrecondition);
  RoundIsUnharmed();
}

// A token spent in a round that was aborted does not open the next one: not before and not after a
// restart, and not at another coordinator over the same store.
TEST_F(TokenRoundsTest, ASpentTokenIsRefusedEverywhere) {
  const auto store = *SqliteStore::Open(fleet_.directory() + "/store.sqlite", false);
  ASSERT_TRUE(devices_[0].Join().ok());
  const Token spent = *devices_[0].token();
  KeyAdvertisement keys = devices_[0].keys();
  fleet_.clock().Advance(absl::Seconds(11));
  fleet_.service().Tick();
  ASSERT_EQ(fleet_.LatestRound().status, RoundStatus::kAborted);
  fleet_.clock().Advance(absl::Seconds(2));
  ASSERT_TRUE(devices_[1].Join().ok());
  keys.session = devices_[1].round().secagg.session;
  const auto again = [&](FederationService& service) {
    return service.AdvertiseKeys(TokenMember(spent), {keys, spent}).status();
  };
  EXPECT_EQ(again(fleet_.service()).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(Message(again(fleet_.service()))), HasSubstr("got one that is spent"));
  EXPECT_EQ(again(*fleet_.Replica(store.get())).code(), absl::StatusCode::kAlreadyExists);
  fleet_.Restart();
  EXPECT_EQ(again(fleet_.service()).code(), absl::StatusCode::kAlreadyExists);
  joined_ = devices_[1].caller();
  RoundIsUnharmed();
}

// Two coordinators that both hold the round open, and both think the token new.
TEST_F(TokenRoundsTest, OfTwoCoordinatorsOneAdmitsAToken) {
  const auto store = *SqliteStore::Open(fleet_.directory() + "/store.sqlite", false);
  ASSERT_TRUE(devices_[0].Prepare().ok());
  const auto replica = fleet_.Replica(store.get());
  ASSERT_TRUE(devices_[0].Advertise(&fleet_.service()).ok());
  const uint32_t ticket = devices_[0].ticket();
  // The second one learns of it from the store, when it would store it again.
  EXPECT_EQ(devices_[0].Advertise(replica.get()).code(), absl::StatusCode::kUnavailable);
  ASSERT_TRUE(devices_[0].Advertise(replica.get()).ok());
  EXPECT_EQ(devices_[0].ticket(), ticket);
  EXPECT_EQ(fleet_.store().RoundEvents(fleet_.LatestRound().id)->size(), 1u);
}

TEST_F(TokenRoundsTest, ADeviceGetsItsQuotaAndNoMore) {
  TestDevice& device = devices_[0];
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(device.Prepare().ok());
  EXPECT_EQ(device.Prepare().code(), absl::StatusCode::kResourceExhausted);
  fleet_.Restart();
  EXPECT_EQ(device.Prepare().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(devices_[1].Prepare().ok());
  ASSERT_TRUE(fleet_.store().RevokeDevice("device-2", fleet_.clock().Now()).ok());
  EXPECT_EQ(devices_[2].Prepare().code(), absl::StatusCode::kPermissionDenied);
}

// Whatever keys it was shown before.
TEST_F(TokenRoundsTest, ARevokedDeviceGetsNoTokens) {
  const auto keys = VerifyTokenKeys(fleet_.office().GetTokenKeys("device-0").value(),
                                    fleet_.issuer_key().public_key());
  ASSERT_TRUE(keys.ok()) << keys.status();
  const uint64_t epoch = keys->keys.front().epoch;
  const auto pending =
      PrepareToken(epoch, Blake2b(AsBytes("keys")), SecretBytes(kTokenSeedBytes)).value();
  const IssueRequest request = {.epoch = epoch, .blinded = {pending.blinded.element}};
  ASSERT_TRUE(fleet_.store().RevokeDevice("device-0", fleet_.clock().Now()).ok());
  for (const char* device : {"device-0", "stranger"}) {
    EXPECT_EQ(fleet_.office().GetTokenKeys(device).status().code(),
              absl::StatusCode::kPermissionDenied);
    EXPECT_EQ(fleet_.office().IssueTokens(device, request).status().code(),
              absl::StatusCode::kPermissionDenied);
  }
  EXPECT_TRUE(fleet_.office().IssueTokens("device-1", request).ok());
}

TEST_F(TokenRoundsTest, OldEpochsAreForgotten) {
  ASSERT_TRUE(devices_[0].Join().ok());
  const Token token = *devices_[0].token();
  EXPECT_TRUE(fleet_.store().FindSpentToken(token.epoch, token.nonce)->has_value());
  const auto pass = [this](absl::Duration time) {
    fleet_.clock().Advance(time);
    fleet_.service().Tick();
    fleet_.clock().Advance(absl::Seconds(2));  // the pause after a round that was aborted
  };
  pass(absl::Hours(24 * 30));
  ASSERT_TRUE(devices_[1].Join().ok());
  EXPECT_TRUE(fleet_.store().FindSpentToken(token.epoch, token.nonce)->has_value());
  pass(absl::Hours(24 * 2));
  ASSERT_TRUE(devices_[2].Join().ok());
  EXPECT_FALSE(fleet_.store().FindSpentToken(token.epoch, token.nonce)->has_value());
  // What is forgotten is of no use: the round asks for tokens of its own epoch.
  EXPECT_EQ(fleet_.service()
                .AdvertiseKeys(TokenMember(token),
                               {{.session = devices_[2].round().secagg.session}, token})
                .status()
                .code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace lorikeet
