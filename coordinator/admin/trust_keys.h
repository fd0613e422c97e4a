// The keys of a coordinator's directory that vouch for releases and rounds.
//
// Online, read by the server: signing.key (roles targets and rounds), snapshot.key, timestamp.key,
// log.key.  Offline, needed only to rotate keys: root/root-1.key and so on, each a file of its own
// that may be moved to a place of its own.
#ifndef LORIKEET_COORDINATOR_ADMIN_TRUST_KEYS_H_
#define LORIKEET_COORDINATOR_ADMIN_TRUST_KEYS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "coordinator/admin/workspace.h"
#include "coordinator/distribution/trust_office.h"

namespace lorikeet {

// "signing", "snapshot", "timestamp", "log": a key file and the roles that its key has.
struct OnlineKeyFile {
  const char* name;
  std::string Settings::* path;
  std::vector<TrustRole> roles;
};
const std::vector<OnlineKeyFile>& OnlineKeyFiles();

// Fresh keys root-N.key in `directory`, N from 1.
absl::StatusOr<std::vector<SigningKey>> MakeRootKeys(const std::string& directory, int count);

// Writes the online keys that are not there yet and the root keys, and stores root version 1.
// FAILED_PRECONDITION: the store has a root.
absl::Status InitTrust(const Settings& settings, const std::string& directory,
                       const RootOptions& options, TrustStore* store);

// After a root was accepted: key files that wait as PATH.new and that it names take the place of
// the old ones.  Returns their names.
absl::StatusOr<std::vector<std::string>> InstallNewKeys(const Settings& settings,
                                                        const RootMetadata& root);

// A trust office with the keys that it borrows.
struct OpenTrustOffice {
  std::vector<SigningKey> keys;
  std::unique_ptr<TrustOffice> office;
};
// Errors as TrustOffice::Create.
absl::StatusOr<OpenTrustOffice> OpenTrust(Workspace* workspace);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ADMIN_TRUST_KEYS_H_
