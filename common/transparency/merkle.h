// An append-only Merkle tree: hashes, proofs, and what an append stores.
//
// The tree of RFC 9162 section 2.1 (as RFC 6962 had it) with BLAKE2b-256: a leaf is H(0x00 |
// entry), a node H(0x01 | left | right), the tree of nothing H().  A tree of n leaves has its first
// 2^k of them to the left, 2^k < n <= 2^(k+1).
//
// Only hashes of complete subtrees are stored: node (level, index) covers the leaves
// [index << level, (index + 1) << level) and never changes again.  Root and proofs of any size up
// to the present one come from O(log n) of them; an append stores O(1) on average, at most log2(n)
// + 1.
#ifndef LORIKEET_COMMON_TRANSPARENCY_MERKLE_H_
#define LORIKEET_COMMON_TRANSPARENCY_MERKLE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/hash.h"

namespace lorikeet {

inline constexpr uint64_t kMaxTreeSize = uint64_t{1} << 62;
// Of one proof of a tree of kMaxTreeSize: a consistency proof has up to log2 + 1 hashes.
inline constexpr size_t kMaxTreeProofHashes = 63;

using MerkleProof = std::vector<Hash256>;

Hash256 LeafHash(std::span<const uint8_t> entry);
Hash256 NodeHash(const Hash256& left, const Hash256& right);
Hash256 EmptyTreeRoot();

struct MerkleNode {
  int level = 0;  // 0: a leaf
  uint64_t index = 0;
  Hash256 hash = {};
};

// Where complete subtrees are kept.
class MerkleNodes {
 public:
  virtual ~MerkleNodes() = default;
  // DATA_LOSS: a node that was stored is not there.
  virtual absl::StatusOr<Hash256> ReadNode(int level, uint64_t index) = 0;
};

// The nodes that leaf number `size` completes, itself first: to be stored in one transaction.
// REQUIRES: size < kMaxTreeSize, and `nodes` holds a tree of `size`.
absl::StatusOr<std::vector<MerkleNode>> CompleteNodes(uint64_t size, const Hash256& leaf,
                                                      MerkleNodes& nodes);

// REQUIRES of all three: `nodes` holds a tree of at least that size; sizes <= kMaxTreeSize.
absl::StatusOr<Hash256> TreeRoot(uint64_t size, MerkleNodes& nodes);
// That leaf `index` is in the tree of `size`.  REQUIRES: index < size.
absl::StatusOr<MerkleProof> InclusionProof(uint64_t index, uint64_t size, MerkleNodes& nodes);
// That the tree of `old_size` is the beginning of that of `size`; empty if old_size is 0 or size.
// REQUIRES: old_size <= size.
absl::StatusOr<MerkleProof> ConsistencyProof(uint64_t old_size, uint64_t size, MerkleNodes& nodes);

struct TreeRootOf {
  uint64_t size = 0;
  Hash256 root = {};

  friend bool operator==(const TreeRootOf&, const TreeRootOf&) = default;
};

// RFC 9162 section 2.1.3.2.  DATA_LOSS: not in this tree; INVALID_ARGUMENT: index past its end, or
// a proof of another length than such a tree's.
absl::Status VerifyInclusion(const Hash256& leaf, uint64_t index, const TreeRootOf& tree,
                             std::span<const Hash256> proof);
// RFC 9162 section 2.1.4.2.  DATA_LOSS: `later` does not begin with `earlier`;
// FAILED_PRECONDITION: it is shorter; INVALID_ARGUMENT: a proof of another length.
absl::Status VerifyConsistency(const TreeRootOf& earlier, const TreeRootOf& later,
                               std::span<const Hash256> proof);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_TRANSPARENCY_MERKLE_H_
