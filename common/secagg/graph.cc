#include "common/secagg/graph.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/base/random.h"
#include "common/base/status_macros.h"

namespace lorikeet {

SessionGraph::SessionGraph(const SessionId& session, const Hash256& root, uint32_t client_count,
                           int degree)
    : client_count_(client_count),
      degree_(degree),
      complete_(degree == 0 || client_count <= static_cast<uint32_t>(degree) + 1) {
  LORIKEET_CHECK(client_count >= 1 && degree >= 0 && degree % 2 == 0);
  if (complete_) return;
  ring_.resize(client_count);
  std::iota(ring_.begin(), ring_.end(), 0);
  const Hash256 seed =
      Hasher().Update("lorikeet secagg graph").Update(session).Update(root).Finish();
  SeededRandom random(seed);
  for (uint32_t i = client_count - 1; i > 0; --i) {  // Fisher and Yates
    std::swap(ring_[i], ring_[random.UniformUint64(i + 1)]);
  }
  position_of_.resize(client_count);
  for (uint32_t i = 0; i < client_count; ++i) position_of_[ring_[i]] = i;
}

std::vector<ClientIndex> SessionGraph::Neighbours(ClientIndex client) const {
  LORIKEET_CHECK(client < client_count_);
  std::vector<ClientIndex> neighbours;
  if (complete_) {
    for (ClientIndex other = 0; other < client_count_; ++other) {
      if (other != client) neighbours.push_back(other);
    }
    return neighbours;
  }
  const uint64_t position = position_of_[client];
  for (int step = 1; step <= degree_ / 2; ++step) {
    neighbours.push_back(ring_[(position + step) % client_count_]);
    neighbours.push_back(ring_[(position + client_count_ - step) % client_count_]);
  }
  std::sort(neighbours.begin(), neighbours.end());
  return neighbours;
}

std::vector<ClientIndex> SessionGraph::Holders(ClientIndex client) const {
  std::vector<ClientIndex> holders = Neighbours(client);
  if (complete_) holders.insert(std::upper_bound(holders.begin(), holders.end(), client), client);
  return holders;
}

int SessionGraph::holder_count() const {
  return complete_ ? static_cast<int>(client_count_) : degree_;
}

}  // namespace lorikeet
