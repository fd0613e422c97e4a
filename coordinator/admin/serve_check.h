// serve --check: whether a server would start, and what is wrong with its directory.
#ifndef LORIKEET_COORDINATOR_ADMIN_SERVE_CHECK_H_
#define LORIKEET_COORDINATOR_ADMIN_SERVE_CHECK_H_

#include <string>

#include "absl/status/status.h"
#include "common/cli/program.h"

namespace lorikeet {

// Config, keys, certificates, the whole store and the ports; everything that is wrong, not only the
// first.  Changes nothing, but brings an older store's tables up to date.  `listen`: instead of the
// config's, unless empty.  FAILED_PRECONDITION: something is wrong.
absl::Status CheckServe(const std::string& config, const std::string& listen, Output& out);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ADMIN_SERVE_CHECK_H_
