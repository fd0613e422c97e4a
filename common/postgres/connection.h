// PostgreSQL behind RAII: with result.cc the only files that name libpq's functions.
//
// Errors by code: UNAVAILABLE (no connection, none in time, a restart, a lock or deadlock; says
// whether the statement can have taken effect), ALREADY_EXISTS (a unique constraint),
// FAILED_PRECONDITION (another constraint; a server that does not keep what it commits),
// INVALID_ARGUMENT (a value that PostgreSQL cannot hold: text must be UTF-8 without NUL),
// RESOURCE_EXHAUSTED (disk full, memory), PERMISSION_DENIED, DATA_LOSS (the server found corrupt
// data), INTERNAL (our SQL).  Messages never hold values or passwords.
#ifndef LORIKEET_COMMON_POSTGRES_CONNECTION_H_
#define LORIKEET_COMMON_POSTGRES_CONNECTION_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/postgres/result.h"

struct pg_conn;

namespace lorikeet {

struct PostgresBytes {
  std::string bytes;
};
// A parameter of a statement: bigint, double precision, text, bytea, or NULL.
using PostgresValue = std::variant<std::monostate, int64_t, double, std::string, PostgresBytes>;

// True for what is a PostgreSQL address and not a file: "postgresql://..." or "postgres://...".
bool IsPostgresUrl(std::string_view text);

// One session.  A connection that was lost is made again at the next statement outside of a
// transaction; the statement that noticed fails.  Not thread-safe.
class PostgresConnection {
 public:
  struct Options {
    std::string url;  // postgresql://user@host:port/database?parameter=value (libpq's URIs)
    absl::Duration connect_timeout = absl::Seconds(5);
    // Without an answer for so long the connection is given up.
    absl::Duration answer_timeout = absl::Seconds(30);
    // The server ends statements and transactions that hold others up for longer.
    absl::Duration lock_timeout = absl::Seconds(10);
    absl::Duration idle_transaction_timeout = absl::Seconds(5);
  };
  // INVALID_ARGUMENT: not a URL.  UNAVAILABLE: no server there, or it does not let us in.
  // FAILED_PRECONDITION: fsync is off, or the database's encoding is not UTF-8.
  static absl::StatusOr<std::unique_ptr<PostgresConnection>> Open(const Options& options);
  ~PostgresConnection();
  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;

  // One statement with parameters $1, $2, ...
  absl::StatusOr<PostgresResult> Query(const std::string& sql,
                                       std::span<const PostgresValue> values = {});
  // One or more statements without parameters or rows.
  absl::Status Execute(const std::string& sql);

  // READ COMMITTED.  Until Commit or Rollback nothing reconnects, so that the second half of a
  // transaction cannot happen without the first.
  absl::Status Begin();
  // UNAVAILABLE: not known whether it is committed, if the connection was lost meanwhile.
  absl::Status Commit();
  void Rollback();

 private:
  struct Finish {
    void operator()(pg_conn* connection) const;
  };
  explicit PostgresConnection(const Options& options) : options_(options) {}

  absl::Status Connect();
  absl::Status TryConnect();
  // Session settings, and what the server must be like.
  absl::Status PrepareSession();
  // Connected, as far as can be seen without asking; reconnects outside of transactions.
  absl::Status EnsureConnected();
  // Query on the connection there is.
  absl::StatusOr<PostgresResult> Ask(const std::string& sql, std::span<const PostgresValue> values);
  // Bytes out and answers in until the statement is done; its last result.
  absl::StatusOr<PostgresResult> Await(std::string_view what);
  absl::Status WaitForSocket(bool to_write, absl::Time deadline);
  // Drops the connection; UNAVAILABLE that says why.
  absl::Status Lose(std::string_view why);

  const Options options_;
  std::unique_ptr<pg_conn, Finish> connection_;
  bool in_transaction_ = false;
  // An attempt to connect that took long and failed is not followed by the next one at once: who
  // calls meanwhile need not wait as long again.
  absl::Status last_attempt_;
  absl::Time next_attempt_ = absl::InfinitePast();
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_POSTGRES_CONNECTION_H_
