// The store in one SQLite file (WAL, synchronous = FULL: a commit survives a power cut).
//
// Several processes may have it open (a server and admin commands): every read sees the others'
// commits.  Not thread-safe.
#ifndef LORIKEET_COORDINATOR_STORAGE_SQLITE_STORE_H_
#define LORIKEET_COORDINATOR_STORAGE_SQLITE_STORE_H_

#include <memory>
#include <string>

#include "coordinator/storage/sql_store.h"

namespace lorikeet {

// Its methods: sql_store.h.
class SqliteStore final : public SqlStore {
 public:
  // ":memory:" lives as long as the object.  Older schemas are brought up to date
  // (migrations.h).  FAILED_PRECONDITION: a newer schema than this program's.
  // NOT_FOUND: no such file and `create` is false.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& path, bool create);

 private:
  using SqlStore::SqlStore;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_STORAGE_SQLITE_STORE_H_
