// One case a run: ctgrind_cases NAME, under valgrind's memcheck.
//
// Secrets are marked undefined; memcheck reports every branch and every address that depends on
// them, and what it reports is a leak through time.  Results that are being published are marked
// defined again.  Without arguments it lists the cases.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/crypto/aead.h"
#include "common/crypto/hkdf.h"
#include "common/crypto/key_exchange.h"
#include "common/crypto/sign.h"
#include "common/secagg/derive.h"
#include "common/secagg/masked_update.h"
#include "common/secagg/masks.h"
#include "common/secagg/shamir.h"
#include "common/tokens/voprf.h"

#ifdef LORIKEET_MEMCHECK
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_UNDEFINED(address, size) (void)(address), (void)(size)
#define VALGRIND_MAKE_MEM_DEFINED(address, size) (void)(address), (void)(size)
#endif

namespace lorikeet {
namespace {

const SecretAccess kAccess("constant-time test");

template <typename Range>
void Hide(Range&& bytes) {
  VALGRIND_MAKE_MEM_UNDEFINED(std::data(bytes), std::size(bytes) * sizeof(*std::data(bytes)));
}
template <typename Range>
void Publish(Range&& bytes) {
  VALGRIND_MAKE_MEM_DEFINED(std::data(bytes), std::size(bytes) * sizeof(*std::data(bytes)));
}

// All that it gives is secret.
class HiddenRandom final : public RandomSource {
 public:
  void Fill(std::span<uint8_t> out) override {
    random_.Fill(out);
    Hide(out);
  }

 private:
  SeededRandom random_{"hidden", 1};
};

SecretBytes Hidden(size_t size) {
  HiddenRandom random;
  return SecretBytes::Random(size, &random);
}

void SplitShares() {
  HiddenRandom random;
  std::vector<uint64_t> points;
  for (uint64_t i = 0; i < 40; ++i) points.push_back(3 * i + 1);
  SecretBytes shares = SplitSecret(Hidden(kSharedSecretBytes), 17, points, &random);
  // Enough of them, published, give the secret: nothing was computed on undefined ground.
  Publish(shares.OpenMutable(kAccess));
  std::vector<PointShare> revealed;
  for (size_t i = 0; i < points.size(); ++i) {
    const auto bytes = shares.Open(kAccess).subspan(i * kShareBytes, kShareBytes);
    revealed.push_back({.point = points[i], .share = DecodeShare(bytes).value()});
  }
  LORIKEET_CHECK(RecoverFromAll(revealed, 17, [](const SecretBytes&) { return true; }).has_value());
}

void AddAndPackMasks() {
  for (const MaskEngine engine : MaskEngines()) {
    for (const int bits : {16, 25}) {
      std::vector<Mask> masks;
      for (int i = 0; i < 4; ++i) masks.push_back({.key = Hidden(32), .subtract = i % 2 == 1});
      std::vector<uint32_t> words(5000, 1);
      Hide(words);
      AddMasksWith(engine, masks, bits, words);
      (void)PackBits(words, bits);
    }
  }
}

void SealAndOpenBoxes() {
  HiddenRandom random;
  SeededRandom nonces("nonces", 1);
  const SecretBytes key = Hidden(kAeadKeyBytes), plain = Hidden(kBoxPlainBytes);
  const std::vector<uint8_t> context = BoxContext({}, 1, 2);
  const std::vector<uint8_t> sealed = AeadSeal(key, plain.Open(kAccess), context, &nonces);
  (void)AeadOpen(key, sealed, context);
}

void AgreeAndDerive() {
  SeededRandom peer_random("peer", 1);
  const X25519PublicKey peer = KeyExchangeKey::Generate(&peer_random).public_key();
  HiddenRandom random;
  const KeyExchangeKey key = KeyExchangeKey::Generate(&random);
  const absl::StatusOr<SecretBytes> shared = key.Agree(peer);
  LORIKEET_CHECK(shared.ok());
  (void)PairMaskKey({}, 1, 2, *shared);
  (void)BoxKey({}, 1, 2, *shared);
  const SecretBytes seed = Hidden(kSharedSecretBytes);
  (void)SelfMaskKey({}, 1, seed);
  (void)SeedCommitment({}, 1, seed);
}

void SignStatement() {
  HiddenRandom random;
  (void)SigningKey::Generate(&random).Sign("label", std::vector<uint8_t>(100));
}

// The device: a secret blind, on its way out and back.
void BlindAndUnblindToken() {
  const std::vector<uint8_t> input(96, 7);
  HiddenRandom random;
  const auto blinded = VoprfBlind(input, &random);
  LORIKEET_CHECK(blinded.ok());
  SeededRandom public_random("evaluated", 1);
  const auto evaluated = VoprfBlind(input, &public_random);  // some element
  LORIKEET_CHECK(VoprfFinalize(input, blinded->blind, evaluated->element).ok());
}

// The issuer and the redeemer: a secret key.
void EvaluateToken() {
  const auto key = VoprfKey::Derive(Hidden(kVoprfSeedBytes), std::vector<uint8_t>(8, 1));
  LORIKEET_CHECK(key.ok());
  const std::vector<uint8_t> input(96, 7);
  SeededRandom public_random("blinds", 1);
  const std::vector<GroupElement> blinded = {VoprfBlind(input, &public_random)->element,
                                             VoprfBlind(input, &public_random)->element};
  HiddenRandom random;
  LORIKEET_CHECK(VoprfBlindEvaluate(*key, blinded, &random).ok());
  const auto output = VoprfEvaluate(*key, input);
  LORIKEET_CHECK(output.ok());
  (void)SameOutput(*output, *output);
}

volatile uint8_t sink;

// Two leaks that must be found; else this test proves nothing.
void PlantedBranch() {
  const SecretBytes secret = Hidden(32);
  if (secret.Open(kAccess)[7] == 42) sink = 1;
}

void PlantedAddress() {
  static const std::vector<uint8_t> table(256, 3);
  const SecretBytes secret = Hidden(32);
  sink = table[secret.Open(kAccess)[7]];
}

// Add a case here; names that begin with "planted" must fail, all others must pass.
const std::map<std::string_view, void (*)()> kCases = {
    {"agree-and-derive", AgreeAndDerive}, {"masks", AddAndPackMasks},
    {"planted-address", PlantedAddress},  {"planted-branch", PlantedBranch},
    {"seal-and-open", SealAndOpenBoxes},  {"sign", SignStatement},
    {"split-shares", SplitShares},        {"tokens-blind", BlindAndUnblindToken},
    {"tokens-evaluate", EvaluateToken},
};

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  lorikeet::InitSodium();
  if (argc != 2) {
    for (const auto& [name, run] : lorikeet::kCases) std::puts(std::string(name).c_str());
    return 0;
  }
  const auto found = lorikeet::kCases.find(argv[1]);
  if (found == lorikeet::kCases.end()) {
    std::fprintf(stderr, "expected one of the cases, got %s\n", argv[1]);
    return 2;
  }
  found->second();
  return 0;
}
