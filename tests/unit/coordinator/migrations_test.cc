// Stores of every earlier schema version open, with all that was in them.
#include "coordinator/storage/migrations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "coordinator/storage/sqlite_store.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using testing::HasSubstr;

// A version's tables as its programs made them, and a row in each.  Kept as they were: these texts
// are what is out there, not what migrations.cc says today.
constexpr char kVersion1[] = R"sql(
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS tasks (
  name TEXT PRIMARY KEY, config TEXT NOT NULL, state INTEGER NOT NULL, created INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS rounds (
  id INTEGER PRIMARY KEY, task TEXT NOT NULL REFERENCES tasks(name), number INTEGER NOT NULL,
  session BLOB NOT NULL UNIQUE, description BLOB NOT NULL, signature BLOB NOT NULL, key BLOB NOT NULL,
  status INTEGER NOT NULL, opened INTEGER NOT NULL, finished INTEGER, message TEXT NOT NULL,
  survivor_count INTEGER NOT NULL, transcript BLOB NOT NULL, report TEXT NOT NULL,
  UNIQUE (task, number)) STRICT;
CREATE INDEX IF NOT EXISTS rounds_by_status ON rounds (status);
CREATE TABLE IF NOT EXISTS round_events (
  position INTEGER PRIMARY KEY, round_id INTEGER NOT NULL REFERENCES rounds(id), kind INTEGER NOT NULL,
  device TEXT NOT NULL, payload BLOB NOT NULL, at INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS events_by_round ON round_events (round_id, position);
CREATE TABLE IF NOT EXISTS releases (
  kind TEXT NOT NULL, base_fingerprint TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL,
  manifest TEXT NOT NULL, signature BLOB NOT NULL, key BLOB NOT NULL, published INTEGER NOT NULL,
  PRIMARY KEY (kind, base_fingerprint, version)) STRICT;
CREATE TABLE IF NOT EXISTS devices (
  id TEXT PRIMARY KEY, enrolled INTEGER NOT NULL, revoked INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS ledger (
  task TEXT NOT NULL, round_number INTEGER NOT NULL, epsilon REAL NOT NULL, delta REAL NOT NULL,
  noise_multiplier REAL NOT NULL, charged INTEGER NOT NULL, spent INTEGER NOT NULL,
  PRIMARY KEY (task, round_number)) STRICT;
INSERT INTO meta VALUES ('schema_version', '1'), ('endpoint', 'example:1');
INSERT INTO tasks VALUES ('voices', '{}', 1, 1000);
INSERT INTO rounds VALUES (7, 'voices', 3, zeroblob(32), X'0102', zeroblob(64), zeroblob(32), 0,
  2000, NULL, '', 0, zeroblob(32), '');
INSERT INTO round_events VALUES (9, 7, 1, 'device-1', X'0a0b', 2500);
INSERT INTO releases VALUES ('catalog', 'base', 4, 'voices', '{}', zeroblob(64), zeroblob(32), 900);
INSERT INTO devices VALUES ('device-1', 10, NULL), ('device-2', 11, 12);
INSERT INTO ledger VALUES ('voices', 3, 1.5, 1e-5, 0.7, 2000, 1);
)sql";

// Version 1 with the tables of tokens, as programs between the two had it.
constexpr char kTokensInVersion1[] = R"sql(
CREATE TABLE IF NOT EXISTS token_charges (
  epoch INTEGER NOT NULL, device TEXT NOT NULL, request BLOB NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (epoch, device, request)) STRICT;
CREATE TABLE IF NOT EXISTS spent_tokens (
  epoch INTEGER NOT NULL, nonce BLOB NOT NULL, session BLOB NOT NULL, PRIMARY KEY (epoch, nonce)) STRICT;
)sql";
constexpr char kTokenRows[] = R"sql(
INSERT INTO token_charges VALUES (5, 'device-1', zeroblob(32), 3);
INSERT INTO spent_tokens VALUES (5, zeroblob(32), zeroblob(32));
)sql";

// How a version's store looks in the field: SQL after which it is one, with rows.
std::string StoreOfVersion(int version) {
  std::string sql = kVersion1;
  if (version >= 2) {
    absl::StrAppend(&sql, kTokensInVersion1, kTokenRows,
                    "UPDATE meta SET value = '2' WHERE key = 'schema_version';");
  }
  return sql;
}

void ExpectRowsOfVersion1(Store* store) {
  EXPECT_EQ(store->GetMeta("endpoint").value(), "example:1");
  const auto tasks = store->ListTasks().value();
  ASSERT_EQ(tasks.size(), 1u);
  EXPECT_EQ(tasks[0].state, TaskState::kPaused);
  const auto rounds = store->ListRounds("voices").value();
  ASSERT_EQ(rounds.size(), 1u);
  EXPECT_EQ(rounds[0].id, 7);
  EXPECT_EQ(rounds[0].number, 3u);
  EXPECT_EQ(rounds[0].description.description, "\x01\x02");
  // It was open: version 3 keeps masked updates otherwise, and ends it.
  EXPECT_EQ(rounds[0].status, RoundStatus::kAborted);
  EXPECT_EQ(rounds[0].message, "aborted: the coordinator was updated during this round");
  EXPECT_TRUE(store->RoundEvents(7).value().empty());
  EXPECT_EQ(store->LatestRelease(ReleaseKind::kCatalog, "base").value()->version, 4u);
  EXPECT_EQ(store->ListDevices().value().size(), 2u);
  EXPECT_TRUE(store->FindDevice("device-2").value()->is_revoked());
  const auto ledger = store->ListLedger("voices").value();
  ASSERT_EQ(ledger.size(), 1u);
  EXPECT_EQ(ledger[0].epsilon, 1.5);
  EXPECT_TRUE(ledger[0].spent);
}

std::unique_ptr<Database> OpenDatabase(const std::string& path) {
  return Database::Open(path, {}).value();
}

std::string VersionOf(Database* database) {
  auto select = database->Prepare("SELECT value FROM meta WHERE key = 'schema_version'").value();
  EXPECT_TRUE(select.Step().value());
  return std::string(select.Text(0));
}

// Name of each table and index -> its columns.
std::map<std::string, std::string> Shape(Database* database) {
  std::map<std::string, std::string> shape;
  auto select = database
                    ->Prepare(
                        "SELECT m.name, group_concat(c.name || ' ' || c.type || ' ' || "
                        "c.\"notnull\" || ' ' || c.pk) FROM sqlite_master m LEFT JOIN "
                        "pragma_table_info(m.name) c GROUP BY m.name")
                    .value();
  while (select.Step().value()) shape[std::string(select.Text(0))] = std::string(select.Text(1));
  return shape;
}

class MigrationsTest : public testing::TestWithParam<int> {
 protected:
  const std::string path_ = MakeTempDir("migrations") + "/store.sqlite";
};

INSTANTIATE_TEST_SUITE_P(FromVersion, MigrationsTest, testing::Range(1, NewestSchemaVersion() + 1));

TEST_P(MigrationsTest, RowsOfAnOlderStoreAreIntact) {
  ASSERT_TRUE(OpenDatabase(path_)->Execute(StoreOfVersion(GetParam())).ok());
  const auto store = SqliteStore::Open(path_, false);
  ASSERT_TRUE(store.ok()) << store.status();
  ExpectRowsOfVersion1(store->get());
  const auto session = (*store)->FindSpentToken(5, {}).value();
  EXPECT_EQ(session.has_value(), GetParam() >= 2);
  const auto migrated = OpenDatabase(path_);
  EXPECT_EQ(VersionOf(migrated.get()), absl::StrCat(NewestSchemaVersion()));
  const auto fresh = OpenDatabase(":memory:");
  ASSERT_TRUE(MigrateSchema(fresh.get()).ok());
  EXPECT_EQ(Shape(migrated.get()), Shape(fresh.get()));
}

TEST_P(MigrationsTest, StepsLeadWhereTheFieldIs) {
  const auto steps = OpenDatabase(":memory:"), field = OpenDatabase(":memory:");
  ASSERT_TRUE(MigrateSchema(steps.get(), GetParam()).ok());
  ASSERT_TRUE(field->Execute(StoreOfVersion(GetParam())).ok());
  EXPECT_EQ(Shape(steps.get()), Shape(field.get()));
}

TEST_F(MigrationsTest, VersionsCountUpFromOne) {
  int version = 0;
  for (const Migration& step : Migrations()) EXPECT_EQ(step.version, ++version) << step.what;
  EXPECT_EQ(version, NewestSchemaVersion());
}

TEST_F(MigrationsTest, TokensInAVersion1StoreStay) {
  ASSERT_TRUE(
      OpenDatabase(path_)->Execute(absl::StrCat(kVersion1, kTokensInVersion1, kTokenRows)).ok());
  const auto store = SqliteStore::Open(path_, false);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_TRUE((*store)->FindSpentToken(5, {}).value().has_value());
}

TEST_F(MigrationsTest, ANewerOrBrokenVersionIsRefusedAndLeftAlone) {
  {
    const auto database = OpenDatabase(path_);
    ASSERT_TRUE(MigrateSchema(database.get()).ok());
    ASSERT_TRUE(
        database->Execute("UPDATE meta SET value = '999' WHERE key = 'schema_version'").ok());
  }
  const absl::Status newer = SqliteStore::Open(path_, false).status();
  EXPECT_EQ(newer.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Message(newer)),
              HasSubstr(absl::StrCat("expected schema version ", NewestSchemaVersion(),
                                     " or older, got 999")));
  EXPECT_EQ(VersionOf(OpenDatabase(path_).get()), "999");
  ASSERT_TRUE(OpenDatabase(path_)->Execute("UPDATE meta SET value = 'two'").ok());
  const absl::Status broken = SqliteStore::Open(path_, false).status();
  EXPECT_EQ(broken.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(Message(broken)), HasSubstr("expected a schema version, got 'two'"));
}

TEST_F(MigrationsTest, AFailingStepLeavesTheOldVersion) {
  // Something else sits where version 1 wants its table.
  ASSERT_TRUE(OpenDatabase(path_)->Execute("CREATE TABLE ledger (other TEXT)").ok());
  const absl::Status status = SqliteStore::Open(path_, false).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(Message(status)), HasSubstr("schema version 1"));
  EXPECT_FALSE(Shape(OpenDatabase(path_).get()).contains("tasks"));
}

}  // namespace
}  // namespace lorikeet
