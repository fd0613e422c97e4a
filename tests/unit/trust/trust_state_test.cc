// The client workflow when nobody attacks.
#include "common/trust/trust_state.h"

#include <gtest/gtest.h>

#include "tests/unit/trust/trust_repository.h"

namespace lorikeet {
namespace {

TEST(TrustStateTest, FollowsReleases) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  auto target = state.FindTarget("catalog/a/1", TrustEpoch());
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_TRUE(CheckTarget("catalog/a/1", *target, AsBytes("hello")).ok());
  repository.targets.targets["catalog/a/2"] = {.length = 3, .hash = Blake2b(AsBytes("new"))};
  ASSERT_TRUE(state.Update(repository.PublishNext(), TrustEpoch()).ok());
  target = state.FindTarget("catalog/a/2", TrustEpoch());
  ASSERT_TRUE(target.ok()) << target.status();
  EXPECT_EQ(target->length, 3u);
  EXPECT_EQ(state.timestamp()->version, 2u);
}

TEST(TrustStateTest, TheSameUpdateTwiceChangesNothing) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  const TrustedDocuments before = state.documents();
  EXPECT_TRUE(state.Update(repository.Publish(), TrustEpoch()).ok());
  EXPECT_EQ(state.documents(), before);
}

TEST(TrustStateTest, DocumentsThatAreThereNeedNotComeAgain) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  ++repository.timestamp.version;
  repository.timestamp.signed_at += absl::Hours(24);
  repository.timestamp.expires += absl::Hours(24);
  TrustUpdate update = repository.Publish();
  update.snapshot.reset();
  update.targets.reset();
  const absl::Status status = state.Update(update, TrustEpoch() + absl::Hours(24));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(state.timestamp()->version, 2u);
}

TEST(TrustStateTest, WhatIsStoredComesBack) {
  TrustRepository repository;
  const TrustState state = UpdatedState(repository);
  const auto loaded = TrustState::Load(state.documents());
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->documents(), state.documents());
  EXPECT_TRUE(loaded->FindTarget("catalog/a/1", TrustEpoch()).ok());
  TrustedDocuments damaged = state.documents();
  damaged.targets->bytes[20] ^= 1;
  EXPECT_TRUE(absl::IsDataLoss(TrustState::Load(damaged).status()));
}

TEST(TrustStateTest, RootsAreTakenOneByOne) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  std::vector<SignedMetadata> roots;
  for (int i = 0; i < 5; ++i) {
    const auto old = repository.keys[TrustRole::kRoot];
    repository.SetKeys(TrustRole::kRoot, repository.NewKeys(3), 2);
    roots.push_back(repository.NextRoot(old));
  }
  TrustUpdate update = repository.Publish();
  update.roots = roots;
  const absl::Status status = state.Update(update, TrustEpoch());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(state.root().version, 6u);
  // Its root keys changed, and no others: what was trusted stays.
  EXPECT_EQ(state.timestamp()->version, 1u);
}

// The documents of the roots in between may have expired while the device was off.
TEST(TrustStateTest, OnlyTheLastRootMustBeValid) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  const absl::Time later = TrustEpoch() + absl::Hours(24 * 800);
  std::vector<SignedMetadata> roots = {repository.NextRoot({})};
  repository.root.expires = later + absl::Hours(24 * 365);
  roots.push_back(repository.NextRoot({}));
  repository.timestamp.signed_at = later;
  repository.timestamp.expires = repository.snapshot.expires = repository.targets.expires =
      later + absl::Hours(72);
  TrustUpdate update = repository.PublishNext();
  update.roots = {roots[0]};
  TrustState stuck = state;
  EXPECT_TRUE(absl::IsDeadlineExceeded(stuck.Update(update, later)));
  EXPECT_EQ(stuck.root().version, 2u) << "a root that was proven is kept";
  update.roots = roots;
  const absl::Status status = state.Update(update, later);
  EXPECT_TRUE(status.ok()) << status;
}

TEST(TrustStateTest, RotatedKeysOfOtherRolesAreKnownByTheRoot) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  repository.SetKeys(TrustRole::kRounds, repository.NewKeys(2), 1);
  TrustUpdate update = repository.Publish();
  update.roots = {repository.NextRoot({})};
  ASSERT_TRUE(state.Update(update, TrustEpoch()).ok());
  const auto keys = state.KeysOf(TrustRole::kRounds, TrustEpoch());
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(*keys, repository.root.role(TrustRole::kRounds));
  // Somebody may be holding back the root that revokes them.
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      state.KeysOf(TrustRole::kRounds, repository.timestamp.expires).status()));
  const TrustState fresh = TrustState::FromRoot(repository.SignedRoot()).value();
  EXPECT_TRUE(absl::IsNotFound(fresh.KeysOf(TrustRole::kRounds, TrustEpoch()).status()));
}

TEST(TrustStateTest, SaysWhatIsMissing) {
  TrustRepository repository;
  TrustState state = TrustState::FromRoot(repository.SignedRoot()).value();
  EXPECT_TRUE(absl::IsNotFound(state.FindTarget("catalog/a/1", TrustEpoch()).status()));
  for (auto field : {&TrustUpdate::timestamp, &TrustUpdate::snapshot, &TrustUpdate::targets}) {
    TrustState fresh = state;
    TrustUpdate update = repository.Publish();
    (update.*field).reset();
    const absl::Status status = fresh.Update(update, TrustEpoch());
    EXPECT_TRUE(absl::IsNotFound(status)) << status;
    EXPECT_FALSE(fresh.FindTarget("catalog/a/1", TrustEpoch()).ok());
  }
}

}  // namespace
}  // namespace lorikeet
