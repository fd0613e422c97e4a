// Who shares masks and secrets with whom: a complete graph, or a Harary graph on a random
// permutation of the clients (Bell et al. 2020, section 3).
//
// The permutation follows from the Merkle root, which is fixed only after all keys were committed:
// no client can choose its neighbours.  A server that adds clients of its own can try several key
// lists, each at the price of hashing it anew; the margin for that is in the security bits of
// ChooseGraph.
#ifndef LORIKEET_COMMON_SECAGG_GRAPH_H_
#define LORIKEET_COMMON_SECAGG_GRAPH_H_

#include <cstdint>
#include <vector>

#include "common/secagg/messages.h"

namespace lorikeet {

class SessionGraph {
 public:
  // REQUIRES: client_count >= 1, degree even or 0.  Complete when degree = 0 or client_count <=
  // degree + 1.
  SessionGraph(const SessionId& session, const Hash256& root, uint32_t client_count, int degree);

  bool complete() const { return complete_; }
  // Sorted, without the client itself.
  std::vector<ClientIndex> Neighbours(ClientIndex client) const;
  // Sorted; who holds shares of this client's secrets: its neighbours, and itself in a complete
  // graph.
  std::vector<ClientIndex> Holders(ClientIndex client) const;
  // Number of holders of every client.
  int holder_count() const;

 private:
  uint32_t client_count_;
  int degree_;
  bool complete_;
  std::vector<ClientIndex> ring_;      // clients in ring order; empty when complete
  std::vector<uint32_t> position_of_;  // inverse of ring_
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_GRAPH_H_
