// The store that a coordinator's config names.
#ifndef LORIKEET_COORDINATOR_STORAGE_OPEN_STORE_H_
#define LORIKEET_COORDINATOR_STORAGE_OPEN_STORE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "coordinator/storage/sql_store.h"

namespace lorikeet {

// `location`: postgresql://... (tables are made there if need be), or the path of a SQLite file
// (NOT_FOUND: there is none, and `create` is false).
absl::StatusOr<std::unique_ptr<SqlStore>> OpenStore(const std::string& location, bool create);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_STORAGE_OPEN_STORE_H_
