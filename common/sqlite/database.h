// SQLite behind RAII: the only file that names sqlite3 functions.
//
// Errors by code: DATA_LOSS (not a database, corrupt), RESOURCE_EXHAUSTED (disk full),
// PERMISSION_DENIED (read-only, no access), UNAVAILABLE (locked for longer than the busy timeout),
// FAILED_PRECONDITION (a foreign key), ALREADY_EXISTS (another constraint), INTERNAL (our SQL).
#ifndef LORIKEET_COMMON_SQLITE_DATABASE_H_
#define LORIKEET_COMMON_SQLITE_DATABASE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct sqlite3;
struct sqlite3_stmt;

namespace lorikeet {

class Database;

// A prepared statement.  Bind, then Step until it says false; Reset to use it again.  Not
// thread-safe.
class Statement {
 public:
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&& other) noexcept;
  ~Statement();

  // Parameters count from 1.  Bytes are copied.
  Statement& Bind(int index, int64_t value);
  Statement& Bind(int index, double value);
  Statement& BindText(int index, std::string_view text);
  Statement& BindBlob(int index, std::span<const uint8_t> bytes);
  Statement& BindNull(int index);

  // True: a row is there.  False: done.
  absl::StatusOr<bool> Step();
  // Step for statements without rows; resets afterwards.
  absl::Status Run();
  void Reset();

  // Columns of the current row count from 0; views are valid until the next Step or Reset.
  int64_t Int(int column) const;
  double Double(int column) const;
  std::string_view Text(int column) const;
  std::span<const uint8_t> Blob(int column) const;
  bool IsNull(int column) const;

 private:
  friend class Database;
  Statement(sqlite3* database, sqlite3_stmt* statement)
      : database_(database), statement_(statement) {}
  sqlite3* database_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
  int bind_error_ = 0;
};

// A connection.  Not thread-safe.
class Database {
 public:
  struct Options {
    bool create = true;
    bool secure_delete = false;  // overwrite deleted content with zeros
    int busy_timeout_ms = 5000;
  };
  // WAL journal, synchronous = FULL, foreign keys on.  ":memory:" for tests.
  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& path,
                                                        const Options& options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // One or more statements without parameters or rows.
  absl::Status Execute(const std::string& sql);
  absl::StatusOr<Statement> Prepare(std::string_view sql);
  int64_t last_insert_id() const;
  // Rows changed by the last statement.
  int64_t changes() const;

 private:
  explicit Database(sqlite3* database) : database_(database) {}
  sqlite3* database_;
};

// BEGIN IMMEDIATE; rolls back unless committed.
class Transaction {
 public:
  static absl::StatusOr<Transaction> Begin(Database* database);
  Transaction(Transaction&& other) noexcept : database_(other.database_) {
    other.database_ = nullptr;
  }
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  absl::Status Commit();

 private:
  explicit Transaction(Database* database) : database_(database) {}
  Database* database_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SQLITE_DATABASE_H_
