// What a device and a coordinator say to each other, without a transport.
//
// The coordinator core (coordinator/rounds/coordinator.h) implements FederationService; the gRPC
// stub in device/agent implements it by calling a coordinator over the network; lorikeet-sim hands
// the core to its devices directly. Every call is idempotent: it may be repeated after a lost
// answer, and gets the same answer while the step lasts.
#ifndef LORIKEET_COMMON_WIRE_FEDERATION_H_
#define LORIKEET_COMMON_WIRE_FEDERATION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/hash.h"
#include "common/secagg/masked_update.h"
#include "common/secagg/messages.h"
#include "common/tokens/token.h"
#include "common/wire/round.h"
#include "common/wire/trust_messages.h"

namespace lorikeet {

// Who calls: the common name of the client certificate; over gRPC the certificate decides and the
// argument is ignored.  In a round that admits by token, and there only: the member's name that
// follows from its token (TokenMember), sent without a certificate.
using DeviceId = std::string;

struct HelloResult {
  uint32_t protocol_version = 0;         // newest that the coordinator speaks
  uint32_t oldest_protocol_version = 0;  // oldest that it still speaks
  absl::Time now;                        // the coordinator's clock: deadlines are measured by it
};

enum class ReleaseKind : uint8_t { kBase, kCatalog };
std::string_view ReleaseKindName(ReleaseKind kind);  // "base", "catalog"
absl::StatusOr<ReleaseKind> ParseReleaseKind(std::string_view name);

// A manifest (manifest.h) as the bytes that were signed.  Nothing in it may be used before
// VerifyManifest.
struct SignedManifest {
  std::string manifest;  // JSON
  Ed25519Signature signature = {};
  Ed25519PublicKey key = {};
};

struct ReleaseQuery {
  ReleaseKind kind = ReleaseKind::kCatalog;
  std::string base_fingerprint;  // hex; for kBase it may be empty: the newest base
};

struct ChunkQuery {
  Hash256 file_hash = {};
  uint64_t offset = 0;
  uint32_t length = 0;  // at most limits.h kMaxFetchBytes
};
struct ChunkResult {
  std::string data;  // shorter than asked for only at the end of the file
  uint64_t file_bytes = 0;
};

// A device's keys for a round, and what admits it.
struct JoinRequest {
  KeyAdvertisement keys;
  std::optional<Token> token;  // where the description demands one
};

struct RoundQuery {
  uint32_t protocol_version = kProtocolVersion;
  std::string base_fingerprint;
  uint64_t catalog_version = 0;
};
// Rounds in their first step for this base and catalog.  Routed ones are the same list to
// everybody, whatever its persona; of the others, those that the device may still take part in.
struct RoundOffer {
  std::vector<SignedRoundDescription> rounds;
  absl::Duration retry_after;  // when there is none
};

enum class RoundPhase : uint8_t {
  kAdvertise = 1,
  kShare = 2,
  kMask = 3,
  kAcknowledge = 4,
  kUnmask = 5,
  kDone = 6,
  kAborted = 7,
};
std::string_view RoundPhaseName(RoundPhase phase);

struct PollQuery {
  SessionId session = {};
  uint32_t ticket = 0;  // from AdvertiseKeys
};
// The phase of the session and, in it, the message addressed to this client.
struct PollResult {
  RoundPhase phase = RoundPhase::kAdvertise;
  absl::Duration retry_after;
  std::optional<KeyDirectory> directory;               // kShare
  std::optional<ShareDelivery> delivery;               // kMask
  std::optional<SurvivorLists> survivors;              // kAcknowledge
  std::optional<AcknowledgementSet> acknowledgements;  // kUnmask
  std::string message;                                 // kAborted: why
  uint32_t survivor_count = 0;                         // kDone
  Hash256 transcript = {};                             // kDone
};

// Errors of every call: UNAVAILABLE (try again), UNAUTHENTICATED (no or wrong certificate),
// PERMISSION_DENIED (revoked device), INVALID_ARGUMENT (malformed message).
class FederationService {
 public:
  virtual ~FederationService() = default;

  // FAILED_PRECONDITION: the coordinator no longer speaks this version; expected and got are named.
  virtual absl::StatusOr<HelloResult> Hello(const DeviceId& device, uint32_t protocol_version) = 0;
  // The newest release of a kind.  NOT_FOUND: there is none.
  virtual absl::StatusOr<SignedManifest> GetRelease(const DeviceId& device,
                                                    const ReleaseQuery& query) = 0;
  // NOT_FOUND: no file with this hash is released; OUT_OF_RANGE: the offset is past its end.
  virtual absl::StatusOr<ChunkResult> FetchChunk(const DeviceId& device,
                                                 const ChunkQuery& query) = 0;
  // Roots after the device's, and the documents that it does not have.  Never NOT_FOUND.
  virtual absl::StatusOr<TrustUpdate> GetTrust(const DeviceId& device, const TrustQuery& query) = 0;
  // Proofs for entries of the log.  NOT_FOUND: one is not in it; FAILED_PRECONDITION: the log is
  // shorter than the device knows it.
  virtual absl::StatusOr<LogEvidence> GetLogProof(const DeviceId& device,
                                                  const LogQuery& query) = 0;
  // Rounds now in their first step.  Also for members of rounds (TokenMember): unnamed, a device
  // can see whether it was shown what everybody is.
  virtual absl::StatusOr<RoundOffer> GetRound(const DeviceId& device, const RoundQuery& query) = 0;

  // The five steps.  ABORTED: the round is over.  FAILED_PRECONDITION: another step is on (poll).
  // ALREADY_EXISTS: another message of this device was accepted for this step.
  // PERMISSION_DENIED: the message's sender index is not this device's.
  // What was answered OK is stored and survives a restart of the coordinator.
  // AdvertiseKeys also, where a token is demanded: PERMISSION_DENIED: none came, or not a genuine
  // one for these keys and this caller; FAILED_PRECONDITION: of another epoch; ALREADY_EXISTS:
  // spent.
  virtual absl::StatusOr<uint32_t> AdvertiseKeys(const DeviceId& device,
                                                 const JoinRequest& request) = 0;
  virtual absl::Status ShareKeys(const DeviceId& device, const ShareKeysMessage& message) = 0;
  virtual absl::Status SubmitMaskedUpdate(const DeviceId& device, const MaskedUpdate& message) = 0;
  virtual absl::Status Acknowledge(const DeviceId& device, const Acknowledgement& message) = 0;
  virtual absl::Status Unmask(const DeviceId& device, const UnmaskResponse& message) = 0;
  // ABORTED: this device dropped out (it missed a step).  NOT_FOUND: no such session.
  virtual absl::StatusOr<PollResult> Poll(const DeviceId& device, const PollQuery& query) = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_FEDERATION_H_
