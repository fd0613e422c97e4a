// What a coordinator vouches for, as a device sees it.
#include "coordinator/distribution/trust_office.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/wire/manifest.h"
#include "coordinator/distribution/root_keeper.h"
#include "coordinator/storage/sqlite_store.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kDay = absl::Hours(24);

class TrustOfficeTest : public testing::Test {
 protected:
  TrustOfficeTest() {
    for (const char* name : {"root1", "root2", "targets", "snapshot", "timestamp", "log"}) {
      keys_.emplace(name, SigningKey::Generate(&random_));
    }
    store_ = SqliteStore::Open(":memory:", true).value();
    first_root_ = MakeFirstRoot({.root_keys = {&Key("root1"), &Key("root2")},
                                 .threshold = 2,
                                 .online = Online(),
                                 .expires = clock_.Now() + 365 * kDay});
    EXPECT_TRUE(AcceptRoot(store_.get(), first_root_).ok());
  }
  const SigningKey& Key(const std::string& name) { return keys_.at(name); }
  std::map<TrustRole, Ed25519PublicKey> Online() {
    return {{TrustRole::kTargets, Key("targets").public_key()},
            {TrustRole::kSnapshot, Key("snapshot").public_key()},
            {TrustRole::kTimestamp, Key("timestamp").public_key()},
            {TrustRole::kLog, Key("log").public_key()},
            {TrustRole::kRounds, Key("targets").public_key()}};
  }
  TrustOffice::Options OfficeOptions() {
    return {.store = store_.get(),
            .clock = &clock_,
            .keys = {.targets = &Key("targets"),
                     .snapshot = &Key("snapshot"),
                     .timestamp = &Key("timestamp"),
                     .log = &Key("log")}};
  }
  std::unique_ptr<TrustOffice> Office() {
    auto office = TrustOffice::Create(OfficeOptions());
    EXPECT_TRUE(office.ok()) << office.status();
    return *std::move(office);
  }
  std::string AddRelease(ReleaseKind kind, const std::string& base, uint64_t version) {
    ReleaseRecord release;
    release.kind = kind;
    release.base_fingerprint = base;
    release.version = version;
    release.manifest.manifest =
        absl::StrCat("manifest ", ToAbsl(ReleaseKindName(kind)), " ", base, " ", version);
    EXPECT_TRUE(store_->AddRelease(release).ok());
    return release.manifest.manifest;
  }
  // One update of a device.
  absl::Status Update(TrustOffice& office, TrustState* state) {
    TrustQuery query{.root_version = state->root().version};
    if (state->snapshot()) query.snapshot_version = state->snapshot()->version;
    if (state->targets()) query.targets_version = state->targets()->version;
    last_ = office.Answer(query).value();
    return state->Update(last_, clock_.Now());
  }
  TrustState Device() { return TrustState::FromRoot(first_root_).value(); }

  ManualClock clock_{absl::FromUnixSeconds(1790000000)};
  SeededRandom random_{"trust office", 1};
  std::map<std::string, SigningKey> keys_;
  std::unique_ptr<SqliteStore> store_;
  SignedMetadata first_root_;
  TrustUpdate last_;
};

TEST_F(TrustOfficeTest, ListsTheNewestReleasesAndProvesThemInTheLog) {
  AddRelease(ReleaseKind::kBase, "aa", 1);
  const std::string base = AddRelease(ReleaseKind::kBase, "bb", 2);
  AddRelease(ReleaseKind::kCatalog, "bb", 1);
  const std::string catalog = AddRelease(ReleaseKind::kCatalog, "bb", 2);
  const auto office = Office();
  TrustState device = Device();
  const absl::Status updated = Update(*office, &device);
  ASSERT_TRUE(updated.ok()) << updated;
  const auto check = [&](std::string_view name, const std::string& manifest) {
    const auto target = device.FindTarget(name, clock_.Now());
    return target.ok() ? CheckTarget(name, *target, AsBytes(manifest)) : target.status();
  };
  EXPECT_TRUE(check("base", base).ok());
  EXPECT_TRUE(check("base/bb", base).ok());
  EXPECT_TRUE(check("catalog/bb", catalog).ok());
  EXPECT_EQ(device.targets()->targets.size(), 4u);
  const LogQuery query{.known_size = 0,
                       .entries = {LogEntryOf(LogEntryKind::kRelease, base),
                                   LogEntryOf(LogEntryKind::kRelease, catalog)}};
  const auto evidence = office->Prove(query);
  ASSERT_TRUE(evidence.ok()) << evidence.status();
  const RoleKeys keys = device.KeysOf(TrustRole::kLog, clock_.Now()).value();
  EXPECT_TRUE(CheckEvidence(query.entries, *evidence, std::nullopt, keys.keys).ok());
}

TEST_F(TrustOfficeTest, ADeviceIsSentWhatItDoesNotHave) {
  AddRelease(ReleaseKind::kCatalog, "aa", 1);
  const auto office = Office();
  TrustState device = Device();
  ASSERT_TRUE(Update(*office, &device).ok());
  EXPECT_TRUE(last_.roots.empty());
  EXPECT_TRUE(last_.snapshot && last_.targets);
  ASSERT_TRUE(Update(*office, &device).ok());
  EXPECT_FALSE(last_.snapshot || last_.targets);
  AddRelease(ReleaseKind::kCatalog, "aa", 2);
  office->ReleasesChanged();
  ASSERT_TRUE(Update(*office, &device).ok());
  EXPECT_TRUE(last_.snapshot && last_.targets);
  EXPECT_EQ(device.targets()->version, 2u);
}

// Somebody else's releases are found within a minute, as when a publisher died half way.
TEST_F(TrustOfficeTest, LooksAgainAfterAMinute) {
  const auto office = Office();
  TrustState device = Device();
  AddRelease(ReleaseKind::kCatalog, "aa", 1);
  ASSERT_TRUE(Update(*office, &device).ok());
  EXPECT_TRUE(device.targets()->targets.empty());
  clock_.Advance(absl::Minutes(1));
  ASSERT_TRUE(Update(*office, &device).ok());
  EXPECT_EQ(device.targets()->targets.size(), 1u);
}

// A server that runs for a year never lets a document expire, and signs the timestamp only
// when half of its week is over.
TEST_F(TrustOfficeTest, SignsAgainInTime) {
  AddRelease(ReleaseKind::kCatalog, "aa", 1);
  const auto office = Office();
  TrustState device = Device();
  for (int day = 0; day < 364; ++day) {
    const absl::Status updated = Update(*office, &device);
    ASSERT_TRUE(updated.ok()) << "day " << day << ": " << updated;
    clock_.Advance(kDay);
  }
  // Twice a week, and with each new snapshot.
  EXPECT_GT(device.timestamp()->version, 364u / 4);
  EXPECT_LT(device.timestamp()->version, 110u);
  EXPECT_EQ(device.targets()->version, 8u);
  // The root is not this office's to renew.
  clock_.Advance(kDay);
  const absl::Status expired = Update(*office, &device);
  EXPECT_TRUE(absl::IsDeadlineExceeded(expired)) << expired;
  EXPECT_THAT(std::string(Message(expired)), HasSubstr("root metadata"));
}

// Clocks a day off, at any moment between two signatures.
TEST_F(TrustOfficeTest, DevicesWithClocksADayOffFollow) {
  AddRelease(ReleaseKind::kCatalog, "aa", 1);
  const auto office = Office();
  for (int hour = 0; hour < 24 * 8; hour += 5) {
    for (const absl::Duration skew : {-kDay, kDay}) {
      TrustState device = Device();
      const TrustUpdate update = office->Answer({.root_version = 1}).value();
      const absl::Status updated = device.Update(update, clock_.Now() + skew);
      EXPECT_TRUE(updated.ok()) << "hour " << hour << ": " << updated;
    }
    clock_.Advance(absl::Hours(5));
  }
}

TEST_F(TrustOfficeTest, TwoProcessesOverOneStoreAgree) {
  const auto first = Office(), second = Office();
  TrustState device = Device();
  for (uint64_t version = 1; version <= 6; ++version) {
    AddRelease(ReleaseKind::kCatalog, "aa", version);
    TrustOffice& office = version % 2 == 0 ? *first : *second;
    ASSERT_TRUE(office.Refresh().ok());
    ASSERT_TRUE(Update(version % 2 == 0 ? *second : *first, &device).ok());
    EXPECT_EQ(device.targets()->version, version + 1);
  }
  EXPECT_EQ(store_->LogSize().value(), 6u);
}

TEST_F(TrustOfficeTest, RotatedOnlineKeysAreUsedAtTheNextStart) {
  AddRelease(ReleaseKind::kCatalog, "aa", 1);
  auto office = Office();
  TrustState device = Device();
  ASSERT_TRUE(Update(*office, &device).ok());
  const uint64_t before = device.timestamp()->version;
  RootMetadata next = NewestRoot(store_.get())->root();
  ++next.version;
  for (const char* name : {"targets", "timestamp"}) {
    keys_.insert_or_assign(name, SigningKey::Generate(&random_));
  }
  for (const auto& [role, key] : Online()) next.role(role) = MakeRoleKeys({key}, 1);
  const auto root =
      SignMetadata(TrustRole::kRoot, SerializeRoot(next), {&Key("root1"), &Key("root2")});
  ASSERT_TRUE(AcceptRoot(store_.get(), root).ok());
  office = Office();
  const absl::Status updated = Update(*office, &device);
  EXPECT_TRUE(updated.ok()) << updated;
  EXPECT_EQ(device.root().version, 2u);
  EXPECT_GT(device.timestamp()->version, before);
  EXPECT_TRUE(device.FindTarget("catalog/aa", clock_.Now()).ok());
}

TEST_F(TrustOfficeTest, KeysThatTheRootDoesNotNameAreRefused) {
  keys_.insert_or_assign("snapshot", SigningKey::Generate(&random_));
  const absl::Status status = TrustOffice::Create(OfficeOptions()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(Message(status)), HasSubstr("expected the snapshot key"));
  store_ = SqliteStore::Open(":memory:", true).value();
  EXPECT_THAT(std::string(Message(TrustOffice::Create(OfficeOptions()).status())),
              HasSubstr("expected a root in the store"));
}

TEST_F(TrustOfficeTest, RootsAreTakenAsDevicesTakeThem) {
  RootMetadata next = NewestRoot(store_.get())->root();
  ++next.version;
  const std::string bytes = SerializeRoot(next);
  const absl::Status one_key =
      AcceptRoot(store_.get(), SignMetadata(TrustRole::kRoot, bytes, {&Key("root1")}));
  EXPECT_TRUE(absl::IsPermissionDenied(one_key)) << one_key;
  const auto both = SignMetadata(TrustRole::kRoot, bytes, {&Key("root1"), &Key("root2")});
  EXPECT_TRUE(AcceptRoot(store_.get(), both).ok());
  EXPECT_FALSE(AcceptRoot(store_.get(), both).ok());
  EXPECT_EQ(NewestRoot(store_.get())->root().version, 2u);
}

TEST_F(TrustOfficeTest, ProvesNothingThatIsNotInTheLog) {
  const auto office = Office();
  const LogEntry round = LogEntryOf(LogEntryKind::kRound, "a round");
  EXPECT_TRUE(absl::IsNotFound(office->Prove({.known_size = 0, .entries = {round}}).status()));
  ASSERT_TRUE(office->Log(round).ok());
  ASSERT_TRUE(office->Log(round).ok());
  EXPECT_EQ(store_->LogSize().value(), 1u);
  EXPECT_TRUE(office->Prove({.known_size = 1, .entries = {round}}).ok());
  const absl::Status ahead = office->Prove({.known_size = 2, .entries = {round}}).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(ahead)) << ahead;
}

}  // namespace
}  // namespace lorikeet
