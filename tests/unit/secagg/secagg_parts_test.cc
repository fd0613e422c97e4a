#include <set>

#include "common/secagg/derive.h"
#include "common/secagg/field.h"
#include "common/secagg/graph.h"
#include "common/secagg/masked_update.h"
#include "common/secagg/masks.h"
#include "common/secagg/merkle.h"
#include "common/secagg/reed_solomon.h"
#include "common/secagg/shamir.h"
#include "gtest/gtest.h"

namespace lorikeet {
namespace {

TEST(FieldTest, AgreesWithWideArithmetic) {
  Rng rng(1);
  __extension__ using Uint128 = unsigned __int128;
  std::vector<uint64_t> values = {0, 1, 2, field::kPrime - 1, field::kPrime - 2, uint64_t{1} << 60};
  for (int i = 0; i < 50; ++i) values.push_back(rng.Below(field::kPrime));
  for (uint64_t a : values) {
    if (a != 0) {
      EXPECT_EQ(field::Multiply(a, field::Invert(a)), 1u);
    }
    for (uint64_t b : values) {
      EXPECT_EQ(field::Multiply(a, b),
                static_cast<uint64_t>(static_cast<Uint128>(a) * b % field::kPrime));
      EXPECT_EQ(field::Add(a, b), (a + b) % field::kPrime);
      EXPECT_EQ(field::Subtract(a, b), (a + field::kPrime - b) % field::kPrime);
    }
  }
}

TEST(ReedSolomonTest, CorrectsUpToHalfTheRedundancy) {
  Rng rng(2);
  for (int trial = 0; trial < 50; ++trial) {
    const int n = 4 + static_cast<int>(rng.Below(30)),
              dimension = 1 + static_cast<int>(rng.Below(n - 1));
    Polynomial polynomial(dimension);
    for (uint64_t& c : polynomial) c = rng.Below(field::kPrime);
    polynomial.back() = 1 + rng.Below(field::kPrime - 1);
    std::vector<uint64_t> points, values;
    for (int i = 0; i < n; ++i) {
      points.push_back(i + 1);
      values.push_back(EvaluatePolynomial(polynomial, i + 1));
    }
    const int errors = (n - dimension) / 2;
    for (int e = 0; e < errors; ++e) values[(7 * e + trial) % n] = rng.Below(field::kPrime);
    const auto decoded = DecodeReedSolomon(points, values, dimension);
    ASSERT_TRUE(decoded.has_value()) << n << " " << dimension;
    EXPECT_EQ(*decoded, polynomial);
  }
}

class ShamirTest : public testing::Test {
 protected:
  std::vector<PointShare> Split(const SecretBytes& secret, int threshold, int holders) {
    std::vector<uint64_t> points;
    for (int i = 0; i < holders; ++i) points.push_back(3 * i + 1);
    const SecretBytes shares = SplitSecret(secret, threshold, points, &random_);
    std::vector<PointShare> result;
    for (int i = 0; i < holders; ++i) {
      const auto bytes = shares.Open(SecretAccess("test")).subspan(i * kShareBytes, kShareBytes);
      result.push_back({points[i], DecodeShare(bytes).value()});
    }
    return result;
  }
  auto Check(const SecretBytes& secret) {
    return [&secret](const SecretBytes& candidate) { return secret.ConstantTimeEquals(candidate); };
  }
  SeededRandom random_{"shamir", 1};
};

TEST_F(ShamirTest, AnyThresholdSharesRecoverMoreThan255HoldersToo) {
  for (const auto& [threshold, holders] : {std::pair{1, 1}, {2, 3}, {5, 5}, {17, 40}, {200, 300}}) {
    const SecretBytes secret = SecretBytes::Random(32, &random_);
    std::vector<PointShare> shares = Split(secret, threshold, holders);
    std::reverse(shares.begin(), shares.end());
    shares.resize(threshold);
    const auto recovered = RecoverSecret(shares, threshold, Check(secret));
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    EXPECT_TRUE(recovered->secret.ConstantTimeEquals(secret));
    EXPECT_TRUE(recovered->wrong_points.empty());
  }
}

// One share less than the threshold fits every secret: the polynomials have their full degree.
TEST_F(ShamirTest, OneShareLessThanTheThresholdIsNotTheSecret) {
  for (const auto& [threshold, holders] : {std::pair{2, 3}, {3, 4}, {5, 5}, {17, 40}}) {
    const SecretBytes secret = SecretBytes::Random(32, &random_);
    std::vector<PointShare> shares = Split(secret, threshold, holders);
    for (int first = 0; first + threshold <= holders + 1; ++first) {
      const auto fewer =
          std::span(shares).subspan(static_cast<size_t>(first), static_cast<size_t>(threshold - 1));
      EXPECT_FALSE(RecoverFromAll(fewer, threshold - 1, Check(secret)).has_value())
          << threshold << " of " << holders << ", from " << first;
    }
    EXPECT_TRUE(RecoverFromAll(shares, threshold, Check(secret)).has_value());
    EXPECT_FALSE(holders > threshold &&
                 RecoverFromAll(shares, threshold - 1, Check(secret)).has_value());
  }
}

TEST_F(ShamirTest, SharesOfExtremeSecretsRoundTrip) {
  for (uint8_t byte : {0x00, 0xff}) {
    SecretBytes secret(32);
    for (uint8_t& b : secret.OpenMutable(SecretAccess("test"))) b = byte;
    EXPECT_TRUE(RecoverSecret(Split(secret, 3, 5), 3, Check(secret)).ok());
  }
}

TEST_F(ShamirTest, NamesWrongSharesAndGoesOn) {
  const SecretBytes secret = SecretBytes::Random(32, &random_);
  for (int wrong = 0; wrong <= 4;
       ++wrong) {  // six holders over the threshold: decoding to 3, search beyond
    std::vector<PointShare> shares = Split(secret, 4, 8);
    std::vector<uint64_t> expected;
    for (int i = 0; i < wrong; ++i) {
      shares[2 * i].share[i % kShareLimbs] ^= 1;
      expected.push_back(shares[2 * i].point);
    }
    const auto recovered = RecoverSecret(shares, 4, Check(secret));
    ASSERT_TRUE(recovered.ok()) << wrong << ": " << recovered.status();
    EXPECT_TRUE(recovered->secret.ConstantTimeEquals(secret));
    EXPECT_EQ(recovered->wrong_points, expected);
  }
}

TEST_F(ShamirTest, FailsCleanlyWithTooFewGoodShares) {
  const SecretBytes secret = SecretBytes::Random(32, &random_);
  std::vector<PointShare> shares = Split(secret, 4, 6);
  for (int i = 0; i < 3; ++i) shares[i].share[0] ^= 1;
  EXPECT_EQ(RecoverSecret(shares, 4, Check(secret)).status().code(), absl::StatusCode::kDataLoss);
  shares.resize(3);
  EXPECT_EQ(RecoverSecret(shares, 4, Check(secret)).status().code(),
            absl::StatusCode::kInvalidArgument);
  shares.push_back(shares[0]);
  EXPECT_EQ(RecoverSecret(shares, 4, Check(secret)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ShamirTest, EncodingRoundTripsAndRejectsOtherLengthsAndValues) {
  std::vector<uint8_t> bytes(kShareBytes);
  for (size_t i = 0; i < kShareBytes; ++i) bytes[i] = static_cast<uint8_t>(i % 8 == 7 ? 0x1e : i);
  const ShamirShare share = DecodeShare(bytes).value();
  EXPECT_EQ(share[0], 0x1e06050403020100u);
  EXPECT_EQ(share[4], 0x1e26252423222120u);
  for (size_t size : {size_t{0}, kShareBytes - 1, kShareBytes + 1}) {
    EXPECT_FALSE(DecodeShare(std::vector<uint8_t>(size)).ok());
  }
  bytes[7] = 0xff;
  EXPECT_FALSE(DecodeShare(bytes).ok());
}

TEST(MerkleTest, ProofsHoldForTheirLeafOnly) {
  for (uint64_t n = 1; n <= 20; ++n) {
    std::vector<Hash256> leaves(n);
    for (uint64_t i = 0; i < n; ++i) leaves[i][0] = static_cast<uint8_t>(i + 1);
    const MerkleTree tree(leaves);
    for (uint64_t i = 0; i < n; ++i) {
      const auto proof = tree.Proof(i);
      EXPECT_TRUE(VerifyMerkleProof(tree.root(), n, i, leaves[i], proof));
      for (uint64_t j = 0; j < n; ++j) {
        if (j != i) {
          EXPECT_FALSE(VerifyMerkleProof(tree.root(), n, j, leaves[i], proof));
        }
      }
      EXPECT_FALSE(VerifyMerkleProof(tree.root(), n + 1, i, leaves[i], proof));
      if (!proof.empty()) {
        auto other = proof;
        other.pop_back();
        EXPECT_FALSE(VerifyMerkleProof(tree.root(), n, i, leaves[i], other));
        other = proof;
        other.back()[5] ^= 1;
        EXPECT_FALSE(VerifyMerkleProof(tree.root(), n, i, leaves[i], other));
      }
    }
  }
}

// Each of the three is bound twice: by the key and by what the seal covers.
TEST(DeriveTest, SealsCoverSessionAndDirection) {
  const SessionId one = Blake2b({}), other = Hasher().Update("other").Finish();
  std::set<std::vector<uint8_t>> contexts;
  for (const SessionId& session : {one, other}) {
    for (const auto& [sender, recipient] : {std::pair(1, 2), {2, 1}, {1, 3}, {3, 2}}) {
      EXPECT_TRUE(contexts
                      .insert(BoxContext(session, static_cast<ClientIndex>(sender),
                                         static_cast<ClientIndex>(recipient)))
                      .second);
    }
  }
  const SecretBytes shared(32);
  const auto key = [&shared](const SessionId& session, ClientIndex low, ClientIndex high) {
    const SecretBytes bytes = BoxKey(session, low, high, shared);
    const auto open = bytes.Open(SecretAccess("compare keys"));
    return std::vector<uint8_t>(open.begin(), open.end());
  };
  EXPECT_EQ(key(one, 1, 2), key(one, 2, 1));
  EXPECT_NE(key(one, 1, 2), key(one, 1, 3));
  EXPECT_NE(key(one, 1, 2), key(other, 1, 2));
}

TEST(SessionGraphTest, RegularSymmetricConnectedAndSeededByTheRoot) {
  const SessionId session = {1};
  for (const auto& [n, degree] : {std::pair{50u, 6}, {101u, 20}, {22u, 20}}) {
    const SessionGraph graph(session, Hash256{2}, n, degree);
    EXPECT_FALSE(graph.complete());
    EXPECT_EQ(graph.holder_count(), degree);
    std::set<ClientIndex> reached = {0};
    std::vector<ClientIndex> queue = {0};
    while (!queue.empty()) {
      const ClientIndex client = queue.back();
      queue.pop_back();
      for (ClientIndex other : graph.Neighbours(client)) {
        if (reached.insert(other).second) queue.push_back(other);
      }
    }
    EXPECT_EQ(reached.size(), n);
    for (ClientIndex client = 0; client < n; ++client) {
      const auto neighbours = graph.Neighbours(client);
      EXPECT_EQ(std::set(neighbours.begin(), neighbours.end()).size(), static_cast<size_t>(degree));
      for (ClientIndex other : neighbours) {
        const auto back = graph.Neighbours(other);
        EXPECT_TRUE(std::binary_search(back.begin(), back.end(), client));
        EXPECT_NE(other, client);
      }
    }
    EXPECT_NE(graph.Neighbours(0), SessionGraph(session, Hash256{3}, n, degree).Neighbours(0));
  }
  EXPECT_TRUE(SessionGraph(session, Hash256{2}, 21, 20).complete());
  EXPECT_EQ(SessionGraph(session, Hash256{2}, 5, 0).Holders(2),
            (std::vector<ClientIndex>{0, 1, 2, 3, 4}));
}

TEST(PackBitsTest, RoundTripsEveryWidth) {
  Rng rng(3);
  for (int bits = 1; bits <= 32; ++bits) {
    for (size_t count : {0, 1, 7, 8, 33}) {
      std::vector<uint32_t> words(count);
      for (uint32_t& word : words) word = static_cast<uint32_t>(rng.Next()) >> (32 - bits);
      const auto packed = PackBits(words, bits);
      EXPECT_EQ(packed.size(), (count * bits + 7) / 8);
      std::vector<uint32_t> sum(count, 1);
      AddPackedBits(packed, bits, sum);
      for (uint32_t& word : sum) --word;
      EXPECT_EQ(sum, words);
    }
  }
  EXPECT_EQ(PackBits(std::vector<uint32_t>{0xabc, 0x123}, 12),
            (std::vector<uint8_t>{0xbc, 0x3a, 0x12}));
}

TEST(MasksTest, AddThenSubtractIsNothingAndWordsAreSpread) {
  SeededRandom random("masks", 1);
  for (int bits : {8, 16, 17, 32}) {
    std::vector<Mask> masks;
    for (int i = 0; i < 3; ++i)
      masks.push_back({.key = SecretBytes::Random(32, &random), .subtract = i == 1});
    std::vector<uint32_t> words(5000, 5);
    AddMasks(masks, bits, words);
    std::set<uint32_t> seen(words.begin(), words.end());
    EXPECT_GT(seen.size(),
              bits == 8 ? 250u : 4000u);  // 5000 draws of 2^16 leave 4800 different ones
    EXPECT_LE(*seen.rbegin(), ~uint32_t{0} >> (32 - bits));
    for (Mask& mask : masks) mask.subtract = !mask.subtract;
    AddMasks(masks, bits, words);
    EXPECT_EQ(words, std::vector<uint32_t>(5000, 5));
  }
}

// Every engine gives libsodium's stream, at every length and with any number of threads.
TEST(MasksTest, EnginesAgreeWithLibsodium) {
  SeededRandom random("engines", 1);
  ThreadPool pool(3);
  std::vector<Mask> masks;
  for (int i = 0; i < 5; ++i)
    masks.push_back({.key = SecretBytes::Random(32, &random), .subtract = i % 3 == 1});
  EXPECT_EQ(MaskEngines().front(), MaskEngine::kLibsodium);
  for (const size_t size : {size_t{1}, size_t{1023}, size_t{1024}, size_t{2049}, size_t{70001}}) {
    for (const int bits : {8, 16, 17, 25, 32}) {
      const std::vector<uint32_t> before(size, 3);
      std::vector<uint32_t> expected = before;
      AddMasksWith(MaskEngine::kLibsodium, masks, bits, expected);
      for (const MaskEngine engine : MaskEngines()) {
        for (ThreadPool* threads : {static_cast<ThreadPool*>(nullptr), &pool}) {
          std::vector<uint32_t> words = before;
          AddMasksWith(engine, masks, bits, words, threads);
          EXPECT_EQ(words, expected) << static_cast<int>(engine) << " " << size << " " << bits;
        }
      }
    }
  }
}

// The stream is ChaCha20 as RFC 8439 has it: appendix A.1, test vectors 1 and 2 (key and nonce
// zero, blocks 0 and 1).
TEST(MasksTest, StreamIsThatOfTheRfc) {
  const std::array<uint8_t, 8> block0 = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90};
  const std::array<uint8_t, 8> block1 = {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a};
  for (const MaskEngine engine : MaskEngines()) {
    std::vector<Mask> masks(1);
    masks[0].key = SecretBytes(32);
    std::vector<uint32_t> words(32, 0);
    AddMasksWith(engine, masks, 32, words);
    const auto* bytes = reinterpret_cast<const uint8_t*>(words.data());
    EXPECT_TRUE(std::equal(block0.begin(), block0.end(), bytes));
    EXPECT_TRUE(std::equal(block1.begin(), block1.end(), bytes + 64));
  }
}

}  // namespace
}  // namespace lorikeet
