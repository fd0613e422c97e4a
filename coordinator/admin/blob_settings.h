// Where a coordinator's releases lie: what coordinator.toml says of it.
//
//   blobs = ""                       the directory paths.releases; or "s3://BUCKET[/PREFIX]"
//   [s3]
//   endpoint = "https://s3.amazonaws.com"     of the bucket's server
//   region = "us-east-1"
//   credentials = "s3.credentials"   a file that others may not read:
//                                      access_key_id = "..", secret_access_key = "..",
//                                      session_token = ".." (may be left out)
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment come first.
#ifndef LORIKEET_COORDINATOR_ADMIN_BLOB_SETTINGS_H_
#define LORIKEET_COORDINATOR_ADMIN_BLOB_SETTINGS_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "coordinator/distribution/blob_store.h"

namespace lorikeet {

struct BlobSettings {
  std::string url;  // empty: a directory
  std::string endpoint = "https://s3.amazonaws.com";
  std::string region = "us-east-1";
  std::string credentials_path;
};

// INVALID_ARGUMENT: a URL that is none; FAILED_PRECONDITION: credentials that others may read, or
// none; errors of opening the directory.
absl::StatusOr<std::unique_ptr<BlobStore>> OpenBlobs(const BlobSettings& settings,
                                                     const std::string& releases_path,
                                                     const Clock* clock);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ADMIN_BLOB_SETTINGS_H_
