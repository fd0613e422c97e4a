// The one door to PostgreSQL: values, errors by code, transactions, and a server that goes away.
#include "common/postgres/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "common/base/strings.h"
#include "tests/support/private_postgres.h"

namespace lorikeet {
namespace {

using testing::HasSubstr;
using testing::Not;

class PostgresConnectionTest : public testing::Test {
 protected:
  void SetUp() override {
    LORIKEET_POSTGRES_OR_SKIP(server);
    server_ = server;
    url_ = server->NewSchema();
    connection_ = Connect();
    ASSERT_TRUE(connection_
                    ->Execute("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT UNIQUE NOT NULL,"
                              " data BYTEA, number DOUBLE PRECISION)")
                    .ok());
  }
  std::unique_ptr<PostgresConnection> Connect() {
    auto connection = PostgresConnection::Open({.url = url_});
    EXPECT_TRUE(connection.ok()) << connection.status();
    return *std::move(connection);
  }
  absl::Status Insert(PostgresConnection* connection, int64_t id, const std::string& name) {
    const std::vector<PostgresValue> values = {id, name};
    return connection->Query("INSERT INTO t (id, name) VALUES ($1, $2)", values).status();
  }
  int64_t Count(PostgresConnection* connection) {
    const auto result = connection->Query("SELECT count(*) FROM t");
    EXPECT_TRUE(result.ok()) << result.status();
    return result->Int(0, 0);
  }

  PrivatePostgres* server_ = nullptr;
  std::string url_;
  std::unique_ptr<PostgresConnection> connection_;
};

TEST_F(PostgresConnectionTest, ValuesComeBackAsTheyWere) {
  const std::string name = "'); DROP TABLE t; -- $1 \\ \" umlaut \xc3\xa4";
  const std::string bytes("\0\xff'\\\0", 5);
  const std::vector<PostgresValue> values = {std::numeric_limits<int64_t>::min(), name,
                                             PostgresBytes{bytes}, -1e-300};
  const auto insert =
      connection_->Query("INSERT INTO t VALUES ($1, $2, $3, $4) RETURNING id", values);
  ASSERT_TRUE(insert.ok()) << insert.status();
  EXPECT_EQ(insert->changed(), 1);
  const auto row = connection_->Query("SELECT id, name, data, number FROM t");
  ASSERT_TRUE(row.ok()) << row.status();
  ASSERT_EQ(row->row_count(), 1);
  EXPECT_EQ(row->Int(0, 0), std::numeric_limits<int64_t>::min());
  EXPECT_EQ(row->Text(0, 1), name);
  EXPECT_EQ(AsChars(row->Blob(0, 2)), bytes);
  EXPECT_EQ(row->Double(0, 3), -1e-300);
}

TEST_F(PostgresConnectionTest, NumbersOfEveryWidthAndNull) {
  const auto row = connection_->Query(
      "SELECT true, (-3)::smallint, (-70000)::integer, (-5000000000)::bigint, NULL::bigint, "
      "''::text, NULL::double precision");
  ASSERT_TRUE(row.ok()) << row.status();
  EXPECT_EQ(row->Int(0, 0), 1);
  EXPECT_EQ(row->Int(0, 1), -3);
  EXPECT_EQ(row->Int(0, 2), -70000);
  EXPECT_EQ(row->Int(0, 3), -5000000000);
  EXPECT_TRUE(row->IsNull(0, 4));
  EXPECT_EQ(row->Int(0, 4), 0);
  EXPECT_FALSE(row->IsNull(0, 5));
  EXPECT_EQ(row->Text(0, 5), "");
  EXPECT_EQ(row->Double(0, 6), 0);
}

TEST_F(PostgresConnectionTest, ErrorsHaveCodesAndNoValues) {
  ASSERT_TRUE(Insert(connection_.get(), 1, "secret-name").ok());
  const absl::Status twice = Insert(connection_.get(), 2, "secret-name");
  EXPECT_EQ(twice.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(Message(twice)), Not(HasSubstr("secret-name")));
  EXPECT_EQ(connection_->Query("INSERT INTO t (id) VALUES (3)").status().code(),
            absl::StatusCode::kFailedPrecondition);  // name is NULL
  EXPECT_EQ(Insert(connection_.get(), 4, std::string("nul \0 inside", 12)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Insert(connection_.get(), 4, "\xff\xfe").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(connection_->Query("SELECT nonsense").status().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(Count(connection_.get()), 1);
}

TEST_F(PostgresConnectionTest, TransactionsAreWholeOrNothing) {
  const auto other = Connect();
  ASSERT_TRUE(connection_->Begin().ok());
  ASSERT_TRUE(Insert(connection_.get(), 1, "a").ok());
  EXPECT_EQ(Count(other.get()), 0);
  ASSERT_TRUE(connection_->Commit().ok());
  EXPECT_EQ(Count(other.get()), 1);
  ASSERT_TRUE(connection_->Begin().ok());
  ASSERT_TRUE(Insert(connection_.get(), 2, "b").ok());
  connection_->Rollback();
  EXPECT_EQ(Count(other.get()), 1);
  // A COMMIT after a failed statement is none, and says so.
  ASSERT_TRUE(connection_->Begin().ok());
  ASSERT_TRUE(Insert(connection_.get(), 3, "c").ok());
  EXPECT_FALSE(Insert(connection_.get(), 4, "a").ok());
  EXPECT_FALSE(connection_->Commit().ok());
  connection_->Rollback();
  EXPECT_EQ(Count(connection_.get()), 1);
}

TEST_F(PostgresConnectionTest, LocksAreGivenUpInTime) {
  auto impatient =
      PostgresConnection::Open({.url = url_, .lock_timeout = absl::Milliseconds(100)}).value();
  ASSERT_TRUE(connection_->Begin().ok());
  ASSERT_TRUE(connection_->Execute("LOCK TABLE t").ok());
  const absl::Status waited = Insert(impatient.get(), 1, "a");
  EXPECT_EQ(waited.code(), absl::StatusCode::kUnavailable) << waited;
  connection_->Rollback();
  EXPECT_TRUE(Insert(impatient.get(), 1, "a").ok());
}

// A replica that is paused inside a transaction must not hold up the others.
TEST_F(PostgresConnectionTest, AnIdleTransactionIsEndedByTheServer) {
  auto sleepy =
      PostgresConnection::Open({.url = url_, .idle_transaction_timeout = absl::Milliseconds(200)})
          .value();
  ASSERT_TRUE(sleepy->Begin().ok());
  ASSERT_TRUE(Insert(sleepy.get(), 1, "a").ok());
  EXPECT_TRUE(Insert(connection_.get(), 2, "a").ok());  // waits for the other's row, then gets it
  const absl::Status late = Insert(sleepy.get(), 3, "b");
  EXPECT_EQ(late.code(), absl::StatusCode::kUnavailable) << late;
  EXPECT_FALSE(Insert(sleepy.get(), 3, "b").ok());  // the transaction does not go on
  sleepy->Rollback();
  EXPECT_TRUE(Insert(sleepy.get(), 3, "b").ok());  // a new session
  EXPECT_EQ(Count(connection_.get()), 2);
}

TEST_F(PostgresConnectionTest, GivesUpOnAServerThatDoesNotAnswer) {
  auto impatient =
      PostgresConnection::Open({.url = url_, .answer_timeout = absl::Milliseconds(300)}).value();
  // The server's own statement timeout is off, so that it is ours that ends this.
  ASSERT_TRUE(impatient->Execute("SET statement_timeout = 0").ok());
  const absl::Status waited = impatient->Execute("SELECT pg_sleep(20)");
  EXPECT_EQ(waited.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(Message(waited)), HasSubstr("no answer in 300ms"));
  EXPECT_EQ(Count(impatient.get()), 0);  // on a new connection
}

TEST_F(PostgresConnectionTest, ComesBackAfterTheServerWasKilled) {
  ASSERT_TRUE(Insert(connection_.get(), 1, "kept").ok());
  const auto in_transaction = Connect();
  ASSERT_TRUE(in_transaction->Begin().ok());
  ASSERT_TRUE(Insert(in_transaction.get(), 2, "lost").ok());
  server_->Kill();
  const absl::Status away = Insert(connection_.get(), 3, "while it is away");
  EXPECT_EQ(away.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(Message(away)), HasSubstr("cannot connect"));
  ASSERT_TRUE(server_->Restart().ok());
  EXPECT_EQ(Count(connection_.get()), 1);
  EXPECT_EQ(in_transaction->Commit().code(), absl::StatusCode::kUnavailable);
  in_transaction->Rollback();
  EXPECT_EQ(Count(in_transaction.get()), 1);
}

TEST(PostgresUrlTest, BadAddressesAreRefusedWithoutTheirPasswords) {
  EXPECT_TRUE(IsPostgresUrl("postgresql://h/d"));
  EXPECT_TRUE(IsPostgresUrl("postgres://h/d"));
  EXPECT_FALSE(IsPostgresUrl("store.sqlite"));
  for (const char* url : {"store.sqlite", "postgresql://u:sesame@[::1/d",
                          "postgresql://u:sesame@h/d?no_such_parameter=1"}) {
    const absl::Status status = PostgresConnection::Open({.url = url}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << url;
    EXPECT_THAT(std::string(Message(status)), HasSubstr("expected postgresql://"));
    EXPECT_THAT(std::string(Message(status)), Not(HasSubstr("sesame")));
  }
  const absl::Status nobody =
      PostgresConnection::Open({.url = "postgresql://u:sesame@127.0.0.1:1/d"}).status();
  EXPECT_EQ(nobody.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(Message(nobody)), HasSubstr("port 1 failed: Connection refused"));
  EXPECT_THAT(std::string(Message(nobody)), Not(HasSubstr("sesame")));
}

}  // namespace
}  // namespace lorikeet
