// Fuzz target: proofs made of arbitrary bytes.  They never crash the verifiers, and prove nothing
// that is not so.
//
// Input: kind [1] | old size or index [1] | size [1] | 32-byte hashes, the rest is dropped.
#include <algorithm>

#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/transparency/memory_log.h"

namespace lorikeet {
namespace {

constexpr uint64_t kSize = 70;

Hash256 Leaf(uint64_t i) { return LeafHash(AsBytes("entry " + std::to_string(i))); }

// Two logs that part at entry 20.
MemoryLog& Log(bool other) {
  static auto* const logs = [] {
    auto* made = new MemoryLog[2];
    for (uint64_t i = 0; i < kSize; ++i) {
      made[0].Append(Leaf(i));
      made[1].Append(Leaf(i < 20 ? i : i + 1000));
    }
    return made;
  }();
  return logs[other];
}

std::string Input(int kind, uint64_t a, uint64_t b, const MerkleProof& proof) {
  std::string bytes = {static_cast<char>(kind), static_cast<char>(a), static_cast<char>(b)};
  for (const Hash256& hash : proof) bytes += AsChars(hash);
  return bytes;
}

}  // namespace

std::vector<std::string> FuzzSeeds() {
  return {Input(0, 5, 70, InclusionProof(5, 70, Log(false)).value()),
          Input(1, 5, 70, InclusionProof(5, 70, Log(true)).value()),
          Input(2, 33, 70, ConsistencyProof(33, 70, Log(false)).value()),
          Input(3, 33, 70, ConsistencyProof(33, 70, Log(true)).value()),
          Input(3, 16, 64, ConsistencyProof(16, 64, Log(true)).value())};
}

}  // namespace lorikeet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace lorikeet;  // NOLINT: the entry point cannot live in a namespace
  if (size < 3) return 0;
  MerkleProof proof((size - 3) / 32);
  for (size_t i = 0; i < proof.size(); ++i) std::copy_n(data + 3 + 32 * i, 32, proof[i].begin());
  const uint64_t a = data[1] % (kSize + 1), b = data[2] % (kSize + 1);
  const bool other = data[0] % 2 == 1;
  const TreeRootOf tree = Log(other).Tree(b);
  if (data[0] % 4 < 2) {
    // Entry `a` of the first log is in a tree of the other only before they part.
    const bool verified = VerifyInclusion(Leaf(a), a, tree, proof).ok();
    LORIKEET_CHECK(!verified || (a < b && (!other || a < 20) &&
                                 proof == InclusionProof(a, b, Log(other)).value()));
    return 0;
  }
  const bool verified = VerifyConsistency(Log(false).Tree(a), tree, proof).ok();
  LORIKEET_CHECK(!verified || (a <= b && (!other || a <= 20) &&
                               proof == ConsistencyProof(a, b, Log(other)).value()));
  return 0;
}
