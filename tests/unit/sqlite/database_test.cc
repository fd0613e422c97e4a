// The one door to SQLite: values, errors by code, transactions.
#include "common/sqlite/database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "common/base/file.h"
#include "common/base/strings.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

std::unique_ptr<Database> OpenTable(const std::string& path) {
  auto database = Database::Open(path, {});
  EXPECT_TRUE(database.ok()) << database.status();
  EXPECT_TRUE(
      (*database)
          ->Execute("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, name TEXT UNIQUE,"
                    " data BLOB, number REAL)")
          .ok());
  return *std::move(database);
}

int64_t Count(Database* database) {
  auto count = database->Prepare("SELECT COUNT(*) FROM t").value();
  EXPECT_TRUE(count.Step().value());
  return count.Int(0);
}

TEST(DatabaseTest, ValuesComeBackAsTheyWere) {
  const auto database = OpenTable(":memory:");
  const std::string text("nul \0 inside, umlaut \xc3\xa4", 23);
  const std::vector<uint8_t> bytes = {0, 255, 0, 7};
  auto insert = database->Prepare("INSERT INTO t VALUES (?, ?, ?, ?)").value();
  ASSERT_TRUE(insert.Bind(1, std::numeric_limits<int64_t>::min())
                  .BindText(2, text)
                  .BindBlob(3, bytes)
                  .Bind(4, 1.0 / 3)
                  .Run()
                  .ok());
  EXPECT_EQ(database->changes(), 1);
  EXPECT_EQ(database->last_insert_id(), std::numeric_limits<int64_t>::min());
  auto select = database->Prepare("SELECT id, name, data, number FROM t").value();
  ASSERT_TRUE(select.Step().value());
  EXPECT_EQ(select.Int(0), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(select.Text(1), text);
  EXPECT_THAT(select.Blob(2), testing::ElementsAreArray(bytes));
  EXPECT_EQ(select.Double(3), 1.0 / 3);
  EXPECT_FALSE(select.Step().value());
}

TEST(DatabaseTest, NullsAndEmptyValuesDiffer) {
  const auto database = OpenTable(":memory:");
  auto insert = database->Prepare("INSERT INTO t (name, data, number) VALUES (?, ?, ?)").value();
  ASSERT_TRUE(insert.BindText(1, "").BindBlob(2, {}).BindNull(3).Run().ok());
  auto select = database->Prepare("SELECT name, data, number FROM t").value();
  ASSERT_TRUE(select.Step().value());
  EXPECT_FALSE(select.IsNull(0));
  EXPECT_EQ(select.Text(0), "");
  EXPECT_FALSE(select.IsNull(1));
  EXPECT_EQ(select.Blob(1).size(), 0u);
  EXPECT_TRUE(select.IsNull(2));
}

TEST(DatabaseTest, AStatementIsUsedAgainAfterReset) {
  const auto database = OpenTable(":memory:");
  auto insert = database->Prepare("INSERT INTO t (name) VALUES (?)").value();
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(insert.BindText(1, name).Run().ok());
  auto select = database->Prepare("SELECT name FROM t WHERE name > ? ORDER BY name").value();
  ASSERT_TRUE(select.BindText(1, "a").Step().value());
  EXPECT_EQ(select.Text(0), "b");
  select.Reset();
  ASSERT_TRUE(select.BindText(1, "b").Step().value());
  EXPECT_EQ(select.Text(0), "c");
}

TEST(DatabaseTest, ABrokenConstraintIsAlreadyExists) {
  const auto database = OpenTable(":memory:");
  auto insert = database->Prepare("INSERT INTO t (name) VALUES (?)").value();
  ASSERT_TRUE(insert.BindText(1, "a").Run().ok());
  EXPECT_TRUE(absl::IsAlreadyExists(insert.BindText(1, "a").Run()));
  EXPECT_TRUE(insert.BindText(1, "b").Run().ok()) << "the statement still works";
}

TEST(DatabaseTest, WrongSqlAndParametersAreOurBug) {
  const auto database = OpenTable(":memory:");
  EXPECT_TRUE(absl::IsInternal(database->Prepare("SELEKT 1").status()));
  EXPECT_TRUE(absl::IsInternal(database->Execute("DROP TABLE nothing")));
  auto select = database->Prepare("SELECT ?").value();
  EXPECT_TRUE(absl::IsInternal(select.Bind(2, int64_t{1}).Step().status()));
}

TEST(DatabaseTest, ATransactionIsAllOrNothing) {
  const auto database = OpenTable(":memory:");
  {
    auto transaction = Transaction::Begin(database.get());
    ASSERT_TRUE(transaction.ok());
    ASSERT_TRUE(database->Execute("INSERT INTO t (name) VALUES ('a')").ok());
    Transaction moved = *std::move(transaction);
    EXPECT_EQ(Count(database.get()), 1);
  }
  EXPECT_EQ(Count(database.get()), 0) << "rolled back, once";
  auto transaction = Transaction::Begin(database.get());
  ASSERT_TRUE(database->Execute("INSERT INTO t (name) VALUES ('a')").ok());
  ASSERT_TRUE(transaction->Commit().ok());
  EXPECT_EQ(Count(database.get()), 1);
}

TEST(DatabaseTest, CommittedRowsAreThereAfterReopening) {
  const std::string path = MakeTempDir("sqlite") + "/db";
  {
    ASSERT_TRUE(OpenTable(path)->Execute("INSERT INTO t (name) VALUES ('a')").ok());
  }
  EXPECT_EQ(Count(OpenTable(path).get()), 1);
}

TEST(DatabaseTest, ALockHeldTooLongIsUnavailable) {
  const std::string path = MakeTempDir("sqlite") + "/db";
  const auto first = OpenTable(path);
  auto held = Transaction::Begin(first.get());
  ASSERT_TRUE(held.ok());
  const auto second = Database::Open(path, {.busy_timeout_ms = 20}).value();
  EXPECT_TRUE(absl::IsUnavailable(Transaction::Begin(second.get()).status()));
  EXPECT_EQ(Count(second.get()), 0) << "reading goes on";
  ASSERT_TRUE(held->Commit().ok());
  EXPECT_TRUE(Transaction::Begin(second.get()).ok());
}

TEST(DatabaseTest, AFileThatIsNoDatabaseIsDataLoss) {
  const std::string path = MakeTempDir("sqlite") + "/db";
  ASSERT_TRUE(WriteFileAtomic(path, std::string(4096, 'x')).ok());
  const auto database = Database::Open(path, {});
  EXPECT_TRUE(absl::IsDataLoss(database.status())) << database.status();
  EXPECT_EQ(ReadFile(path).value(), std::string(4096, 'x')) << "and is left as it was";
}

TEST(DatabaseTest, AMissingFileIsMadeOnlyWhenAsked) {
  const std::string path = MakeTempDir("sqlite") + "/db";
  EXPECT_FALSE(Database::Open(path, {.create = false}).ok());
  EXPECT_FALSE(FileExists(path));
  EXPECT_TRUE(Database::Open(path, {}).ok());
  EXPECT_TRUE(Database::Open(path, {.create = false}).ok());
  EXPECT_FALSE(Database::Open(path + "/below/a/file", {}).ok());
}

TEST(DatabaseTest, DeletedTextIsOverwrittenWhenAsked) {
  const std::string path = MakeTempDir("sqlite") + "/db";
  const std::string secret = "a sentence that nobody else wrote";
  {
    const auto database = Database::Open(path, {.secure_delete = true}).value();
    ASSERT_TRUE(database->Execute("CREATE TABLE t (name TEXT)").ok());
    auto insert = database->Prepare("INSERT INTO t VALUES (?)").value();
    ASSERT_TRUE(insert.BindText(1, secret).Run().ok());
  }
  ASSERT_NE(ReadFile(path)->find(secret), std::string::npos);
  {
    const auto database = Database::Open(path, {.secure_delete = true}).value();
    ASSERT_TRUE(database->Execute("DELETE FROM t").ok());
  }
  EXPECT_EQ(ReadFile(path)->find(secret), std::string::npos);
}

}  // namespace
}  // namespace lorikeet
