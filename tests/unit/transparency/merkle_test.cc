// The tree against a second implementation that follows the definitions of RFC 9162 over whole
// lists of leaves, for all sizes up to 70; then properties at larger ones.
#include "common/transparency/merkle.h"

#include <gtest/gtest.h>

#include "common/base/random.h"
#include "common/base/strings.h"
#include "tests/unit/transparency/memory_log.h"

namespace lorikeet {
namespace {

constexpr uint64_t kSizes = 70;

// H, written out: nothing of merkle.h is used below.
Hash256 HashOf(const std::string& bytes) { return Blake2b(AsBytes(bytes)); }
std::string Text(const Hash256& hash) { return std::string(AsChars(hash)); }
std::string EntryText(uint64_t i) { return "entry " + std::to_string(i); }

using Leaves = std::vector<std::string>;

Leaves FirstEntries(uint64_t count) {
  Leaves leaves;
  for (uint64_t i = 0; i < count; ++i) leaves.push_back(EntryText(i));
  return leaves;
}
size_t Split(const Leaves& d) {
  size_t k = 1;
  while (2 * k < d.size()) k *= 2;
  return k;
}
Leaves Front(const Leaves& d) { return Leaves(d.begin(), d.begin() + Split(d)); }
Leaves Back(const Leaves& d) { return Leaves(d.begin() + Split(d), d.end()); }

// MTH(D[n]), section 2.1.1.
Hash256 Mth(const Leaves& d) {
  if (d.empty()) return HashOf("");
  if (d.size() == 1) return HashOf(std::string(1, '\0') + d[0]);
  return HashOf(std::string(1, '\1') + Text(Mth(Front(d))) + Text(Mth(Back(d))));
}
// PATH(m, D[n]), section 2.1.3.1.
MerkleProof Path(size_t m, const Leaves& d) {
  if (d.size() == 1) return {};
  const size_t k = Split(d);
  MerkleProof path = m < k ? Path(m, Front(d)) : Path(m - k, Back(d));
  path.push_back(m < k ? Mth(Back(d)) : Mth(Front(d)));
  return path;
}
// SUBPROOF(m, D[n], b), section 2.1.4.1.
MerkleProof Subproof(size_t m, const Leaves& d, bool b) {
  if (m == d.size()) return b ? MerkleProof() : MerkleProof{Mth(d)};
  const size_t k = Split(d);
  MerkleProof proof = m <= k ? Subproof(m, Front(d), b) : Subproof(m - k, Back(d), false);
  proof.push_back(m <= k ? Mth(Back(d)) : Mth(Front(d)));
  return proof;
}

MemoryLog LogOf(uint64_t size) {
  MemoryLog log;
  for (uint64_t i = 0; i < size; ++i) log.Append(LeafHash(AsBytes(EntryText(i))));
  return log;
}

TEST(MerkleTest, RootsAreThoseOfTheDefinition) {
  MemoryLog log = LogOf(kSizes);
  for (uint64_t size = 0; size <= kSizes; ++size) {
    EXPECT_EQ(log.Tree(size).root, Mth(FirstEntries(size))) << size;
  }
}

TEST(MerkleTest, InclusionProofsAreThoseOfTheDefinitionAndVerify) {
  MemoryLog log = LogOf(kSizes);
  for (uint64_t size = 1; size <= kSizes; ++size) {
    const Leaves leaves = FirstEntries(size);
    const TreeRootOf tree{size, Mth(leaves)};
    for (uint64_t index = 0; index < size; ++index) {
      const MerkleProof proof = InclusionProof(index, size, log).value();
      ASSERT_EQ(proof, Path(index, leaves)) << index << " of " << size;
      ASSERT_TRUE(VerifyInclusion(LeafHash(AsBytes(leaves[index])), index, tree, proof).ok());
    }
  }
}

TEST(MerkleTest, ConsistencyProofsAreThoseOfTheDefinitionAndVerify) {
  MemoryLog log = LogOf(kSizes);
  for (uint64_t size = 0; size <= kSizes; ++size) {
    const Leaves leaves = FirstEntries(size);
    for (uint64_t old = 0; old <= size; ++old) {
      const MerkleProof proof = ConsistencyProof(old, size, log).value();
      const MerkleProof expected = old > 0 ? Subproof(old, leaves, true) : MerkleProof();
      ASSERT_EQ(proof, expected) << old << " to " << size;
      const absl::Status status = VerifyConsistency(log.Tree(old), log.Tree(size), proof);
      ASSERT_TRUE(status.ok()) << old << " to " << size << ": " << status;
    }
  }
}

// A proof fits one leaf, one place and one size.
TEST(MerkleTest, InclusionProofsOfAnythingElseAreRefused) {
  MemoryLog log = LogOf(kSizes);
  for (const uint64_t size : {1, 2, 3, 7, 8, 9, 33, 64, 70}) {
    for (uint64_t index = 0; index < size; ++index) {
      const Hash256 leaf = LeafHash(AsBytes(EntryText(index)));
      const MerkleProof proof = InclusionProof(index, size, log).value();
      const TreeRootOf tree = log.Tree(size);
      const auto refused = [&](const Hash256& l, uint64_t i, const TreeRootOf& t,
                               const MerkleProof& p) { return !VerifyInclusion(l, i, t, p).ok(); };
      ASSERT_TRUE(refused(LeafHash(AsBytes("x")), index, tree, proof));
      for (uint64_t other = 0; other <= size; ++other) {
        ASSERT_EQ(refused(leaf, other, tree, proof), other != index) << index << " " << other;
      }
      for (size_t i = 0; i < proof.size(); ++i) {
        MerkleProof changed = proof;
        changed[i][31] ^= 128;
        ASSERT_TRUE(refused(leaf, index, tree, changed));
        changed = proof;
        changed.erase(changed.begin() + static_cast<int64_t>(i));
        ASSERT_TRUE(refused(leaf, index, tree, changed));
      }
      MerkleProof longer = proof;
      longer.push_back({});
      ASSERT_TRUE(refused(leaf, index, tree, longer));
      ASSERT_TRUE(refused(leaf, index, {size, EmptyTreeRoot()}, proof));
    }
  }
}

TEST(MerkleTest, ConsistencyProofsOfAnythingElseAreRefused) {
  MemoryLog log = LogOf(kSizes), other;
  for (uint64_t i = 0; i < kSizes; ++i) other.Append(LeafHash(AsBytes("other")));
  for (uint64_t size = 1; size <= kSizes; ++size) {
    for (uint64_t old = 1; old <= size; ++old) {
      const MerkleProof proof = ConsistencyProof(old, size, log).value();
      const auto refused = [&](const TreeRootOf& a, const TreeRootOf& b, const MerkleProof& p) {
        return !VerifyConsistency(a, b, p).ok();
      };
      const TreeRootOf before = log.Tree(old), after = log.Tree(size);
      ASSERT_TRUE(refused(other.Tree(old), after, proof)) << old << " to " << size;
      ASSERT_TRUE(refused(before, other.Tree(size), proof)) << old << " to " << size;
      ASSERT_TRUE(refused(before, other.Tree(size), ConsistencyProof(old, size, other).value()));
      for (size_t i = 0; i < proof.size(); ++i) {
        MerkleProof changed = proof;
        changed[i][0] ^= 1;
        ASSERT_TRUE(refused(before, after, changed));
        changed = proof;
        changed.erase(changed.begin() + static_cast<int64_t>(i));
        ASSERT_TRUE(refused(before, after, changed));
      }
      MerkleProof longer = proof;
      longer.push_back({});
      ASSERT_TRUE(refused(before, after, longer));
      if (old < size) {
        EXPECT_TRUE(absl::IsFailedPrecondition(VerifyConsistency(after, before, proof)));
      }
    }
  }
}

// A node can not be passed off as a leaf: they are hashed with different prefixes.
TEST(MerkleTest, ANodeIsNoLeaf) {
  MemoryLog log = LogOf(2);
  const Hash256 left = LeafHash(AsBytes(EntryText(0))), right = LeafHash(AsBytes(EntryText(1)));
  const std::string both = Text(left) + Text(right);
  EXPECT_NE(LeafHash(AsBytes(both)), log.Tree(2).root);
  EXPECT_FALSE(VerifyInclusion(LeafHash(AsBytes(both)), 0, {1, log.Tree(2).root}, {}).ok());
}

// Far beyond the sizes above, at sizes drawn at random.
TEST(MerkleTest, ProofsVerifyAtAnySize) {
  SeededRandom random("merkle", 1);
  MemoryLog log = LogOf(5000);
  for (int i = 0; i < 2000; ++i) {
    const uint64_t size = 1 + random.UniformUint64(5000);
    const uint64_t index = random.UniformUint64(size), old = random.UniformUint64(size + 1);
    const TreeRootOf tree = log.Tree(size);
    const MerkleProof inclusion = InclusionProof(index, size, log).value();
    ASSERT_TRUE(VerifyInclusion(LeafHash(AsBytes(EntryText(index))), index, tree, inclusion).ok());
    const MerkleProof consistency = ConsistencyProof(old, size, log).value();
    ASSERT_TRUE(VerifyConsistency(log.Tree(old), tree, consistency).ok()) << old << " " << size;
  }
}

// What a coordinator does for an append or a proof grows with the logarithm of the log only.
TEST(MerkleTest, WorkIsLogarithmic) {
  MemoryLog log;
  size_t stored = 0;
  for (uint64_t i = 0; i < 1 << 14; ++i) {
    log.reads = 0;
    const size_t nodes = log.Append(LeafHash(AsBytes(EntryText(i))));
    stored += nodes;
    ASSERT_LE(nodes, 15u);
    ASSERT_EQ(log.reads, static_cast<int>(nodes) - 1);
  }
  EXPECT_LT(stored, size_t{2} << 14);
  for (const uint64_t size : {16383, 16384, 10923}) {
    for (uint64_t index = 0; index < size; index += 97) {
      log.reads = 0;
      InclusionProof(index, size, log).value();
      ASSERT_LE(log.reads, 2 * 14);
      log.reads = 0;
      ConsistencyProof(index + 1, size, log).value();
      ASSERT_LE(log.reads, 2 * 14);
    }
  }
}

TEST(MerkleTest, RefusesSizesThatNoLogReaches) {
  EXPECT_FALSE(VerifyInclusion({}, 0, {UINT64_MAX, {}}, {}).ok());
  EXPECT_FALSE(VerifyConsistency({1, {}}, {UINT64_MAX, {}}, MerkleProof(63)).ok());
  EXPECT_FALSE(VerifyInclusion({}, 0, {0, {}}, {}).ok());
}

}  // namespace
}  // namespace lorikeet
