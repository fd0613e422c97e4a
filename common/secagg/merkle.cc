#include "common/secagg/merkle.h"

#include <utility>

#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

Hash256 NodeHash(const Hash256& left, const Hash256& right) {
  return Hasher().Update("lorikeet merkle node").Update(left).Update(right).Finish();
}

Hash256 RootHash(uint64_t count, const Hash256& top) {
  return Hasher().Update("lorikeet merkle root").UpdateUint64(count).Update(top).Finish();
}

}  // namespace

MerkleTree::MerkleTree(std::vector<Hash256> leaves) {
  LORIKEET_CHECK(!leaves.empty());
  levels_.push_back(std::move(leaves));
  while (levels_.back().size() > 1) {
    const std::vector<Hash256>& below = levels_.back();
    std::vector<Hash256> level;
    for (size_t i = 0; i + 1 < below.size(); i += 2)
      level.push_back(NodeHash(below[i], below[i + 1]));
    if (below.size() % 2 == 1) level.push_back(below.back());
    levels_.push_back(std::move(level));
  }
}

Hash256 MerkleTree::root() const {
  return RootHash(levels_.front().size(), levels_.back().front());
}

std::vector<Hash256> MerkleTree::Proof(uint64_t index) const {
  LORIKEET_CHECK(index < levels_.front().size());
  std::vector<Hash256> proof;
  for (size_t level = 0; level + 1 < levels_.size(); ++level, index /= 2) {
    const uint64_t sibling = index ^ 1;
    if (sibling < levels_[level].size()) proof.push_back(levels_[level][sibling]);
  }
  return proof;
}

bool VerifyMerkleProof(const Hash256& root, uint64_t count, uint64_t index, const Hash256& leaf,
                       std::span<const Hash256> proof) {
  if (index >= count) return false;
  Hash256 hash = leaf;
  size_t used = 0;
  for (uint64_t size = count; size > 1; size = (size + 1) / 2, index /= 2) {
    if ((index ^ 1) >= size) continue;  // unpaired at this level
    if (used == proof.size()) return false;
    const Hash256& sibling = proof[used++];
    hash = index % 2 == 0 ? NodeHash(hash, sibling) : NodeHash(sibling, hash);
  }
  return used == proof.size() && RootHash(count, hash) == root;
}

}  // namespace lorikeet
