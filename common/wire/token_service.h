// What a device and an issuer of anonymous tokens say to each other, without a transport.
//
// Apart from FederationService: the issuer knows devices and never sees a round, so it can be a
// process of its own.  Every call may be repeated and gets the same answer.
#ifndef LORIKEET_COMMON_WIRE_TOKEN_SERVICE_H_
#define LORIKEET_COMMON_WIRE_TOKEN_SERVICE_H_

#include "absl/status/statusor.h"
#include "common/tokens/token.h"
#include "common/tokens/token_keys.h"
#include "common/wire/federation.h"

namespace lorikeet {

// gRPC metadata that names the caller in a round that admits by token (TokenMember).
inline constexpr char kMemberMetadata[] = "lorikeet-member";

// A device's question for the issuer's keys, as data.
struct TokenKeysQuery {};

// Errors of every call: UNAVAILABLE (try again), UNAUTHENTICATED (no or wrong certificate),
// PERMISSION_DENIED (revoked device), UNIMPLEMENTED (nobody issues tokens here).
class TokenIssuerService {
 public:
  virtual ~TokenIssuerService() = default;
  virtual absl::StatusOr<SignedTokenKeys> GetTokenKeys(const DeviceId& device) = 0;
  // FAILED_PRECONDITION: not an epoch of the published keys; RESOURCE_EXHAUSTED: the device has had
  // its tokens; INVALID_ARGUMENT: more than an epoch's tokens at once.
  virtual absl::StatusOr<BatchEvaluation> IssueTokens(const DeviceId& device,
                                                      const IssueRequest& request) = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_TOKEN_SERVICE_H_
