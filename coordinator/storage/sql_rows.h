// Columns <-> values, shared by the parts of SqlStore.  Not an interface.
#ifndef LORIKEET_COORDINATOR_STORAGE_SQL_ROWS_H_
#define LORIKEET_COORDINATOR_STORAGE_SQL_ROWS_H_

#include <algorithm>
#include <array>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "common/base/strings.h"
#include "coordinator/storage/sql_connection.h"

namespace lorikeet::storage_internal {

// Milliseconds since the epoch.
inline int64_t ToColumn(absl::Time time) { return absl::ToUnixMillis(time); }
inline absl::Time TimeColumn(const SqlStatement& row, int column) {
  return absl::FromUnixMillis(row.Int(column));
}

inline std::string TextColumn(const SqlStatement& row, int column) {
  return std::string(row.Text(column));
}
inline std::string BlobColumn(const SqlStatement& row, int column) {
  return std::string(AsChars(row.Blob(column)));
}

template <size_t N>
absl::Status ArrayColumn(const SqlStatement& row, int column, std::array<uint8_t, N>* out) {
  const auto bytes = row.Blob(column);
  if (bytes.size() != N) {
    return absl::DataLossError(
        absl::StrFormat("store: expected a column of %d bytes, got %d", N, bytes.size()));
  }
  std::copy(bytes.begin(), bytes.end(), out->begin());
  return absl::OkStatus();
}

}  // namespace lorikeet::storage_internal

#endif  // LORIKEET_COORDINATOR_STORAGE_SQL_ROWS_H_
