// Messages of the secure aggregation protocol (SecAgg+, Bell et al. 2020, with neighbour
// acknowledgements).
//
// Plain structs, checked for sizes and counts by common/wire before they get here.  Steps carry the
// paper's names: R0 advertise keys, R1 share keys, R2 masked input, R3 acknowledge (consistency),
// R4 unmask. A client is known inside one session by its index in the ordered key list, fixed after
// all keys were committed.
#ifndef LORIKEET_COMMON_SECAGG_MESSAGES_H_
#define LORIKEET_COMMON_SECAGG_MESSAGES_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/hash.h"
#include "common/crypto/keys.h"

namespace lorikeet {

using SessionId = Hash256;  // hash of the signed round description
using ClientIndex = uint32_t;

// What every party knows about a session before it starts; part of the signed round description.
struct SecAggParameters {
  SessionId session = {};
  int cohort_min = 0;  // n_min: fewer survivors release nothing
  int cohort_max = 0;  // clients admitted at most
  int degree = 0;      // k of the Harary graph; 0: complete graph (k = n - 1)
  int threshold =
      0;  // t: shares needed, counted among a client's neighbours and itself in a complete graph
          // (self only there).  More than half of the holders: 2 t > n or 2 t > k
  int64_t dimension = 0;  // d: elements of the input vector
  int modulus_bits = 0;   // m: elements are added modulo 2^m, 8..32
};

// R0, client to server.
struct KeyAdvertisement {
  SessionId session = {};
  X25519PublicKey mask_key = {};       // pairwise masks; its secret is shared in R1
  X25519PublicKey transport_key = {};  // sealed share boxes
  Ed25519PublicKey signing_key = {};   // one statement in R3
};

// R1, server to client: own neighbours with proofs against one root that fixes the whole ordered
// list.
struct NeighbourKeys {
  ClientIndex index = 0;
  KeyAdvertisement keys;
  std::vector<Hash256> proof;  // Merkle path from leaf to root
};
struct KeyDirectory {
  SessionId session = {};
  uint32_t client_count = 0;  // n
  Hash256 root = {};          // Merkle root of the ordered key list
  ClientIndex own_index = 0;
  std::vector<Hash256> own_proof;
  std::vector<NeighbourKeys> neighbours;  // sorted by index; the set follows from root, n and k
};

// R1, client to server.
struct ShareBox {
  ClientIndex recipient = 0;
  std::vector<uint8_t>
      sealed;  // XChaCha20-Poly1305: share of the self seed b, share of the mask secret key
};
struct ShareKeysMessage {
  SessionId session = {};
  ClientIndex sender = 0;
  Hash256 seed_commitment = {};  // H(b)
  std::vector<ShareBox> boxes;
};

// R2, server to client.
struct DeliveredBox {
  ClientIndex sender = 0;
  std::vector<uint8_t> sealed;
};
struct ShareDelivery {
  SessionId session = {};
  ClientIndex recipient = 0;
  std::vector<DeliveredBox> boxes;  // from neighbours that finished R1
};

// R2, client to server: the only form in which a contribution may leave a device.  See
// masked_update.h.

// R3, server to client.
struct SurvivorLists {
  SessionId session = {};
  uint32_t survivor_count = 0;  // over the whole cohort, must be >= cohort_min
  std::vector<ClientIndex>
      alive;  // own neighbours, and the client itself, whose masked input arrived
  std::vector<ClientIndex> dropped;  // own neighbours that finished R1 and did not send R2
};

// R3, client to server: a client signs one such statement per session, ever.
struct Acknowledgement {
  SessionId session = {};
  ClientIndex sender = 0;
  std::vector<ClientIndex> alive;
  std::vector<ClientIndex> dropped;
  Ed25519Signature signature = {};
};

// R4, server to client: acknowledgements of own neighbours (and own).
struct AcknowledgementSet {
  SessionId session = {};
  std::vector<Acknowledgement> acknowledgements;
};

// R4, client to server: for each peer exactly one kind of share.
struct RevealedShare {
  ClientIndex owner = 0;
  std::vector<uint8_t> share;
};
struct UnmaskResponse {
  SessionId session = {};
  ClientIndex sender = 0;
  std::vector<RevealedShare> seed_shares;      // of alive peers
  std::vector<RevealedShare> mask_key_shares;  // of dropped peers
};

// What the server learns.
struct AggregateSum {
  SessionId session = {};
  std::vector<uint32_t> sum;  // [d], modulo 2^m
  uint32_t survivor_count = 0;
  Hash256 transcript = {};          // hash of all messages that entered the sum
  std::vector<ClientIndex> blamed;  // clients whose shares were wrong
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_MESSAGES_H_
