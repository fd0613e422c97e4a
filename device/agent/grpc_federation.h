// FederationService and TokenIssuerService over gRPC: the device's end of the network.
//
// Mutual TLS, but for the calls of a member of a round that admits by token: those take a
// connection of their own, without a certificate, that names the member only.
#ifndef LORIKEET_DEVICE_AGENT_GRPC_FEDERATION_H_
#define LORIKEET_DEVICE_AGENT_GRPC_FEDERATION_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/wire/federation.h"
#include "common/wire/token_service.h"

namespace lorikeet {

struct GrpcFederationOptions {
  std::string target;          // "host:port"
  std::string ca_certificate;  // PEM contents, not paths
  std::string certificate;
  std::string private_key;
  absl::Duration call_timeout = absl::Seconds(20);
};

// Thread-safe.  Connects lazily: an absent coordinator shows as UNAVAILABLE calls.  The device
// argument of the calls is ignored unless it is a member's name: the certificate says who calls.
// INVALID_ARGUMENT: empty target or credentials.
absl::StatusOr<std::unique_ptr<FederationService>> ConnectGrpcFederation(
    const GrpcFederationOptions& options);

// The same for an issuer of tokens, which may be the coordinator's process or another.
absl::StatusOr<std::unique_ptr<TokenIssuerService>> ConnectGrpcTokenIssuer(
    const GrpcFederationOptions& options);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_GRPC_FEDERATION_H_
