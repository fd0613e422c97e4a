// What a server that tells clients different things about dropouts could still do: plans, by
// maximum flow, for learning the sum over a few targets alone.
//
// The model is an upper bound on the server.  To strip the targets' sum it needs the self seed of
// every target (t holders told that it is alive) and the mask key of every other neighbour of
// theirs (t holders told that it dropped out).  A client believes at most k - t of its neighbours
// dropped, and with acknowledgements answers only after p neighbours signed that it is alive;
// corrupt clients say both.  Each told-dropped relation is one unit of flow from a client whose key
// is wanted to one of its holders.
#ifndef LORIKEET_TESTS_UNIT_SECAGG_ISOLATION_H_
#define LORIKEET_TESTS_UNIT_SECAGG_ISOLATION_H_

#include <optional>
#include <set>
#include <vector>

#include "common/secagg/graph.h"

namespace lorikeet {

struct IsolationProblem {
  std::vector<std::vector<ClientIndex>> neighbours;  // k-regular, symmetric
  std::vector<bool> corrupt;
  int threshold = 0;         // t
  int acknowledgements = 0;  // p; 0: a protocol without them
};

std::vector<std::vector<ClientIndex>> NeighbourLists(const SessionGraph& graph, uint32_t clients);

// For every client, whom it is told dropped out, so that the sum over `targets` is isolated;
// nothing if no such telling exists.
std::optional<std::vector<std::set<ClientIndex>>> PlanIsolation(
    const IsolationProblem& problem, const std::vector<ClientIndex>& targets);

// Whether both kinds of share of one client can be collected: 2 t <= k + its corrupt neighbours.
bool BothSharesCollectable(const IsolationProblem& problem, ClientIndex client);

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_SECAGG_ISOLATION_H_
