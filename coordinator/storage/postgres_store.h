// The store in a PostgreSQL database, for several coordinators at once.
//
// Commits are on disk when they return (synchronous_commit and the server's fsync are on, or Open
// refuses); after a lost connection the next call makes a new one.  Not thread-safe: one object a
// coordinator, and as many coordinators as the server has connections.
#ifndef LORIKEET_COORDINATOR_STORAGE_POSTGRES_STORE_H_
#define LORIKEET_COORDINATOR_STORAGE_POSTGRES_STORE_H_

#include <memory>

#include "common/postgres/connection.h"
#include "coordinator/storage/sql_store.h"

namespace lorikeet {

class PostgresStore final : public SqlStore {
 public:
  // Tables are made, or brought up to date, in the connection's first schema (migrations.h).
  // FAILED_PRECONDITION: a newer schema than this program's; else as PostgresConnection::Open.
  static absl::StatusOr<std::unique_ptr<PostgresStore>> Open(
      const PostgresConnection::Options& options);

 private:
  using SqlStore::SqlStore;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_STORAGE_POSTGRES_STORE_H_
