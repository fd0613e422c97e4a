// A log in memory, for tests.
#ifndef LORIKEET_TESTS_UNIT_TRANSPARENCY_MEMORY_LOG_H_
#define LORIKEET_TESTS_UNIT_TRANSPARENCY_MEMORY_LOG_H_

#include <map>
#include <optional>
#include <utility>

#include "common/base/status_macros.h"
#include "common/transparency/release_log.h"

namespace lorikeet {

class MemoryLog final : public MerkleNodes {
 public:
  absl::StatusOr<Hash256> ReadNode(int level, uint64_t index) override {
    ++reads;
    const auto it = nodes_.find({level, index});
    if (it == nodes_.end()) return absl::DataLossError("no such node");
    return it->second;
  }
  // How many nodes were stored.
  size_t Append(const Hash256& leaf) {
    const auto completed = CompleteNodes(size_, leaf, *this);
    LORIKEET_CHECK(completed.ok());
    for (const MerkleNode& node : *completed) {
      LORIKEET_CHECK(nodes_.emplace(std::pair(node.level, node.index), node.hash).second);
    }
    ++size_;
    return completed->size();
  }
  uint64_t size() const { return size_; }
  TreeRootOf Tree(uint64_t size) { return {size, TreeRoot(size, *this).value()}; }
  TreeRootOf Tree() { return Tree(size_); }

  // What a coordinator sends with entry `index` to a device that remembers `last`.
  LogEvidence Evidence(uint64_t index, const std::optional<TreeHead>& last, const SigningKey& key,
                       absl::Time now) {
    LogEvidence evidence;
    evidence.head = SignTreeHead(Tree(), now, key);
    evidence.places = {{index, InclusionProof(index, size_, *this).value()}};
    if (last) evidence.consistency = ConsistencyProof(last->tree.size, size_, *this).value();
    return evidence;
  }

  int reads = 0;

 private:
  std::map<std::pair<int, uint64_t>, Hash256> nodes_;
  uint64_t size_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_TRANSPARENCY_MEMORY_LOG_H_
