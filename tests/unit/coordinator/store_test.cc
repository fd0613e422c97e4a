// Every method of the store, over SQLite and over PostgreSQL: tasks, releases, devices, tokens.
// Rounds are in store_rounds_test.cc, leases in store_leases_test.cc.
#include "coordinator/storage/store.h"

#include <thread>

#include "absl/strings/str_cat.h"
#include "common/base/strings.h"
#include "tests/unit/coordinator/store_backend.h"

namespace lorikeet {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr absl::Time kNow = absl::FromUnixSeconds(1700000000);

// Whoever pastes this into SQL loses a table, and whoever cuts it at a special byte loses half.
const char kInjection[] =
    "x'); DROP TABLE tasks; -- \" \\' $1 ?1 %s \n \xe2\x80\x98\xf0\x9f\xa6\x9c";

Hash256 HashOf(uint8_t byte) {
  Hash256 hash;
  hash.fill(byte);
  return hash;
}

class StoreTest : public StoreBackendTest {
 protected:
  void SetUp() override {
    StoreBackendTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    store_ = Open();
    ASSERT_NE(store_, nullptr);
  }
  std::unique_ptr<Store> store_;
};
LORIKEET_INSTANTIATE_STORE_TEST(StoreTest);

TEST_P(StoreTest, MetaIsReplacedAndSeenByOthers) {
  EXPECT_EQ(store_->GetMeta("endpoint").value(), std::nullopt);
  ASSERT_TRUE(store_->SetMeta("endpoint", "a").ok());
  ASSERT_TRUE(store_->SetMeta("endpoint", kInjection).ok());
  EXPECT_EQ(Open()->GetMeta("endpoint").value(), kInjection);
}

TEST_P(StoreTest, TasksKeepEveryCharacterOfTheirNames) {
  const TaskRecord task{
      .name = kInjection, .config = "{}", .state = TaskState::kActive, .created = kNow};
  ASSERT_TRUE(store_->AddTask(task).ok());
  EXPECT_EQ(store_->AddTask(task).code(), absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(
      store_->AddTask({.name = "first", .config = "", .created = kNow - absl::Seconds(1)}).ok());
  ASSERT_TRUE(store_->SetTaskState(kInjection, TaskState::kPaused).ok());
  EXPECT_EQ(store_->SetTaskState("none", TaskState::kEnded).code(), absl::StatusCode::kNotFound);
  const auto tasks = Open()->ListTasks().value();
  ASSERT_EQ(tasks.size(), 2u);
  EXPECT_EQ(tasks[0].name, "first");
  EXPECT_EQ(tasks[1].name, kInjection);
  EXPECT_EQ(tasks[1].config, "{}");
  EXPECT_EQ(tasks[1].state, TaskState::kPaused);
  EXPECT_EQ(tasks[1].created, kNow);
}

TEST_P(StoreTest, ReleasesByKindBaseAndVersion) {
  ReleaseRecord release{.kind = ReleaseKind::kCatalog,
                        .name = "voices",
                        .version = 1,
                        .base_fingerprint = "base",
                        .manifest = {.manifest = kInjection},
                        .published = kNow};
  release.manifest.signature.fill(0xfe);
  release.manifest.key.fill(0);
  ASSERT_TRUE(store_->AddRelease(release).ok());
  const absl::Status twice = store_->AddRelease(release);
  EXPECT_EQ(twice.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Message(twice), "version 1 of this catalog is published already");
  release.version = uint64_t{1} << 40;
  release.published += absl::Seconds(1);
  ASSERT_TRUE(store_->AddRelease(release).ok());
  release.base_fingerprint = "other";
  release.version = 7;
  ASSERT_TRUE(store_->AddRelease(release).ok());

  const auto latest = Open()->LatestRelease(ReleaseKind::kCatalog, "base").value();
  ASSERT_TRUE(latest.has_value());
  EXPECT_EQ(latest->version, uint64_t{1} << 40);
  EXPECT_EQ(latest->name, "voices");
  EXPECT_EQ(latest->manifest.manifest, kInjection);
  EXPECT_EQ(latest->manifest.signature, release.manifest.signature);
  EXPECT_EQ(latest->manifest.key, release.manifest.key);
  EXPECT_EQ(latest->published, kNow + absl::Seconds(1));
  EXPECT_EQ(store_->LatestRelease(ReleaseKind::kCatalog, "").value()->version, uint64_t{1} << 40);
  EXPECT_EQ(store_->LatestRelease(ReleaseKind::kCatalog, "other").value()->version, 7u);
  EXPECT_EQ(store_->LatestRelease(ReleaseKind::kCatalog, "'' OR 1=1").value(), std::nullopt);
  EXPECT_EQ(store_->LatestRelease(ReleaseKind::kBase, "base").value(), std::nullopt);
  EXPECT_EQ(store_->ListReleases().value().size(), 3u);
  EXPECT_EQ(store_->ListReleases().value().back().version, 1u);
}

TEST_P(StoreTest, DevicesComeAndGo) {
  ASSERT_TRUE(store_->AddDevice({.id = "b", .enrolled = kNow}).ok());
  ASSERT_TRUE(store_->AddDevice({.id = kInjection, .enrolled = kNow}).ok());
  ASSERT_TRUE(store_->AddDevice({.id = "a", .enrolled = kNow}).ok());
  const absl::Status twice = store_->AddDevice({.id = "a", .enrolled = kNow});
  EXPECT_EQ(twice.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Message(twice), "device a is enrolled already");
  const auto other = Open();
  ASSERT_TRUE(other->RevokeDevice("a", kNow + absl::Seconds(5)).ok());
  ASSERT_TRUE(other->RevokeDevice("a", kNow + absl::Seconds(9)).ok());  // the first time counts
  EXPECT_EQ(other->RevokeDevice("x' OR '1'='1", kNow).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store_->FindDevice("a").value()->revoked, kNow + absl::Seconds(5));
  EXPECT_FALSE(store_->FindDevice(kInjection).value()->is_revoked());
  EXPECT_EQ(store_->FindDevice("none").value(), std::nullopt);
  std::vector<std::string> ids;
  const auto devices = store_->ListDevices().value();
  for (const DeviceRecord& device : devices) ids.push_back(device.id);
  EXPECT_THAT(ids, ElementsAre("a", "b", kInjection));
  const auto counts = store_->CountDevices().value();
  EXPECT_EQ(counts.enrolled, 2);
  EXPECT_EQ(counts.revoked, 1);
}

TEST_P(StoreTest, TokenChargesCountOnceAndStopAtTheLimit) {
  const TokenChargeRecord charge{.device = "a", .epoch = 5, .request = HashOf(1), .count = 2};
  EXPECT_TRUE(store_->TryChargeTokens(charge, 3).value());
  EXPECT_TRUE(Open()->TryChargeTokens(charge, 3).value());
  TokenChargeRecord more{.device = "a", .epoch = 5, .request = HashOf(2), .count = 2};
  EXPECT_FALSE(store_->TryChargeTokens(more, 3).value());
  more.count = 1;
  EXPECT_TRUE(store_->TryChargeTokens(more, 3).value());
  more.device = "b";
  EXPECT_TRUE(store_->TryChargeTokens(more, 3).value());
  EXPECT_TRUE(store_->ForgetTokens(6).ok());
  more.device = "a";
  more.count = 3;
  EXPECT_TRUE(store_->TryChargeTokens(more, 3).value());
}

// Two offices must not each grant a device what is left for it.
TEST_P(StoreTest, ConcurrentChargesOfADeviceStayWithinItsLimit) {
  constexpr int kThreads = 4, kEach = 10, kLimit = 15;
  std::atomic<int> granted = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const auto store = Open();
      for (int i = 0; i < kEach; ++i) {
        const TokenChargeRecord charge{.device = "a",
                                       .epoch = 5,
                                       .request = HashOf(static_cast<uint8_t>(t * kEach + i)),
                                       .count = 1};
        const auto charged = store->TryChargeTokens(charge, kLimit);
        ASSERT_TRUE(charged.ok()) << charged.status();
        granted += *charged ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(granted, kLimit);
}

TEST_P(StoreTest, ANewerSchemaIsRefused) {
  ASSERT_TRUE(store_->SetMeta("schema_version", "999").ok());
  const absl::Status status = OpenStore(place_, true).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Message(status)), HasSubstr("or older, got 999"));
}

// A fleet's first start: every replica finds an empty database and wants to make the tables.
TEST_P(StoreTest, ReplicasMayOpenAnEmptyStoreAtOnce) {
  place_ = StorePlace(GetParam(), server_);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const auto store = Open();
      ASSERT_NE(store, nullptr);
      EXPECT_TRUE(store->ListTasks().ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_P(StoreTest, ComesBackAfterItsServerWasKilled) {
  if (GetParam() == StoreBackend::kSqlite) GTEST_SKIP() << "SQLite has no server";
  ASSERT_TRUE(store_->SetMeta("kept", "yes").ok());
  server_->Kill();
  const absl::Status away = store_->SetMeta("lost", "yes");
  EXPECT_EQ(away.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(Message(away)), HasSubstr("cannot connect"));
  ASSERT_TRUE(server_->Restart().ok());
  EXPECT_EQ(store_->GetMeta("kept").value(), "yes");
  EXPECT_EQ(store_->GetMeta("lost").value(), std::nullopt);
}

TEST(OpenStoreTest, MissingFilesAndServersAreNamed) {
  const absl::Status file = OpenStore("/nowhere/store.sqlite", false).status();
  EXPECT_EQ(file.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Message(file)), HasSubstr("/nowhere/store.sqlite"));
  const absl::Status server = OpenStore("postgresql://u@127.0.0.1:1/d", false).status();
  EXPECT_EQ(server.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(Message(server)), HasSubstr("127.0.0.1"));
}

}  // namespace
}  // namespace lorikeet
