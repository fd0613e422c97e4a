// One test per attack that the TUF specification lists (section 1.5), and one per way in which a
// rotation of keys goes wrong.
#include <gtest/gtest.h>

#include "tests/unit/trust/trust_repository.h"

namespace lorikeet {
namespace {

constexpr absl::Duration kDay = absl::Hours(24);

bool Says(const absl::Status& status, std::string_view what) {
  return Message(status).find(what) != std::string_view::npos;
}

// An update is refused, and leaves the files that may be installed as they were.
absl::Status Refused(TrustState state, const TrustUpdate& update, absl::Time now = TrustEpoch()) {
  const auto targets = state.documents().targets;
  const absl::Status status = state.Update(update, now);
  EXPECT_FALSE(status.ok());
  EXPECT_EQ(state.documents().targets, targets);
  return status;
}

TEST(TrustAttackTest, ForgedByOtherKeys) {
  TrustRepository repository, attacker(2);
  const TrustState state = UpdatedState(repository);
  attacker.timestamp.version = attacker.snapshot.version = attacker.targets.version = 2;
  const absl::Status status = Refused(state, attacker.Publish());
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_TRUE(Says(status, "signatures by 1 of the 1 keys of the trusted root, got 0")) << status;
}

TEST(TrustAttackTest, ForgedBelowATimestampThatIsGenuine) {
  TrustRepository repository;
  const TrustState state = UpdatedState(repository);
  const auto targets_keys = repository.keys[TrustRole::kTargets];
  const auto snapshot_keys = repository.keys[TrustRole::kSnapshot];
  repository.keys[TrustRole::kTargets] = repository.NewKeys(1);
  EXPECT_TRUE(Says(Refused(state, repository.PublishNext()), "targets metadata: expected signat"));
  repository.keys[TrustRole::kTargets] = targets_keys;
  repository.keys[TrustRole::kSnapshot] = repository.NewKeys(1);
  EXPECT_TRUE(Says(Refused(state, repository.PublishNext()), "snapshot metadata: expected signa"));
}

TEST(TrustAttackTest, EveryFlippedBitOfADocumentIsNoticed) {
  TrustRepository repository;
  const TrustState state = TrustState::FromRoot(repository.SignedRoot()).value();
  const TrustUpdate good = repository.Publish();
  for (auto field : {&TrustUpdate::timestamp, &TrustUpdate::snapshot, &TrustUpdate::targets}) {
    for (size_t bit = 0; bit < 8 * (good.*field)->bytes.size(); ++bit) {
      TrustUpdate update = good;
      (update.*field)->bytes[bit / 8] ^= static_cast<char>(1 << bit % 8);
      TrustState tried = state;
      ASSERT_FALSE(tried.Update(update, TrustEpoch()).ok()) << bit;
      ASSERT_FALSE(tried.FindTarget("catalog/a/1", TrustEpoch()).ok()) << bit;
    }
  }
}

TEST(TrustAttackTest, RollbackOfTheTimestamp) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  const TrustUpdate old = repository.Publish();
  ++repository.timestamp.version;
  ASSERT_TRUE(state.Update(repository.Publish(), TrustEpoch()).ok());
  const absl::Status status = Refused(state, old);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(Says(status, "timestamp metadata: expected version 2 or newer, got 1 (rolled back)"));
}

// Whoever holds the timestamp key alone signs a new timestamp over an old snapshot.
TEST(TrustAttackTest, RollbackOfTheSnapshot) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  const SnapshotMetadata old = repository.snapshot;
  ASSERT_TRUE(state.Update(repository.PublishNext(), TrustEpoch()).ok());
  repository.snapshot = old;
  repository.targets.version = 1;
  ++repository.timestamp.version;
  const absl::Status status = Refused(state, repository.Publish());
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(Says(status, "snapshot metadata: expected version 2 or newer, got 1 (rolled back)"));
}

// Whoever holds the timestamp and snapshot keys puts old targets under a new snapshot.
TEST(TrustAttackTest, RollbackOfTheTargets) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  ASSERT_TRUE(state.Update(repository.PublishNext(), TrustEpoch()).ok());
  repository.targets.version = 1;
  ++repository.snapshot.version;
  ++repository.timestamp.version;
  const absl::Status status = Refused(state, repository.Publish());
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(Says(status, "targets metadata: expected version 2 or newer, got 1 (rolled back)"));
}

TEST(TrustAttackTest, RollbackOfTheRoot) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  const SignedMetadata first = repository.SignedRoot();
  TrustUpdate update = repository.Publish();
  update.roots = {repository.NextRoot({})};
  ASSERT_TRUE(state.Update(update, TrustEpoch()).ok());
  update.roots = {first};
  const absl::Status status = Refused(state, update);
  EXPECT_TRUE(Says(status, "root metadata: expected version 3 or newer, got 1 (rolled back)"));
  repository.NextRoot({});
  update.roots = {repository.NextRoot({})};
  EXPECT_TRUE(Says(Refused(state, update), "expected version 3, got 4 (one was left out)"));
}

TEST(TrustAttackTest, IndefiniteFreeze) {
  TrustRepository repository;
  const TrustState state = UpdatedState(repository);
  const TrustUpdate same = repository.Publish();
  const absl::Time before = repository.timestamp.expires - absl::Seconds(1);
  TrustState tried = state;
  EXPECT_TRUE(tried.Update(same, before).ok());
  EXPECT_TRUE(tried.FindTarget("catalog/a/1", before).ok());
  const absl::Status status = Refused(state, same, repository.timestamp.expires);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  EXPECT_TRUE(Says(status, "timestamp metadata")) << status;
  // What was trusted is not to be installed any more either.
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      state.FindTarget("catalog/a/1", repository.timestamp.expires).status()));
}

TEST(TrustAttackTest, FreezeOfWhatTheTimestampRefersTo) {
  TrustRepository repository;
  const TrustState state = UpdatedState(repository);
  const absl::Time later = TrustEpoch() + 31 * kDay;
  ++repository.timestamp.version;
  repository.timestamp.signed_at = later;
  repository.timestamp.expires = later + kDay;
  absl::Status status = Refused(state, repository.Publish(), later);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status) && Says(status, "snapshot metadata")) << status;
  const absl::Time much_later = TrustEpoch() + 91 * kDay;
  repository.timestamp.expires = repository.snapshot.expires = much_later + kDay;
  ++repository.snapshot.version;
  status = Refused(state, repository.Publish(), much_later);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status) && Says(status, "targets metadata")) << status;
}

// Stolen timestamp and snapshot keys sign the largest versions, so that nothing newer can follow; a
// root with other keys ends that.
TEST(TrustAttackTest, FastForwardIsUndoneByRotatingKeys) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  TrustRepository stolen = repository;
  stolen.timestamp.version = stolen.snapshot.version = INT64_MAX;
  ASSERT_TRUE(state.Update(stolen.Publish(), TrustEpoch()).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(Refused(state, repository.PublishNext())));
  repository.SetKeys(TrustRole::kTimestamp, repository.NewKeys(1), 1);
  repository.SetKeys(TrustRole::kSnapshot, repository.NewKeys(1), 1);
  const SignedMetadata root = repository.NextRoot({});
  TrustUpdate update = repository.Publish();
  update.roots = {root};
  const absl::Status status = state.Update(update, TrustEpoch());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(state.timestamp()->version, 2u);
  EXPECT_TRUE(absl::IsPermissionDenied(Refused(state, stolen.Publish())));
}

// Targets that only revoked keys signed are not taken from what was stored.
TEST(TrustAttackTest, RevokedTargetsKeysVouchForNothing) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  const TrustUpdate old = repository.Publish();
  repository.SetKeys(TrustRole::kTargets, repository.NewKeys(1), 1);
  TrustUpdate update = old;
  update.roots = {repository.NextRoot({})};
  TrustState tried = state;
  EXPECT_TRUE(absl::IsPermissionDenied(tried.Update(update, TrustEpoch())));
  EXPECT_FALSE(tried.FindTarget("catalog/a/1", TrustEpoch()).ok());
  const auto roots = update.roots;
  update = repository.PublishNext();
  update.roots = roots;
  EXPECT_TRUE(state.Update(update, TrustEpoch()).ok());
}

TEST(TrustAttackTest, MixAndMatch) {
  TrustRepository repository;
  const TrustState state = UpdatedState(repository);
  const TrustUpdate second = repository.PublishNext();
  const TrustUpdate third = repository.PublishNext();
  TrustUpdate mixed = third;
  mixed.snapshot = second.snapshot;
  absl::Status status = Refused(state, mixed);
  EXPECT_TRUE(absl::IsDataLoss(status) && Says(status, "snapshot metadata")) << status;
  mixed = third;
  mixed.targets = second.targets;
  status = Refused(state, mixed);
  EXPECT_TRUE(absl::IsDataLoss(status) && Says(status, "targets metadata")) << status;
}

// The version in the document must be the one that is referred to, whoever signed what.
TEST(TrustAttackTest, MixedVersionsInsideGenuineDocuments) {
  TrustRepository repository;
  const TrustState state = UpdatedState(repository);
  TrustUpdate update = repository.PublishNext();
  repository.timestamp.snapshot.version = 9;
  update.timestamp =
      TrustRepository::Sign(TrustRole::kTimestamp, SerializeTimestamp(repository.timestamp),
                            repository.keys[TrustRole::kTimestamp]);
  EXPECT_TRUE(Says(Refused(state, update), "expected version 9 that is referred to, got 2"));
}

TEST(TrustAttackTest, EndlessData) {
  TrustRepository repository;
  const TrustState state = UpdatedState(repository);
  const TrustUpdate good = repository.PublishNext();
  // Longer than the reference states, by one byte.
  TrustUpdate update = good;
  update.snapshot->bytes += " ";
  EXPECT_TRUE(absl::IsResourceExhausted(Refused(state, update)));
  update = good;
  update.targets->bytes += " ";
  EXPECT_TRUE(absl::IsResourceExhausted(Refused(state, update)));
  // Longer than anybody reads: refused before signatures are looked at.
  update = good;
  update.timestamp->bytes.resize(1025);
  EXPECT_TRUE(absl::IsResourceExhausted(Refused(state, update)));
  update.roots = {repository.NextRoot({})};
  update.roots[0].bytes.resize((16 << 10) + 1);
  EXPECT_TRUE(absl::IsResourceExhausted(Refused(state, update)));
  update.roots.assign(65, repository.SignedRoot());
  EXPECT_TRUE(absl::IsResourceExhausted(Refused(state, update)));
  update = good;
  update.timestamp->signatures.resize(33, update.timestamp->signatures[0]);
  EXPECT_TRUE(absl::IsResourceExhausted(Refused(state, update)));
}

TEST(TrustAttackTest, WrongSoftware) {
  TrustRepository repository;
  const TrustState state = UpdatedState(repository);
  const TargetFile target = state.FindTarget("catalog/a/1", TrustEpoch()).value();
  EXPECT_TRUE(CheckTarget("catalog/a/1", target, AsBytes("hello")).ok());
  absl::Status status = CheckTarget("catalog/a/1", target, AsBytes("hellp"));
  EXPECT_TRUE(absl::IsDataLoss(status) && Says(status, "expected the hash")) << status;
  status = CheckTarget("catalog/a/1", target, AsBytes("hello "));
  EXPECT_TRUE(absl::IsDataLoss(status) && Says(status, "expected 5 bytes, got 6")) << status;
  EXPECT_TRUE(absl::IsNotFound(state.FindTarget("catalog/b/1", TrustEpoch()).status()));
}

TEST(TrustAttackTest, OneSignatureManyTimesCountsOnce) {
  TrustRepository repository;
  const TrustState state = UpdatedState(repository);
  const auto root_keys = repository.keys[TrustRole::kRoot];
  repository.keys[TrustRole::kRoot] = {root_keys[0]};
  TrustUpdate update = repository.Publish();
  update.roots = {repository.NextRoot({})};
  auto& signatures = update.roots[0].signatures;
  ASSERT_EQ(signatures.size(), 1u);
  signatures.assign(3, signatures[0]);
  const absl::Status status = Refused(state, update);
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_TRUE(Says(status, "by 2 of the 3 keys of root version 1, got 1 (3 signatures came)"));
}

// Signatures by keys that have no role, and bad ones, neither help nor harm.
TEST(TrustAttackTest, ExtraneousKeysDoNotCount) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  const auto root_keys = repository.keys[TrustRole::kRoot];
  const auto others = repository.NewKeys(4);
  repository.keys[TrustRole::kRoot] = {root_keys[0]};
  TrustUpdate update = repository.Publish();
  update.roots = {repository.NextRoot(others)};
  EXPECT_TRUE(Says(Refused(state, update), "got 1 (5 signatures came)"));
  AddSignature(TrustRole::kRoot, *root_keys[2], &update.roots[0]);
  TrustSignature broken = update.roots[0].signatures[0];
  broken.signature[3] ^= 1;
  update.roots[0].signatures.insert(update.roots[0].signatures.begin(), broken);
  const absl::Status status = state.Update(update, TrustEpoch());
  EXPECT_TRUE(status.ok()) << status;
}

TEST(TrustAttackTest, KeysStolenBelowTheThresholdSignNothing) {
  TrustRepository repository;
  repository.SetKeys(TrustRole::kTargets, repository.NewKeys(3), 2);
  const TrustState state = UpdatedState(repository);
  TrustRepository stolen = repository;
  stolen.keys[TrustRole::kTargets].resize(1);
  stolen.targets.targets["catalog/a/1"].hash[0] ^= 1;
  EXPECT_TRUE(Says(Refused(state, stolen.PublishNext()), "by 2 of the 3 keys"));
  stolen = repository;
  stolen.keys[TrustRole::kRoot].resize(1);
  stolen.SetKeys(TrustRole::kTargets, stolen.NewKeys(1), 1);
  TrustUpdate update = stolen.PublishNext();
  update.roots = {stolen.NextRoot({})};
  EXPECT_TRUE(Says(Refused(state, update), "by 2 of the 3 keys of root version 1, got 1"));
}

TEST(TrustAttackTest, RootSignedByItsNewKeysOnly) {
  TrustRepository repository;
  const TrustState state = UpdatedState(repository);
  repository.SetKeys(TrustRole::kRoot, repository.NewKeys(3), 2);
  TrustUpdate update = repository.Publish();
  update.roots = {repository.NextRoot({})};
  const absl::Status status = Refused(state, update);
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_TRUE(Says(status, "of root version 1, got 0 (3 signatures came)")) << status;
}

TEST(TrustAttackTest, RootSignedByTheOldKeysOnly) {
  TrustRepository repository;
  const TrustState state = UpdatedState(repository);
  const auto old = repository.keys[TrustRole::kRoot];
  repository.SetKeys(TrustRole::kRoot, repository.NewKeys(3), 2);
  repository.keys[TrustRole::kRoot] = old;
  TrustUpdate update = repository.Publish();
  update.roots = {repository.NextRoot({})};
  const absl::Status status = Refused(state, update);
  EXPECT_TRUE(absl::IsPermissionDenied(status)) << status;
  EXPECT_TRUE(Says(status, "of root version 2 itself, got 0")) << status;
}

TEST(TrustAttackTest, AFirstRootMustBeSignedByItself) {
  TrustRepository repository;
  SignedMetadata root = repository.SignedRoot();
  root.signatures.resize(1);
  const absl::Status status = TrustState::FromRoot(root).status();
  EXPECT_TRUE(absl::IsPermissionDenied(status) && Says(status, "of this root, got 1")) << status;
}

// A root that was proven counts although the rest of the update is held back.
TEST(TrustAttackTest, WithholdingTheRestDoesNotUndoARevocation) {
  TrustRepository repository;
  TrustState state = UpdatedState(repository);
  const TrustUpdate old = repository.Publish();
  repository.SetKeys(TrustRole::kTimestamp, repository.NewKeys(1), 1);
  TrustUpdate update;
  update.roots = {repository.NextRoot({})};
  EXPECT_TRUE(absl::IsNotFound(state.Update(update, TrustEpoch())));
  EXPECT_EQ(state.root().version, 2u);
  const TrustState again = TrustState::Load(state.documents()).value();
  EXPECT_TRUE(absl::IsPermissionDenied(Refused(again, old)));
}

TEST(TrustAttackTest, AClockThatIsADayWrongDoesNoHarm) {
  TrustRepository repository;
  const TrustState state = TrustState::FromRoot(repository.SignedRoot()).value();
  const TrustUpdate update = repository.Publish();
  for (const absl::Duration skew : {-kDay, absl::ZeroDuration(), kDay}) {
    TrustState tried = state;
    const absl::Status status = tried.Update(update, TrustEpoch() + skew);
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(tried.FindTarget("catalog/a/1", TrustEpoch() + skew).ok());
  }
  const absl::Status status = Refused(state, update, TrustEpoch() - kDay - absl::Seconds(1));
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(Says(status, "expected a clock that is right to a day")) << status;
}

// A slow clock does not make valid what expired before the newest timestamp was signed.
TEST(TrustAttackTest, ASlowClockIsAsLateAsTheTimestamp) {
  TrustRepository repository;
  repository.targets.expires = TrustEpoch();
  TrustState state = TrustState::FromRoot(repository.SignedRoot()).value();
  const absl::Time slow = TrustEpoch() - kDay;
  absl::Status status = state.Update(repository.Publish(), slow);
  EXPECT_TRUE(absl::IsDeadlineExceeded(status) && Says(status, "targets metadata")) << status;
  status = state.FindTarget("catalog/a/1", slow).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

}  // namespace
}  // namespace lorikeet
