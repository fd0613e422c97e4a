#include "tests/unit/secagg/isolation.h"

#include <algorithm>
#include <map>

namespace lorikeet {
namespace {

// Maximum flow of bipartite demands: wanted[i] units from node i to distinct suppliers, each of
// which gives at most `capacity`.  Augmenting paths, one unit at a time.
class Assignment {
 public:
  Assignment(size_t suppliers, int capacity) : room_(suppliers, capacity), users_(suppliers) {}

  // One more unit for `node` from one of `candidates[node]`.
  bool Augment(const std::vector<std::vector<ClientIndex>>& candidates, size_t node,
               std::vector<bool>* visited) {
    for (const ClientIndex supplier : candidates[node]) {
      if ((*visited)[supplier] || users_[supplier].contains(node)) continue;
      (*visited)[supplier] = true;
      if (room_[supplier] > 0) {
        --room_[supplier];
        users_[supplier].insert(node);
        return true;
      }
      const std::set<size_t> others = users_[supplier];
      for (const size_t other : others) {  // it moves to another supplier
        if (!Augment(candidates, other, visited)) continue;
        users_[supplier].erase(other);
        users_[supplier].insert(node);
        return true;
      }
    }
    return false;
  }
  const std::vector<std::set<size_t>>& users() const { return users_; }

 private:
  std::vector<int> room_;
  std::vector<std::set<size_t>> users_;
};

int CorruptNeighbours(const IsolationProblem& problem, ClientIndex client) {
  const auto& list = problem.neighbours[client];
  return static_cast<int>(
      std::count_if(list.begin(), list.end(), [&](ClientIndex c) { return problem.corrupt[c]; }));
}

// Honest clients around the targets: the keys that are wanted.
std::vector<ClientIndex> Boundary(const IsolationProblem& problem,
                                  const std::set<ClientIndex>& targets) {
  std::set<ClientIndex> boundary;
  for (const ClientIndex target : targets) {
    for (const ClientIndex other : problem.neighbours[target]) {
      if (!targets.contains(other) && !problem.corrupt[other]) boundary.insert(other);
    }
  }
  return {boundary.begin(), boundary.end()};
}

}  // namespace

std::vector<std::vector<ClientIndex>> NeighbourLists(const SessionGraph& graph, uint32_t clients) {
  std::vector<std::vector<ClientIndex>> lists;
  for (ClientIndex client = 0; client < clients; ++client)
    lists.push_back(graph.Neighbours(client));
  return lists;
}

bool BothSharesCollectable(const IsolationProblem& problem, ClientIndex client) {
  return 2 * problem.threshold <=
         static_cast<int>(problem.neighbours[client].size()) + CorruptNeighbours(problem, client);
}

std::optional<std::vector<std::set<ClientIndex>>> PlanIsolation(
    const IsolationProblem& problem, const std::vector<ClientIndex>& targets) {
  const std::set<ClientIndex> inside(targets.begin(), targets.end());
  const std::vector<ClientIndex> wanted = Boundary(problem, inside);
  const int degree = static_cast<int>(problem.neighbours[0].size());
  const auto demand = [&](ClientIndex client) {
    return std::max(0, problem.threshold - CorruptNeighbours(problem, client));
  };
  // A client whose key is wanted still answers if enough of its neighbours may call it alive.
  const auto answers = [&](ClientIndex client) {
    return !std::binary_search(wanted.begin(), wanted.end(), client) ||
           degree - demand(client) >= problem.acknowledgements;
  };
  for (const ClientIndex target : targets) {
    const auto& holders = problem.neighbours[target];
    if (std::count_if(holders.begin(), holders.end(), answers) < problem.threshold)
      return std::nullopt;
  }
  std::vector<std::vector<ClientIndex>> candidates;
  for (const ClientIndex client : wanted) {
    auto& list = candidates.emplace_back();
    for (const ClientIndex holder : problem.neighbours[client]) {
      if (!problem.corrupt[holder] && answers(holder)) list.push_back(holder);
    }
  }
  Assignment assignment(problem.neighbours.size(), degree - problem.threshold);
  for (size_t i = 0; i < wanted.size(); ++i) {
    for (int unit = 0; unit < demand(wanted[i]); ++unit) {
      std::vector<bool> visited(problem.neighbours.size(), false);
      if (!assignment.Augment(candidates, i, &visited)) return std::nullopt;
    }
  }
  std::vector<std::set<ClientIndex>> told(problem.neighbours.size());
  for (size_t client = 0; client < told.size(); ++client) {
    for (const size_t node : assignment.users()[client]) told[client].insert(wanted[node]);
  }
  return told;
}

}  // namespace lorikeet
