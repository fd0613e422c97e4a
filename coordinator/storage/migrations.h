// How a store's tables came to be: one step from each schema version to the next.
//
// To add a table or a column: append one Migration to kMigrations in migrations.cc, never change an
// older one (stores in the field have been through it), and add rows of it to
// tests/unit/coordinator/migrations_test.cc.
#ifndef LORIKEET_COORDINATOR_STORAGE_MIGRATIONS_H_
#define LORIKEET_COORDINATOR_STORAGE_MIGRATIONS_H_

#include <span>
#include <string>

#include "absl/status/status.h"
#include "coordinator/storage/sql_connection.h"

namespace lorikeet {

struct Migration {
  int version;       // the schema's afterwards; 1, 2, 3 ... without gaps
  const char* what;  // for people
  const char* sql;   // as SQLite reads it, in the words that PostgresSchema knows
};

std::span<const Migration> Migrations();
// What this program reads and writes.
int NewestSchemaVersion();

// Brings a store to `target` (of an empty one or an older version), in one transaction: wholly or
// not at all.  Two processes may try at once.  FAILED_PRECONDITION: the store is newer than that.
absl::Status MigrateSchema(SqlConnection* database, int target = NewestSchemaVersion());

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_STORAGE_MIGRATIONS_H_
