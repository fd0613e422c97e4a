// The fleet's certificates: one authority, one server, one client certificate a device.
//
// X.509 version 3, ECDSA P-256, through OpenSSL; the only file that names OpenSSL functions.  No
// revocation lists: the coordinator asks its registry at every call.
#ifndef LORIKEET_COORDINATOR_ADMIN_CERTIFICATE_AUTHORITY_H_
#define LORIKEET_COORDINATOR_ADMIN_CERTIFICATE_AUTHORITY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace lorikeet {

struct CertifiedKey {
  std::string certificate;  // PEM
  std::string key;          // PEM, PKCS #8: secret
};

// A self-signed authority.  INTERNAL: OpenSSL failed.
absl::StatusOr<CertifiedKey> MakeAuthority(const std::string& name, absl::Time now,
                                           absl::Duration validity);
// For a server reached under these host names and IPv4 or IPv6 addresses.
// INVALID_ARGUMENT: no host, a host with odd characters, or a malformed authority.
absl::StatusOr<CertifiedKey> IssueServerCertificate(const CertifiedKey& authority,
                                                    const std::vector<std::string>& hosts,
                                                    absl::Time now, absl::Duration validity);
// For a device; its id becomes the common name.
absl::StatusOr<CertifiedKey> IssueClientCertificate(const CertifiedKey& authority,
                                                    const std::string& device, absl::Time now,
                                                    absl::Duration validity);

// When a server's certificate expires, if it goes with its key and is the authority's (PEM).
// INVALID_ARGUMENT: not PEM; FAILED_PRECONDITION: another key, another authority, not yet or no
// longer valid.
absl::StatusOr<absl::Time> CheckServerCertificate(const std::string& authority,
                                                  const CertifiedKey& server, absl::Time now);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ADMIN_CERTIFICATE_AUTHORITY_H_
