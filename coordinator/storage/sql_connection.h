// What the store asks of a database, SQLite or PostgreSQL: statements, rows, transactions.
//
// SQL is written once, as both read it: INSERT .. ON CONFLICT, RETURNING, parameters as ? or ?1
// (never values in the text).  Tables are written as SQLite reads them, see PostgresSchema.
#ifndef LORIKEET_COORDINATOR_STORAGE_SQL_CONNECTION_H_
#define LORIKEET_COORDINATOR_STORAGE_SQL_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/postgres/connection.h"
#include "common/sqlite/database.h"

namespace lorikeet {

// A statement with its parameters and rows.  Bind, then Step until it says false.  Not thread-safe.
class SqlStatement {
 public:
  class Backend {
   public:
    virtual ~Backend() = default;
    virtual void Bind(int index, int64_t value) = 0;
    virtual void Bind(int index, double value) = 0;
    virtual void BindText(int index, std::string_view text) = 0;
    virtual void BindBlob(int index, std::span<const uint8_t> bytes) = 0;
    virtual void BindNull(int index) = 0;
    virtual absl::StatusOr<bool> Step() = 0;
    virtual absl::Status Run() = 0;
    virtual int64_t Int(int column) const = 0;
    virtual double Double(int column) const = 0;
    virtual std::string_view Text(int column) const = 0;
    virtual std::span<const uint8_t> Blob(int column) const = 0;
    virtual bool IsNull(int column) const = 0;
  };
  explicit SqlStatement(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

  // Parameters count from 1.  Bytes are copied.  Text is UTF-8 without NUL.
  SqlStatement& Bind(int index, int64_t value) {
    backend_->Bind(index, value);
    return *this;
  }
  SqlStatement& Bind(int index, double value) {
    backend_->Bind(index, value);
    return *this;
  }
  SqlStatement& BindText(int index, std::string_view text) {
    backend_->BindText(index, text);
    return *this;
  }
  SqlStatement& BindBlob(int index, std::span<const uint8_t> bytes) {
    backend_->BindBlob(index, bytes);
    return *this;
  }
  SqlStatement& BindNull(int index) {
    backend_->BindNull(index);
    return *this;
  }

  // True: a row is there.  False: done.
  absl::StatusOr<bool> Step() { return backend_->Step(); }
  // Step for statements without rows; the statement can be bound and run again.
  absl::Status Run() { return backend_->Run(); }

  // Columns of the current row count from 0; views are valid until the next Step.
  int64_t Int(int column) const { return backend_->Int(column); }
  double Double(int column) const { return backend_->Double(column); }
  std::string_view Text(int column) const { return backend_->Text(column); }
  std::span<const uint8_t> Blob(int column) const { return backend_->Blob(column); }
  bool IsNull(int column) const { return backend_->IsNull(column); }

 private:
  std::unique_ptr<Backend> backend_;
};

// One session with a database.  Not thread-safe.
class SqlConnection {
 public:
  virtual ~SqlConnection() = default;

  virtual absl::StatusOr<SqlStatement> Prepare(std::string_view sql) = 0;
  // Statements without parameters or rows; tables as SQLite reads them.
  virtual absl::Status ExecuteSchema(std::string_view sql) = 0;
  // Rows changed by the last statement.
  virtual int64_t changes() const = 0;
  virtual absl::StatusOr<bool> HasTable(std::string_view name) = 0;
  // At the end of a SELECT in a transaction: nobody changes these rows before it ends.
  virtual const char* for_share() const = 0;
  // Of the database, which every replica asks; SQLite, which has none of its own: `fallback`.
  virtual absl::StatusOr<absl::Time> Now(absl::Time fallback) = 0;

  // Transactions with the same word for `exclusive` run one after the other; without one,
  // transactions meet at the rows that they change.  (SQLite: always one after the other.)
  virtual absl::Status Begin(std::string_view exclusive) = 0;
  virtual absl::Status Commit() = 0;
  virtual void Rollback() = 0;
};

// Rolls back unless committed.
class SqlTransaction {
 public:
  static absl::StatusOr<SqlTransaction> Begin(SqlConnection* connection,
                                              std::string_view exclusive = "");
  SqlTransaction(SqlTransaction&& other) noexcept
      : connection_(std::exchange(other.connection_, nullptr)) {}
  SqlTransaction& operator=(SqlTransaction&&) = delete;
  ~SqlTransaction();
  absl::Status Commit();

 private:
  explicit SqlTransaction(SqlConnection* connection) : connection_(connection) {}
  SqlConnection* connection_;
};

std::unique_ptr<SqlConnection> OverSqlite(std::unique_ptr<Database> database);
std::unique_ptr<SqlConnection> OverPostgres(std::unique_ptr<PostgresConnection> connection);

// For PostgreSQL: parameters ? and ?1 as $1; tables' types (INTEGER, REAL, BLOB, an INTEGER PRIMARY
// KEY that counts by itself) and STRICT in its words.
std::string PostgresParameters(std::string_view sql);
std::string PostgresSchema(std::string_view sql);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_STORAGE_SQL_CONNECTION_H_
