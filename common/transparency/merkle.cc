#include "common/transparency/merkle.h"

#include <bit>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr uint8_t kLeafPrefix = 0;
constexpr uint8_t kNodePrefix = 1;

// The largest power of two below n.  REQUIRES: n > 1.
uint64_t LeftSize(uint64_t n) { return std::bit_floor(n - 1); }

// Of the leaves [begin, end), where begin is a multiple of the smallest power of two that is at
// least end - begin: complete ones are read, the others are put together.
absl::StatusOr<Hash256> SubtreeHash(uint64_t begin, uint64_t end, MerkleNodes& nodes) {
  const uint64_t count = end - begin;
  if (std::has_single_bit(count)) {
    const int level = std::countr_zero(count);
    return nodes.ReadNode(level, begin >> level);
  }
  const uint64_t middle = begin + LeftSize(count);
  ASSIGN_OR_RETURN(const Hash256 left, SubtreeHash(begin, middle, nodes));
  ASSIGN_OR_RETURN(const Hash256 right, SubtreeHash(middle, end, nodes));
  return NodeHash(left, right);
}

// PATH of RFC 9162 section 2.1.3.1: from the leaf up.
absl::Status AppendPath(uint64_t index, uint64_t begin, uint64_t end, MerkleNodes& nodes,
                        MerkleProof* proof) {
  if (end - begin == 1) return absl::OkStatus();
  const uint64_t middle = begin + LeftSize(end - begin);
  const bool in_left = index < middle;
  RETURN_IF_ERROR(
      AppendPath(index, in_left ? begin : middle, in_left ? middle : end, nodes, proof));
  ASSIGN_OR_RETURN(const Hash256 sibling,
                   SubtreeHash(in_left ? middle : begin, in_left ? end : middle, nodes));
  proof->push_back(sibling);
  return absl::OkStatus();
}

// SUBPROOF of RFC 9162 section 2.1.4.1 for the first `old_size` leaves of the whole tree, inside
// [begin, end); `whole`: the old tree's own root is begin..old_size, which the verifier knows.
absl::Status AppendSubproof(uint64_t old_size, uint64_t begin, uint64_t end, bool whole,
                            MerkleNodes& nodes, MerkleProof* proof) {
  if (old_size == end) {
    if (whole) return absl::OkStatus();
    ASSIGN_OR_RETURN(const Hash256 known, SubtreeHash(begin, end, nodes));
    proof->push_back(known);
    return absl::OkStatus();
  }
  const uint64_t middle = begin + LeftSize(end - begin);
  const bool in_left = old_size <= middle;
  RETURN_IF_ERROR(AppendSubproof(old_size, in_left ? begin : middle, in_left ? middle : end,
                                 in_left && whole, nodes, proof));
  ASSIGN_OR_RETURN(const Hash256 other,
                   SubtreeHash(in_left ? middle : begin, in_left ? end : middle, nodes));
  proof->push_back(other);
  return absl::OkStatus();
}

absl::Status WrongLength(const char* what, size_t got) {
  return absl::InvalidArgumentError(absl::StrFormat(
      "log: expected another number of hashes in a proof of %s, got %d", what, got));
}

absl::Status CheckSize(uint64_t size) {
  if (size <= kMaxTreeSize) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("log: expected at most %d entries, got %d", kMaxTreeSize, size));
}

}  // namespace

Hash256 LeafHash(std::span<const uint8_t> entry) {
  return Hasher().Update({&kLeafPrefix, 1}).Update(entry).Finish();
}

Hash256 NodeHash(const Hash256& left, const Hash256& right) {
  return Hasher().Update({&kNodePrefix, 1}).Update(left).Update(right).Finish();
}

Hash256 EmptyTreeRoot() { return Hasher().Finish(); }

absl::StatusOr<std::vector<MerkleNode>> CompleteNodes(uint64_t size, const Hash256& leaf,
                                                      MerkleNodes& nodes) {
  std::vector<MerkleNode> completed = {{0, size, leaf}};
  // Every trailing one bit of the old size is a left neighbour that waited for this.
  for (uint64_t index = size; index % 2 == 1; index /= 2) {
    const MerkleNode right = completed.back();
    ASSIGN_OR_RETURN(const Hash256 left, nodes.ReadNode(right.level, right.index - 1));
    completed.push_back({right.level + 1, right.index / 2, NodeHash(left, right.hash)});
  }
  return completed;
}

absl::StatusOr<Hash256> TreeRoot(uint64_t size, MerkleNodes& nodes) {
  if (size == 0) return EmptyTreeRoot();
  return SubtreeHash(0, size, nodes);
}

absl::StatusOr<MerkleProof> InclusionProof(uint64_t index, uint64_t size, MerkleNodes& nodes) {
  LORIKEET_CHECK(index < size);
  MerkleProof proof;
  RETURN_IF_ERROR(AppendPath(index, 0, size, nodes, &proof));
  return proof;
}

absl::StatusOr<MerkleProof> ConsistencyProof(uint64_t old_size, uint64_t size, MerkleNodes& nodes) {
  LORIKEET_CHECK(old_size <= size);
  MerkleProof proof;
  if (old_size == 0) return proof;
  RETURN_IF_ERROR(AppendSubproof(old_size, 0, size, true, nodes, &proof));
  return proof;
}

absl::Status VerifyInclusion(const Hash256& leaf, uint64_t index, const TreeRootOf& tree,
                             std::span<const Hash256> proof) {
  RETURN_IF_ERROR(CheckSize(tree.size));
  if (index >= tree.size) {
    return absl::InvalidArgumentError(
        absl::StrFormat("log: expected an entry below %d, got %d", tree.size, index));
  }
  uint64_t node = index, last = tree.size - 1;
  Hash256 hash = leaf;
  for (const Hash256& sibling : proof) {
    if (last == 0) return WrongLength("inclusion", proof.size());
    if (node % 2 == 1 || node == last) {
      hash = NodeHash(sibling, hash);
      // The right edge: levels without a neighbour are left out.
      while (node % 2 == 0 && node != 0) {
        node /= 2;
        last /= 2;
      }
    } else {
      hash = NodeHash(hash, sibling);
    }
    node /= 2;
    last /= 2;
  }
  if (last != 0) return WrongLength("inclusion", proof.size());
  if (hash == tree.root) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrFormat("log: entry %d is not in the tree of %d entries with the root %s", index,
                      tree.size, ToHex(tree.root)));
}

absl::Status VerifyConsistency(const TreeRootOf& earlier, const TreeRootOf& later,
                               std::span<const Hash256> proof) {
  RETURN_IF_ERROR(CheckSize(earlier.size));
  RETURN_IF_ERROR(CheckSize(later.size));
  if (later.size < earlier.size) {
    return absl::FailedPreconditionError(
        absl::StrFormat("log: expected at least %d entries, got %d (some were taken back)",
                        earlier.size, later.size));
  }
  const auto differ = [&] {
    return absl::DataLossError(absl::StrFormat(
        "log: the tree of %d entries with the root %s does not begin with that of %d entries with "
        "the root %s: two views of one log were shown",
        later.size, ToHex(later.root), earlier.size, ToHex(earlier.root)));
  };
  if (earlier.size == 0 || earlier.size == later.size) {
    if (!proof.empty()) return WrongLength("consistency", proof.size());
    const bool same =
        earlier.size == 0 ? earlier.root == EmptyTreeRoot() : earlier.root == later.root;
    return same ? absl::OkStatus() : differ();
  }
  // A complete old tree is itself the first hash of the proof, and is left out.
  std::vector<Hash256> path;
  if (std::has_single_bit(earlier.size)) path.push_back(earlier.root);
  path.insert(path.end(), proof.begin(), proof.end());
  if (path.empty()) return WrongLength("consistency", proof.size());
  uint64_t node = earlier.size - 1, last = later.size - 1;
  while (node % 2 == 1) {
    node /= 2;
    last /= 2;
  }
  Hash256 old_hash = path[0], new_hash = path[0];
  for (size_t i = 1; i < path.size(); ++i) {
    if (last == 0) return WrongLength("consistency", proof.size());
    if (node % 2 == 1 || node == last) {
      old_hash = NodeHash(path[i], old_hash);
      new_hash = NodeHash(path[i], new_hash);
      while (node % 2 == 0 && node != 0) {
        node /= 2;
        last /= 2;
      }
    } else {
      new_hash = NodeHash(new_hash, path[i]);
    }
    node /= 2;
    last /= 2;
  }
  if (last != 0) return WrongLength("consistency", proof.size());
  return old_hash == earlier.root && new_hash == later.root ? absl::OkStatus() : differ();
}

}  // namespace lorikeet
