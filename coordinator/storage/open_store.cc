#include "coordinator/storage/open_store.h"

#include "coordinator/storage/postgres_store.h"
#include "coordinator/storage/sqlite_store.h"

namespace lorikeet {

absl::StatusOr<std::unique_ptr<SqlStore>> OpenStore(const std::string& location, bool create) {
  if (IsPostgresUrl(location)) return PostgresStore::Open({.url = location});
  return SqliteStore::Open(location, create);
}

}  // namespace lorikeet
