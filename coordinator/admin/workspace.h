// A coordinator's directory: config file, certificates, keys, store and releases.
//
// coordinator.toml (paths relative to it):
//   listen = "127.0.0.1:8750"          devices connect here
//   release_validity_days = 90
//   dashboard = "127.0.0.1:8751"       for operators (coordinator/dashboard); "" for none
//   dashboard_allow_remote = false     whether that may be an address that others reach
//   dashboard_names = []               host names that it is reached by, besides addresses
//   blobs = "", [s3]                   where releases lie: blob_settings.h
//   [paths]  store, releases, ca_certificate, ca_key, server_certificate, server_key, signing_key,
//            release_key, issuer_key, issuer_public_key, token_seed; store may also be the address
//            of a PostgreSQL database, postgresql://user@host/name, that several coordinators share
//   [tokens] start_unix_seconds = 0, epoch_seconds = 86400, tokens_per_epoch = 4: anonymous tokens
//   [policy] cohort_floor = 30, epsilon_ceiling = 8.0: the strict rule
//            total_epsilon, total_delta = 1e-5: of all tasks of a base together (none unless set)
#ifndef LORIKEET_COORDINATOR_ADMIN_WORKSPACE_H_
#define LORIKEET_COORDINATOR_ADMIN_WORKSPACE_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/crypto/secret_bytes.h"
#include "common/crypto/sign.h"
#include "common/tokens/token_keys.h"
#include "coordinator/admin/blob_settings.h"
#include "coordinator/admin/certificate_authority.h"
#include "coordinator/rounds/task_config.h"
#include "coordinator/storage/open_store.h"

namespace lorikeet {

inline constexpr char kConfigFileName[] = "coordinator.toml";
inline constexpr char kDefaultStore[] = "store.sqlite";
inline constexpr char kDefaultListen[] = "127.0.0.1:8750";

struct Settings {
  std::string listen = kDefaultListen;
  absl::Duration release_validity = absl::Hours(24 * 90);
  std::string dashboard;  // empty: none
  bool dashboard_allow_remote = false;
  std::vector<std::string> dashboard_names;
  TaskPolicy policy;
  std::string store_path;  // or postgresql://..., see coordinator/storage/open_store.h
  std::string releases_path;
  BlobSettings blobs;
  std::string ca_certificate_path;
  std::string ca_key_path;
  std::string server_certificate_path;
  std::string server_key_path;
  std::string signing_key_path;  // secret
  std::string release_key_path;  // coordinator.pub: hex of the public key
  // Secrets beside the signing key, see trust_keys.h.
  std::string snapshot_key_path;
  std::string timestamp_key_path;
  std::string log_key_path;
  TokenSchedule tokens;
  std::string issuer_key_path;         // secret; signs the keys of tokens
  std::string issuer_public_key_path;  // issuer.pub
  std::string token_seed_path;         // secret; a directory of an older program has none
};

// NOT_FOUND; INVALID_ARGUMENT: not TOML, an unknown key, a value of another type.
absl::StatusOr<Settings> ReadSettings(const std::string& config_path);

// Who vouches for which keys are a fleet's: so many root keys, of which so many must sign.
struct RootOptions {
  int keys = 3;
  int threshold = 2;
  absl::Duration validity = absl::Hours(24 * 730);
};

// Makes the directory with fresh keys, certificates for `hosts`, and the tables in `store`: a path
// relative to the directory, or postgresql://...
// ALREADY_EXISTS: there is a coordinator in it.
absl::Status InitWorkspace(const std::string& directory, const std::string& listen,
                           const std::vector<std::string>& hosts,
                           const std::string& store = kDefaultStore, const RootOptions& root = {});

// Settings with the store and the blobs open.
struct Workspace {
  Settings settings;
  SystemClock clock;
  std::unique_ptr<SqlStore> store;
  std::unique_ptr<BlobStore> blobs;

  static absl::StatusOr<std::unique_ptr<Workspace>> Open(const std::string& config_path);
  absl::StatusOr<SigningKey> ReadSigningKey() const;
  absl::StatusOr<CertifiedKey> ReadAuthority() const;
  // Whether this coordinator can issue and redeem tokens.
  bool HasTokens() const;
  absl::StatusOr<SigningKey> ReadIssuerKey() const;
  absl::StatusOr<SecretBytes> ReadTokenSeed() const;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ADMIN_WORKSPACE_H_
