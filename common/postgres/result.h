// What PostgreSQL answered to one statement.
#ifndef LORIKEET_COMMON_POSTGRES_RESULT_H_
#define LORIKEET_COMMON_POSTGRES_RESULT_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"

struct pg_result;

namespace lorikeet {

// Rows in binary format.  Rows and columns count from 0; views live as long as the object.
class PostgresResult {
 public:
  int row_count() const;
  // Rows inserted, updated or deleted; of a SELECT, rows.
  int64_t changed() const;
  // What was done: "INSERT 0 1", "COMMIT".
  std::string_view command() const;

  bool IsNull(int row, int column) const;
  // boolean, smallint, integer, bigint; 0 for NULL.
  int64_t Int(int row, int column) const;
  // double precision; 0 for NULL.
  double Double(int row, int column) const;
  std::string_view Text(int row, int column) const;
  std::span<const uint8_t> Blob(int row, int column) const;

 private:
  friend class PostgresConnection;
  struct Clear {
    void operator()(pg_result* result) const;
  };
  explicit PostgresResult(pg_result* result) : result_(result) {}
  // OK, or what the server found wrong: see connection.h.
  absl::Status status() const;

  std::unique_ptr<pg_result, Clear> result_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_POSTGRES_RESULT_H_
