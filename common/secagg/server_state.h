// The state behind SecAggServer, shared by the steps (server.cc) and the unmasking
// (server_unmask.cc).  Private.
#ifndef LORIKEET_COMMON_SECAGG_SERVER_STATE_H_
#define LORIKEET_COMMON_SECAGG_SERVER_STATE_H_

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/base/thread_pool.h"
#include "common/secagg/derive.h"
#include "common/secagg/graph.h"
#include "common/secagg/masks.h"
#include "common/secagg/merkle.h"
#include "common/secagg/server.h"
#include "common/secagg/shamir.h"

namespace lorikeet {

// A share box on its way, without the allocation that a DeliveredBox has: there are n k of them.
struct StoredBox {
  ClientIndex sender = 0;
  std::array<uint8_t, kBoxBytes> sealed = {};
};

// One client of the ordered key list.
struct SecAggServerClient {
  KeyAdvertisement keys;
  std::vector<ClientIndex> neighbours;
  // Hashes of the accepted message of each step; absent: the client did not get that far.
  std::optional<Hash256> shared, masked, acknowledged, unmasked;
  Hash256 seed_commitment = {};
  std::vector<StoredBox> inbox;  // from neighbours that finished R1; empty after R2
  Acknowledgement acknowledgement;
  // Shares of this client's secret: of its seed when it is alive, of its mask key when it dropped
  // out.
  std::vector<PointShare> revealed;
};

struct SecAggServer::State {
  SecAggParameters parameters;
  SecAggStep step = SecAggStep::kAdvertise;
  std::string abort_reason;

  std::vector<KeyAdvertisement> advertisements;  // by ticket
  std::map<Hash256, uint32_t> ticket_of_advertisement;
  std::set<std::array<uint8_t, 32>> keys_seen;

  std::vector<ClientIndex> index_of_ticket;
  std::vector<SecAggServerClient> clients;  // by index
  std::optional<MerkleTree> tree;
  std::optional<SessionGraph> graph;
  std::vector<uint32_t> sum;     // of masked inputs added here, modulo 2^32
  std::vector<uint32_t> others;  // of those added elsewhere; empty: there are none
  int arrived = 0;               // in the current step
  int expected = 0;
  uint32_t survivor_count = 0;  // R2

  absl::Status Expect(SecAggStep wanted) const;
  absl::Status Abort(std::string reason);
  // The client's entry, for a message of step `wanted` of this session.
  absl::Status CheckClient(const SessionId& session, ClientIndex client) const;
  // Whether a message with this hash may enter `slot`: true: new; false: a repeat; ALREADY_EXISTS:
  // a different one.
  absl::StatusOr<bool> IsNew(const std::optional<Hash256>& slot, const Hash256& hash,
                             ClientIndex client) const;
  // OK if every client that finished R1 has `threshold` holders for which `present` is true.
  template <typename Predicate>
  absl::Status CheckHolders(const Predicate& present) const;
  absl::Status CloseStep(SecAggStep from, SecAggStep to, int minimum);

  // Bytes of `dimension` packed elements.
  uint64_t PackedBytes() const;
  // Whether a masked update with this hash may enter now: as IsNew, and the step is R2.
  absl::StatusOr<bool> MaskedIsNew(ClientIndex sender, const Hash256& hash) const;
  // REQUIRES: MaskedIsNew.
  void EnterMasked(ClientIndex sender, const Hash256& hash);
  bool alive(ClientIndex client) const { return clients[client].masked.has_value(); }
  bool dropped(ClientIndex client) const {
    return clients[client].shared && !clients[client].masked;
  }
  SurvivorLists Survivors(ClientIndex client) const;

  // Recovers the self seed of every alive and the mask key of every dropped client; fills `blamed`.
  absl::StatusOr<std::vector<SecretBytes>> RecoverSecrets(ThreadPool* pool,
                                                          std::set<ClientIndex>* blamed) const;
  // Every mask that is left in `sum`, to be taken out, from these secrets (by client).
  absl::StatusOr<std::vector<Mask>> MasksLeft(const std::vector<SecretBytes>& secrets,
                                              ThreadPool* pool) const;
  absl::Status Unmask(ThreadPool* pool, std::set<ClientIndex>* blamed);
  Hash256 Transcript() const;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_SERVER_STATE_H_
