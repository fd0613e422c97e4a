#include "coordinator/storage/sql_connection.h"

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

class SqliteStatement final : public SqlStatement::Backend {
 public:
  explicit SqliteStatement(Statement statement) : statement_(std::move(statement)) {}
  void Bind(int index, int64_t value) override { statement_.Bind(index, value); }
  void Bind(int index, double value) override { statement_.Bind(index, value); }
  void BindText(int index, std::string_view text) override { statement_.BindText(index, text); }
  void BindBlob(int index, std::span<const uint8_t> bytes) override {
    statement_.BindBlob(index, bytes);
  }
  void BindNull(int index) override { statement_.BindNull(index); }
  absl::StatusOr<bool> Step() override { return statement_.Step(); }
  absl::Status Run() override { return statement_.Run(); }
  int64_t Int(int column) const override { return statement_.Int(column); }
  double Double(int column) const override { return statement_.Double(column); }
  std::string_view Text(int column) const override { return statement_.Text(column); }
  std::span<const uint8_t> Blob(int column) const override { return statement_.Blob(column); }
  bool IsNull(int column) const override { return statement_.IsNull(column); }

 private:
  Statement statement_;
};

class SqliteConnection final : public SqlConnection {
 public:
  explicit SqliteConnection(std::unique_ptr<Database> database) : database_(std::move(database)) {}
  absl::StatusOr<SqlStatement> Prepare(std::string_view sql) override {
    ASSIGN_OR_RETURN(Statement statement, database_->Prepare(sql));
    return SqlStatement(std::make_unique<SqliteStatement>(std::move(statement)));
  }
  absl::Status ExecuteSchema(std::string_view sql) override {
    return database_->Execute(std::string(sql));
  }
  int64_t changes() const override { return database_->changes(); }
  absl::StatusOr<bool> HasTable(std::string_view name) override {
    ASSIGN_OR_RETURN(Statement select,
                     database_->Prepare("SELECT 1 FROM sqlite_master WHERE name = ?"));
    return select.BindText(1, name).Step();
  }
  const char* for_share() const override { return ""; }  // transactions are alone as it is
  absl::StatusOr<absl::Time> Now(absl::Time fallback) override { return fallback; }
  absl::Status Begin(std::string_view) override { return database_->Execute("BEGIN IMMEDIATE"); }
  absl::Status Commit() override { return database_->Execute("COMMIT"); }
  void Rollback() override { database_->Execute("ROLLBACK").IgnoreError(); }

 private:
  std::unique_ptr<Database> database_;
};

}  // namespace

absl::StatusOr<SqlTransaction> SqlTransaction::Begin(SqlConnection* connection,
                                                     std::string_view exclusive) {
  RETURN_IF_ERROR(connection->Begin(exclusive));
  return SqlTransaction(connection);
}

SqlTransaction::~SqlTransaction() {
  if (connection_ != nullptr) connection_->Rollback();
}

absl::Status SqlTransaction::Commit() {
  RETURN_IF_ERROR(connection_->Commit());
  connection_ = nullptr;
  return absl::OkStatus();
}

std::unique_ptr<SqlConnection> OverSqlite(std::unique_ptr<Database> database) {
  return std::make_unique<SqliteConnection>(std::move(database));
}

}  // namespace lorikeet
