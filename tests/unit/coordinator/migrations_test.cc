// Stores of every earlier schema version open, with all that was in them.
#include "coordinator/storage/migrations.h"

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "coordinator/storage/store.h"
#include "tests/unit/coordinator/store_backend.h"

namespace lorikeet {
namespace {

using testing::HasSubstr;

// A version's tables as its programs made them, and a row in each.  Kept as they were: these texts
// are what is out there, not what migrations.cc says today.  (In the words that both databases
// read; before version 6 there were stores in SQLite only.)
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
INSERT INTO rounds VALUES (7, 'voices', 3, CAST('00000000000000000000000000000000' AS BLOB), CAST('described' AS BLOB), CAST('0000000000000000000000000000000000000000000000000000000000000000' AS BLOB), CAST('00000000000000000000000000000000' AS BLOB), 0,
  2000, NULL, '', 0, CAST('00000000000000000000000000000000' AS BLOB), '');
INSERT INTO round_events VALUES (9, 7, 1, 'device-1', CAST('message' AS BLOB), 2500);
INSERT INTO releases VALUES ('catalog', 'base', 4, 'voices', '{}', CAST('0000000000000000000000000000000000000000000000000000000000000000' AS BLOB), CAST('00000000000000000000000000000000' AS BLOB), 900);
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
INSERT INTO token_charges VALUES (5, 'device-1', CAST('00000000000000000000000000000000' AS BLOB), 3);
INSERT INTO spent_tokens VALUES (5, CAST('00000000000000000000000000000000' AS BLOB), CAST('00000000000000000000000000000000' AS BLOB));
)sql";

constexpr char kVersion3[] = R"sql(
CREATE TABLE partial_sums (
  round_id INTEGER NOT NULL REFERENCES rounds(id), writer TEXT NOT NULL, sum BLOB NOT NULL,
  PRIMARY KEY (round_id, writer)) STRICT;
UPDATE rounds SET status = 2, finished = opened,
  message = 'aborted: the coordinator was updated during this round' WHERE status = 0;
DELETE FROM round_events;
INSERT INTO partial_sums VALUES (7, 'writer', CAST('sum' AS BLOB));
)sql";
constexpr char kVersion4[] = R"sql(
CREATE TABLE central_noise (
  task TEXT PRIMARY KEY REFERENCES tasks(name), state BLOB NOT NULL) STRICT;
INSERT INTO central_noise VALUES ('voices', CAST('noise' AS BLOB));
)sql";
constexpr char kVersion5[] = R"sql(
ALTER TABLE ledger ADD COLUMN sweep INTEGER NOT NULL DEFAULT 0;
UPDATE ledger SET sweep = round_number;
CREATE TABLE kept_sums (
  round_id INTEGER PRIMARY KEY REFERENCES rounds(id), task TEXT NOT NULL,
  sweep INTEGER NOT NULL, sum BLOB NOT NULL) STRICT;
INSERT INTO kept_sums VALUES (7, 'voices', 3, CAST('kept' AS BLOB));
)sql";
constexpr char kVersion6[] = R"sql(
CREATE TABLE leases (
  name TEXT PRIMARY KEY, token INTEGER NOT NULL, holder TEXT NOT NULL, address TEXT NOT NULL,
  expires INTEGER NOT NULL) STRICT;
INSERT INTO leases VALUES ('rounds', 41, '', '', 0);
)sql";
constexpr char kVersion7[] = R"sql(
CREATE TABLE trust_documents (
  role TEXT NOT NULL, version INTEGER NOT NULL, document TEXT NOT NULL,
  PRIMARY KEY (role, version)) STRICT;
CREATE TABLE log_entries (
  position INTEGER NOT NULL, kind INTEGER NOT NULL, content BLOB NOT NULL,
  PRIMARY KEY (position), UNIQUE (content, kind)) STRICT;
CREATE TABLE log_nodes (
  level INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL,
  PRIMARY KEY (level, position)) STRICT;
INSERT INTO log_entries VALUES (0, 1, CAST('00000000000000000000000000000000' AS BLOB));
)sql";
// What each version added, from 3 on.
constexpr const char* kLaterVersions[] = {kVersion3, kVersion4, kVersion5, kVersion6, kVersion7};

// How a version's store looks in the field: SQL after which it is one, with rows.
std::string StoreOfVersion(int version) {
  std::string sql = kVersion1;
  if (version >= 2) absl::StrAppend(&sql, kTokensInVersion1, kTokenRows);
  for (int later = 3; later <= version; ++later) {
    if (static_cast<size_t>(later) - 3 < std::size(kLaterVersions)) {
      absl::StrAppend(&sql, kLaterVersions[later - 3]);
    }
  }
  absl::StrAppend(&sql, "UPDATE meta SET value = '", version, "' WHERE key = 'schema_version';");
  return sql;
}

Hash256 ZeroDigits() {
  Hash256 digits;
  digits.fill('0');
  return digits;
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
  EXPECT_EQ(rounds[0].description.description, "described");
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
  EXPECT_EQ(ledger[0].sweep, 3u);
}

void ExpectRowsOfLaterVersions(Store* store, int version) {
  EXPECT_EQ(store->FindSpentToken(5, ZeroDigits()).value().has_value(), version >= 2);
  EXPECT_EQ(store->PartialSums(7).value().size(), version >= 3 ? 1u : 0u);
  EXPECT_EQ(store->FindNoise("voices").value().has_value(), version >= 4);
  EXPECT_EQ(store->KeptSums("voices", 3).value().size(), version >= 5 ? 1u : 0u);
  EXPECT_EQ(store->FindLease("rounds").value().has_value(), version >= 6);
}

std::string VersionOf(SqlConnection* database) {
  auto select = database->Prepare("SELECT value FROM meta WHERE key = 'schema_version'").value();
  EXPECT_TRUE(select.Step().value());
  return std::string(select.Text(0));
}

// Each column of each table and index, in order.
std::vector<std::string> Shape(SqlConnection* database, StoreBackend backend) {
  constexpr char kOfSqlite[] =
      "SELECT m.name || '.' || coalesce(c.name || ' ' || c.type || ' ' || c.\"notnull\" || ' ' || "
      "c.pk || coalesce(c.dflt_value, ''), '') FROM sqlite_master m "
      "LEFT JOIN pragma_table_info(m.name) c ORDER BY 1";
  constexpr char kOfPostgres[] =
      "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' || "
      "coalesce(column_default, '') FROM information_schema.columns "
      "WHERE table_schema = current_schema() UNION ALL SELECT regexp_replace(indexdef, "
      "' ON [^ ]*', '') FROM pg_indexes WHERE schemaname = current_schema() ORDER BY 1";
  std::vector<std::string> shape;
  auto select =
      database->Prepare(backend == StoreBackend::kSqlite ? kOfSqlite : kOfPostgres).value();
  while (select.Step().value()) shape.emplace_back(select.Text(0));
  return shape;
}

class MigrationsTest : public StoreBackendTest {
 protected:
  std::unique_ptr<SqlConnection> Connect() { return ConnectToStore(place_); }
  // From here on an empty store elsewhere.
  void MoveOn() { place_ = StorePlace(GetParam(), server_); }
};
LORIKEET_INSTANTIATE_STORE_TEST(MigrationsTest);

TEST_P(MigrationsTest, RowsOfOlderStoresAreIntact) {
  const auto fresh = Connect();
  ASSERT_TRUE(MigrateSchema(fresh.get()).ok());
  for (int version = 1; version <= NewestSchemaVersion(); ++version) {
    SCOPED_TRACE(absl::StrCat("from version ", version));
    MoveOn();
    const absl::Status made = Connect()->ExecuteSchema(StoreOfVersion(version));
    ASSERT_TRUE(made.ok()) << made;
    const auto store = Open();
    ASSERT_NE(store, nullptr);
    ExpectRowsOfVersion1(store.get());
    ExpectRowsOfLaterVersions(store.get(), version);
    const auto migrated = Connect();
    EXPECT_EQ(VersionOf(migrated.get()), absl::StrCat(NewestSchemaVersion()));
    EXPECT_EQ(Shape(migrated.get(), GetParam()), Shape(fresh.get(), GetParam()));
  }
}

TEST_P(MigrationsTest, StepsLeadWhereTheFieldIs) {
  for (int version = 1; version <= NewestSchemaVersion(); ++version) {
    SCOPED_TRACE(absl::StrCat("version ", version));
    MoveOn();
    const auto steps = Connect();
    ASSERT_TRUE(MigrateSchema(steps.get(), version).ok());
    MoveOn();
    const auto field = Connect();
    ASSERT_TRUE(field->ExecuteSchema(StoreOfVersion(version)).ok());
    EXPECT_EQ(Shape(steps.get(), GetParam()), Shape(field.get(), GetParam()))
        << "say in StoreOfVersion what this version added";
  }
}

TEST_P(MigrationsTest, TokensInAVersion1StoreStay) {
  ASSERT_TRUE(
      Connect()->ExecuteSchema(absl::StrCat(kVersion1, kTokensInVersion1, kTokenRows)).ok());
  EXPECT_TRUE(Open()->FindSpentToken(5, ZeroDigits()).value().has_value());
}

// Identity columns must go on after the rows that came with an older store.
TEST_P(MigrationsTest, RoundsOpenInAMigratedStore) {
  ASSERT_TRUE(Connect()->ExecuteSchema(StoreOfVersion(1)).ok());
  const auto store = Open();
  RoundOpening opening;
  opening.round.task = opening.ledger.task = "voices";
  opening.round.number = opening.ledger.round_number = 4;
  EXPECT_TRUE(store->OpenSweep({opening}).ok());
}

TEST_P(MigrationsTest, ANewerOrBrokenVersionIsRefusedAndLeftAlone) {
  ASSERT_NE(Open(), nullptr);
  ASSERT_TRUE(
      Connect()->ExecuteSchema("UPDATE meta SET value = '999' WHERE key = 'schema_version'").ok());
  const absl::Status newer = OpenStore(place_, true).status();
  EXPECT_EQ(newer.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Message(newer)),
              HasSubstr(absl::StrCat("expected schema version ", NewestSchemaVersion(),
                                     " or older, got 999")));
  EXPECT_EQ(VersionOf(Connect().get()), "999");
  ASSERT_TRUE(Connect()->ExecuteSchema("UPDATE meta SET value = 'two'").ok());
  const absl::Status broken = OpenStore(place_, true).status();
  EXPECT_EQ(broken.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(Message(broken)), HasSubstr("expected a schema version, got 'two'"));
}

TEST_P(MigrationsTest, AFailingStepLeavesTheOldVersion) {
  // Something else sits where version 1 wants its table.
  ASSERT_TRUE(Connect()->ExecuteSchema("CREATE TABLE ledger (other TEXT)").ok());
  const absl::Status status = OpenStore(place_, true).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(std::string(Message(status)), HasSubstr("schema version 1"));
  EXPECT_FALSE(Connect()->HasTable("tasks").value());
  EXPECT_FALSE(Connect()->HasTable("meta").value());
}

TEST(MigrationListTest, VersionsCountUpFromOne) {
  int version = 0;
  for (const Migration& step : Migrations()) EXPECT_EQ(step.version, ++version) << step.what;
  EXPECT_EQ(version, NewestSchemaVersion());
}

}  // namespace
}  // namespace lorikeet
