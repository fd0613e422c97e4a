#include "coordinator/storage/postgres_store.h"

#include <utility>

#include "common/base/status_macros.h"
#include "coordinator/storage/migrations.h"

namespace lorikeet {

absl::StatusOr<std::unique_ptr<PostgresStore>> PostgresStore::Open(
    const PostgresConnection::Options& options) {
  ASSIGN_OR_RETURN(auto session, PostgresConnection::Open(options));
  auto connection = OverPostgres(std::move(session));
  RETURN_IF_ERROR(MigrateSchema(connection.get()));
  return std::unique_ptr<PostgresStore>(new PostgresStore(std::move(connection)));
}

}  // namespace lorikeet
