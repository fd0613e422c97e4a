// SqlConnection over PostgreSQL.
#include <charconv>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "coordinator/storage/sql_connection.h"

namespace lorikeet {
namespace {

class PostgresStatement final : public SqlStatement::Backend {
 public:
  PostgresStatement(PostgresConnection* connection, std::string sql, int64_t* changes)
      : connection_(connection), sql_(std::move(sql)), changes_(changes) {}

  void Bind(int index, int64_t value) override { Value(index) = value; }
  void Bind(int index, double value) override { Value(index) = value; }
  void BindText(int index, std::string_view text) override { Value(index) = std::string(text); }
  void BindBlob(int index, std::span<const uint8_t> bytes) override {
    Value(index) = PostgresBytes{std::string(AsChars(bytes))};
  }
  void BindNull(int index) override { Value(index) = std::monostate(); }

  absl::StatusOr<bool> Step() override {
    if (!result_) {
      ASSIGN_OR_RETURN(result_, connection_->Query(sql_, values_));
      *changes_ = result_->changed();
      row_ = -1;
    }
    return ++row_ < result_->row_count();
  }
  absl::Status Run() override {
    const absl::Status status = Step().status();
    result_.reset();
    values_.clear();
    return status;
  }

  int64_t Int(int column) const override { return result_->Int(row_, column); }
  double Double(int column) const override { return result_->Double(row_, column); }
  std::string_view Text(int column) const override { return result_->Text(row_, column); }
  std::span<const uint8_t> Blob(int column) const override { return result_->Blob(row_, column); }
  bool IsNull(int column) const override { return result_->IsNull(row_, column); }

 private:
  PostgresValue& Value(int index) {
    if (values_.size() < static_cast<size_t>(index)) values_.resize(static_cast<size_t>(index));
    return values_[static_cast<size_t>(index) - 1];
  }
  PostgresConnection* connection_;
  std::string sql_;
  int64_t* changes_;
  std::vector<PostgresValue> values_;
  std::optional<PostgresResult> result_;
  int row_ = -1;
};

class PostgresSqlConnection final : public SqlConnection {
 public:
  explicit PostgresSqlConnection(std::unique_ptr<PostgresConnection> connection)
      : connection_(std::move(connection)) {}
  absl::StatusOr<SqlStatement> Prepare(std::string_view sql) override {
    return SqlStatement(
        std::make_unique<PostgresStatement>(connection_.get(), PostgresParameters(sql), &changes_));
  }
  absl::Status ExecuteSchema(std::string_view sql) override {
    return connection_->Execute(PostgresSchema(sql));
  }
  int64_t changes() const override { return changes_; }
  absl::StatusOr<bool> HasTable(std::string_view name) override {
    const PostgresValue value = std::string(name);
    // Not to_regclass, which may know from before this transaction's lock that there is none.
    ASSIGN_OR_RETURN(const PostgresResult result,
                     connection_->Query("SELECT 1 FROM pg_tables WHERE schemaname = "
                                        "current_schema() AND tablename = $1",
                                        {&value, 1}));
    return result.row_count() > 0;
  }
  const char* for_share() const override { return " FOR SHARE"; }
  absl::StatusOr<absl::Time> Now(absl::Time) override {
    // Not now(), which stands still in a transaction.
    ASSIGN_OR_RETURN(
        const PostgresResult result,
        connection_->Query("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"));
    return absl::FromUnixMillis(result.Int(0, 0));
  }
  absl::Status Begin(std::string_view exclusive) override {
    RETURN_IF_ERROR(connection_->Begin());
    if (exclusive.empty()) return absl::OkStatus();
    const PostgresValue name = absl::StrCat("lorikeet ", ToAbsl(exclusive));
    const absl::Status locked =
        connection_->Query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", {&name, 1})
            .status();
    if (!locked.ok()) connection_->Rollback();
    return locked;
  }
  absl::Status Commit() override { return connection_->Commit(); }
  void Rollback() override { connection_->Rollback(); }

 private:
  std::unique_ptr<PostgresConnection> connection_;
  int64_t changes_ = 0;
};

}  // namespace

std::string PostgresParameters(std::string_view sql) {
  std::string out;
  int count = 0;
  for (size_t i = 0; i < sql.size(); ++i) {
    if (sql[i] != '?') {
      out.push_back(sql[i]);
      continue;
    }
    int number = 0;
    const char* begin = sql.data() + i + 1;
    const auto parsed = std::from_chars(begin, sql.data() + sql.size(), number);
    count = parsed.ec == std::errc() ? number : count + 1;
    i += static_cast<size_t>(parsed.ptr - begin);
    absl::StrAppend(&out, "$", count);
  }
  return out;
}

std::string PostgresSchema(std::string_view sql) {
  return absl::StrReplaceAll(
      ToAbsl(sql), {{"INTEGER PRIMARY KEY", "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"},
                    {"INTEGER", "BIGINT"},
                    {"REAL", "DOUBLE PRECISION"},
                    {"BLOB", "BYTEA"},
                    {") STRICT", ")"}});
}

std::unique_ptr<SqlConnection> OverPostgres(std::unique_ptr<PostgresConnection> connection) {
  return std::make_unique<PostgresSqlConnection>(std::move(connection));
}

}  // namespace lorikeet
