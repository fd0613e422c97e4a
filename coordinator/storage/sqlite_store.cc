#include "coordinator/storage/sqlite_store.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "coordinator/storage/migrations.h"

namespace lorikeet {

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& path,
                                                               bool create) {
  if (!create && !FileExists(path)) {
    return absl::NotFoundError(absl::StrCat("expected a coordinator's store at ", path));
  }
  ASSIGN_OR_RETURN(auto file, Database::Open(path, {.create = create, .secure_delete = true}));
  auto connection = OverSqlite(std::move(file));
  RETURN_IF_ERROR(MigrateSchema(connection.get()));
  return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(connection)));
}

}  // namespace lorikeet
