// What both sides of a session derive alike: leaves, commitments, keys, statements.
//
// Everything is bound to the session id, and each use has its own label.  Masks and share boxes
// have keys of their own, at the price of a second agreement a neighbour: the mask key of a client
// that drops out is made public, and must not open the boxes that it was sent.
#ifndef LORIKEET_COMMON_SECAGG_DERIVE_H_
#define LORIKEET_COMMON_SECAGG_DERIVE_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/crypto/aead.h"
#include "common/crypto/secret_bytes.h"
#include "common/secagg/messages.h"
#include "common/secagg/shamir.h"

namespace lorikeet {

inline constexpr std::string_view kAcknowledgementLabel = "lorikeet secagg acknowledgement";

// A box carries one share of the self seed and one of the mask key, sealed.
inline constexpr size_t kBoxPlainBytes = 2 * kShareBytes;
inline constexpr size_t kBoxBytes = kBoxPlainBytes + kAeadOverheadBytes;

// The point at which a client holds shares.
inline uint64_t PointOf(ClientIndex client) { return uint64_t{client} + 1; }

// INVALID_ARGUMENT says which field is out of range.
absl::Status ValidateParameters(const SecAggParameters& parameters);

// Leaf of the Merkle tree.
Hash256 AdvertisementHash(const KeyAdvertisement& keys);
// H(b), bound to session and owner.
Hash256 SeedCommitment(const SessionId& session, ClientIndex owner, const SecretBytes& seed);
// ChaCha20 key of PRG(b).
SecretBytes SelfMaskKey(const SessionId& session, ClientIndex owner, const SecretBytes& seed);
// ChaCha20 key of PRG(s_ij) from the X25519 shared point of the two mask keys; symmetric in the
// clients.
SecretBytes PairMaskKey(const SessionId& session, ClientIndex one, ClientIndex other,
                        const SecretBytes& shared);
// Key of share boxes from the shared point of the two transport keys; symmetric in the clients.
SecretBytes BoxKey(const SessionId& session, ClientIndex one, ClientIndex other,
                   const SecretBytes& shared);
// Associated data of a box: session, sender, recipient.
std::vector<uint8_t> BoxContext(const SessionId& session, ClientIndex sender,
                                ClientIndex recipient);

// What a client signs in R3: session, key list, cohort survivors, sender and both lists.
std::vector<uint8_t> AcknowledgementStatement(const Acknowledgement& statement, const Hash256& root,
                                              uint32_t survivor_count);

// Hashes of whole messages, for repeats and the transcript.
Hash256 MessageHash(const ShareKeysMessage& message);
Hash256 MessageHash(const Acknowledgement& message);
Hash256 MessageHash(const UnmaskResponse& message);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_DERIVE_H_
