// Merkle tree over the ordered list of key advertisements.
//
// node = BLAKE2b("lorikeet merkle node" | left | right); the last node of an odd level moves up
// unpaired; the root is BLAKE2b("lorikeet merkle root" | n | top), so that a proof also fixes the
// number of leaves.
#ifndef LORIKEET_COMMON_SECAGG_MERKLE_H_
#define LORIKEET_COMMON_SECAGG_MERKLE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "common/base/hash.h"

namespace lorikeet {

class MerkleTree {
 public:
  // REQUIRES: at least one leaf.
  explicit MerkleTree(std::vector<Hash256> leaves);
  Hash256 root() const;
  // Sibling hashes from the leaf up.  REQUIRES: index below the number of leaves.
  std::vector<Hash256> Proof(uint64_t index) const;

 private:
  std::vector<std::vector<Hash256>> levels_;  // leaves first
};

// True if `leaf` is at `index` in a list of `count` leaves with this root.
bool VerifyMerkleProof(const Hash256& root, uint64_t count, uint64_t index, const Hash256& leaf,
                       std::span<const Hash256> proof);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_SECAGG_MERKLE_H_
