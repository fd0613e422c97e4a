// Attacks that repeat, mix or compare: a round run again with a subset, replays, other bases, keys
// and masks used twice, weak masks, sizes that tell something.
#include <bit>
#include <cmath>

#include "absl/strings/match.h"
#include "common/secagg/derive.h"
#include "common/secagg/masks.h"
#include "common/secagg/merkle.h"
#include "gtest/gtest.h"
#include "tests/unit/secagg/lying_server.h"

namespace lorikeet {
namespace {

constexpr int kClients = 6;

SecAggParameters Parameters(std::string_view session) {
  return {.session = SessionNamed(session),
          .cohort_min = 4,
          .cohort_max = kClients,
          .degree = 0,
          .threshold = 4,
          .dimension = 8,
          .modulus_bits = 20};
}

std::vector<std::set<ClientIndex>> ToldAlike(const std::set<ClientIndex>& dropped) {
  return std::vector<std::set<ClientIndex>>(kClients, dropped);
}

// 4. The server has everybody's masked input and the sum of all.  It runs the end of the round
// again as if one had dropped out: the difference would be that one's input.
TEST(DifferencingTest, NobodySignsASecondStatement) {
  LyingServer server(Parameters("differencing"), kClients);
  server.Play(ToldAlike({}), kClients);
  EXPECT_EQ(server.answers(), kClients);
  for (ClientIndex i = 0; i < kClients; ++i) {
    const auto again = server.client(i).Acknowledge(server.ListsFor(i, {2}, kClients - 1));
    EXPECT_EQ(again.status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(server.client(i).Unmask({}).status().code(), absl::StatusCode::kFailedPrecondition);
  }
  EXPECT_FALSE(server.AnyClientExposed());
}

// Before anybody answered: two lists for everybody, the second after the first was signed.
TEST(DifferencingTest, SecondListsAreRefusedBeforeTheAnswerToo) {
  LyingServer server(Parameters("two lists"), kClients);
  for (ClientIndex i = 0; i < kClients; ++i) {
    ASSERT_TRUE(server.client(i).Acknowledge(server.ListsFor(i, {}, kClients)).ok());
    EXPECT_EQ(server.client(i).Acknowledge(server.ListsFor(i, {2}, kClients - 1)).status().code(),
              absl::StatusCode::kFailedPrecondition);
  }
}

// A subset below n_min is not even signed; one of n_min or more gives that sum and no other.
TEST(DifferencingTest, TheMinimumBindsAndOnlyOneSumExists) {
  LyingServer below(Parameters("below"), kClients);
  below.Play(ToldAlike({0, 1, 2}), 3);
  EXPECT_EQ(below.signers(), 0);
  EXPECT_EQ(below.answers(), 0);
  LyingServer subset(Parameters("subset"), kClients);
  subset.Play(ToldAlike({2}), kClients - 1);
  EXPECT_EQ(subset.answers(), kClients - 1);  // all but the one that was told it is gone: see R3
  EXPECT_FALSE(subset.AnyClientExposed());
}

// No step of a client can be had twice, so no keys and no masks serve for two inputs (8).
TEST(ReuseTest, EveryStepHappensOnce) {
  const SecAggParameters p = Parameters("once");
  SeededRandom random("once", 1);
  const auto client = SecAggClient::Create(p, &random).value();
  ASSERT_TRUE(client->AdvertiseKeys().ok());
  EXPECT_EQ(client->AdvertiseKeys().status().code(), absl::StatusCode::kFailedPrecondition);
  LyingServer server(p, kClients);
  const EncodedDelta input = RandomInput(p.dimension, p.modulus_bits, 5);
  for (ClientIndex i = 0; i < kClients; ++i) {
    EXPECT_EQ(server.client(i).AdvertiseKeys().status().code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(server.client(i).ShareKeys({}).status().code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(server.client(i).MaskInput({}, input).status().code(),
              absl::StatusCode::kFailedPrecondition);
  }
}

// 8. Two sessions, the same client randomness: even then no masks agree, since all are bound to the
// session.  The difference of two masked inputs tells nothing.
TEST(ReuseTest, MasksAreBoundToTheSession) {
  LyingServer one(Parameters("one"), kClients, 7), two(Parameters("two"), kClients, 7);
  for (ClientIndex i = 0; i < kClients; ++i) {
    for (ClientIndex j = 0; j < kClients; ++j)
      EXPECT_NE(one.update(i).packed, two.update(j).packed);
  }
  SeededRandom random("keys", 1);
  const SecretBytes shared = SecretBytes::Random(32, &random);
  const SessionId session = SessionNamed("one"), other = SessionNamed("two");
  const SecretBytes key = PairMaskKey(session, 1, 2, shared);
  EXPECT_TRUE(key.ConstantTimeEquals(PairMaskKey(session, 2, 1, shared)));
  EXPECT_FALSE(key.ConstantTimeEquals(PairMaskKey(other, 1, 2, shared)));
  EXPECT_FALSE(key.ConstantTimeEquals(PairMaskKey(session, 1, 3, shared)));
  EXPECT_FALSE(key.ConstantTimeEquals(BoxKey(session, 1, 2, shared)));
  EXPECT_FALSE(key.ConstantTimeEquals(SelfMaskKey(session, 1, shared)));
}

// 8. A server that lists one client's keys for two clients, under a root of its own.
TEST(ReuseTest, AListWithAKeyTwiceIsRefused) {
  const SecAggParameters p = Parameters("twice");
  std::vector<std::unique_ptr<SeededRandom>> randoms;
  std::vector<std::unique_ptr<SecAggClient>> clients;
  std::vector<KeyAdvertisement> list;
  for (int i = 0; i < kClients - 1; ++i) {
    randoms.push_back(std::make_unique<SeededRandom>("twice", i));
    clients.push_back(SecAggClient::Create(p, randoms.back().get()).value());
    list.push_back(clients.back()->AdvertiseKeys().value());
  }
  KeyAdvertisement copy = list[2];
  copy.signing_key[0] ^= 1;  // a different leaf
  list.push_back(copy);
  std::vector<Hash256> leaves;
  for (const KeyAdvertisement& keys : list) leaves.push_back(AdvertisementHash(keys));
  const MerkleTree tree(leaves);
  for (ClientIndex i = 0; i < clients.size(); ++i) {
    KeyDirectory directory{.session = p.session,
                           .client_count = kClients,
                           .root = tree.root(),
                           .own_index = i,
                           .own_proof = tree.Proof(i),
                           .neighbours = {}};
    for (ClientIndex j = 0; j < kClients; ++j) {
      if (j != i)
        directory.neighbours.push_back({.index = j, .keys = list[j], .proof = tree.Proof(j)});
    }
    const absl::Status status = clients[i]->ShareKeys(directory).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kAborted);
    EXPECT_TRUE(absl::StrContains(status.message(), "repeats a key")) << status;
  }
}

// 6. Devices of another base or catalog are in another session, since its id is a hash of the
// description.  A server that rewrites the ids on the way is noticed: leaves are bound to them.
TEST(OtherBaseTest, DescriptionsThatDifferDoNotMix) {
  const SecAggParameters ours = Parameters("base A"), theirs = Parameters("base B");
  SeededRandom random("bases", 1);
  auto server = SecAggServer::Create(ours).value();
  std::vector<std::unique_ptr<SecAggClient>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(SecAggClient::Create(i == 0 ? theirs : ours, &random).value());
    KeyAdvertisement keys = clients.back()->AdvertiseKeys().value();
    if (i == 0) {
      EXPECT_EQ(server->AddAdvertisement(keys).status().code(), absl::StatusCode::kInvalidArgument);
      keys.session = ours.session;  // the server's lie
    }
    ASSERT_TRUE(server->AddAdvertisement(keys).ok());
  }
  ASSERT_TRUE(server->CloseAdvertise().ok());
  KeyDirectory directory = server->DirectoryFor(0).value();
  directory.session = theirs.session;
  for (NeighbourKeys& neighbour : directory.neighbours) neighbour.keys.session = theirs.session;
  EXPECT_EQ(clients[0]->ShareKeys(directory).status().code(), absl::StatusCode::kAborted);
  // The others go on without it.
  for (int i = 1; i < kClients; ++i) {
    const auto message = clients[i]->ShareKeys(server->DirectoryFor(i).value());
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_TRUE(server->AddShareKeys(*message).ok());
  }
  EXPECT_TRUE(server->CloseShare().ok());
}

// 7. Whatever a server is sent early, late, from another session, by a stranger, cut off or too
// long, it names and forgets, and the sum is exact.
class ReplayTest : public testing::Test {
 protected:
  void SetUp() override {
    SessionOptions before{.parameters = Parameters("before"), .steps = {}};
    before.steps.assign(kClients, 5);
    before.on_shares = [&](ShareKeysMessage* message) { old_shares_ = *message; };
    before.on_acknowledgements = [&](AcknowledgementSet* set, ClientIndex) {
      old_acknowledgement_ = set->acknowledgements[0];
    };
    before.on_response = [&](UnmaskResponse* message) { old_response_ = *message; };
    ASSERT_TRUE(RunSession(before).sum.ok());
  }
  // Messages of every later step, of another session, of a stranger: none is for this step.
  void SendMisplaced(SecAggServer* server, absl::StatusCode of_another_step) {
    const SecAggParameters p = Parameters("now");
    EXPECT_EQ(server->AddShareKeys(old_shares_).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(server->AddAcknowledgement(old_acknowledgement_).code(),
              absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(server->AddUnmaskResponse(old_response_).code(), absl::StatusCode::kInvalidArgument);
    MaskedUpdate update{.session = p.session, .sender = 0, .packed = std::vector<uint8_t>(20)};
    EXPECT_EQ(server->AddMaskedUpdate(update).code(), of_another_step);
    update.sender = kClients;  // nobody
    EXPECT_NE(server->AddMaskedUpdate(update).code(), absl::StatusCode::kOk);
    UnmaskResponse response = old_response_;
    response.session = p.session;
    if (server->step() != SecAggStep::kUnmask) {
      EXPECT_NE(server->AddUnmaskResponse(response).code(), absl::StatusCode::kOk);
    }
    Acknowledgement acknowledgement = old_acknowledgement_;
    acknowledgement.session = p.session;
    EXPECT_NE(server->AddAcknowledgement(acknowledgement).code(), absl::StatusCode::kOk);
  }
  ShareKeysMessage old_shares_;
  Acknowledgement old_acknowledgement_;
  UnmaskResponse old_response_;
};

TEST_F(ReplayTest, MisplacedMessagesAreRefusedAndTheRoundUnharmed) {
  const SecAggParameters p = Parameters("now");
  SeededRandom random("now", 3);
  auto server = SecAggServer::Create(p).value();
  std::vector<std::unique_ptr<SecAggClient>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(SecAggClient::Create(p, &random).value());
    KeyAdvertisement keys = clients[i]->AdvertiseKeys().value();
    ASSERT_TRUE(server->AddAdvertisement(keys).ok());
    keys.session = SessionNamed("before");
    EXPECT_EQ(server->AddAdvertisement(keys).status().code(), absl::StatusCode::kInvalidArgument);
  }
  ASSERT_TRUE(server->CloseAdvertise().ok());
  SendMisplaced(server.get(), absl::StatusCode::kFailedPrecondition);
  std::vector<ClientIndex> index;
  for (int i = 0; i < kClients; ++i) {
    index.push_back(server->IndexFor(i).value());
    ASSERT_TRUE(
        server->AddShareKeys(clients[i]->ShareKeys(server->DirectoryFor(i).value()).value()).ok());
  }
  ASSERT_TRUE(server->CloseShare().ok());
  std::vector<uint32_t> expected(p.dimension, 0);
  for (int i = 0; i < kClients; ++i) {
    for (const size_t size : {0, 19, 21, 20000}) {  // cut off, too long
      const MaskedUpdate wrong{
          .session = p.session, .sender = index[i], .packed = std::vector<uint8_t>(size)};
      EXPECT_EQ(server->AddMaskedUpdate(wrong).code(), absl::StatusCode::kInvalidArgument);
    }
    const EncodedDelta input = RandomInput(p.dimension, p.modulus_bits, i);
    for (size_t e = 0; e < expected.size(); ++e)
      expected[e] = (expected[e] + input.words()[e]) & ((1u << p.modulus_bits) - 1);
    const ShareDelivery delivery = server->DeliveryFor(index[i]).value();
    const MaskedUpdate update = clients[i]->MaskInput(delivery, input).value();
    EXPECT_TRUE(server->AddMaskedUpdate(update).ok());
    EXPECT_TRUE(server->AddMaskedUpdate(update).ok());  // a retry, counted once
    EXPECT_EQ(server->arrived(), i + 1);
  }
  ASSERT_TRUE(server->CloseMask().ok());
  SendMisplaced(server.get(),
                absl::StatusCode::kAlreadyExists);  // client 0's other input: too late
  for (int i = 0; i < kClients; ++i) {
    const SurvivorLists lists = server->SurvivorsFor(index[i]).value();
    ASSERT_TRUE(server->AddAcknowledgement(clients[i]->Acknowledge(lists).value()).ok());
  }
  ASSERT_TRUE(server->CloseAcknowledge().ok());
  SendMisplaced(server.get(), absl::StatusCode::kAlreadyExists);
  for (int i = 0; i < kClients; ++i) {
    const AcknowledgementSet set = server->AcknowledgementsFor(index[i]).value();
    ASSERT_TRUE(server->AddUnmaskResponse(clients[i]->Unmask(set).value()).ok());
  }
  const auto sum = server->Finish();
  ASSERT_TRUE(sum.ok()) << sum.status();
  EXPECT_EQ(sum->sum, expected);
  SendMisplaced(server.get(), absl::StatusCode::kAlreadyExists);
}

// A key with which no agreement works is refused at the door: else its neighbours would leave.
TEST(MalformedKeyTest, KeysOfSmallOrderAreNamed) {
  const SecAggParameters p = Parameters("small order");
  SeededRandom random("small order", 1);
  auto server = SecAggServer::Create(p).value();
  KeyAdvertisement keys = SecAggClient::Create(p, &random).value()->AdvertiseKeys().value();
  for (auto* key : {&keys.mask_key, &keys.transport_key}) {
    const X25519PublicKey good = *key;
    *key = {1};
    EXPECT_EQ(server->AddAdvertisement(keys).status().code(), absl::StatusCode::kInvalidArgument);
    *key = good;
  }
  EXPECT_TRUE(server->AddAdvertisement(keys).ok());
}

// 9. Masks use all 256 bits of their keys, and what is sent is uniform.
TEST(WeakMaskTest, EveryBitOfTheKeyMatters) {
  SeededRandom random("weak", 1);
  const SecretBytes key = SecretBytes::Random(32, &random);
  const auto stream = [&](int flipped) {
    std::vector<Mask> masks(1);
    masks[0].key = key.Clone();
    if (flipped >= 0)
      masks[0].key.OpenMutable(SecretAccess("test"))[flipped / 8] ^= 1 << (flipped % 8);
    std::vector<uint32_t> words(64, 0);
    AddMasks(masks, 32, words);
    return words;
  };
  const std::vector<uint32_t> original = stream(-1);
  for (int bit = 0; bit < 256; ++bit) {
    const std::vector<uint32_t> other = stream(bit);
    int differing = 0;
    for (size_t i = 0; i < other.size(); ++i) differing += std::popcount(original[i] ^ other[i]);
    EXPECT_NEAR(differing, 1024, 6.5 * std::sqrt(512.0)) << bit;  // 256 tests: 2e-8 false alarms
  }
}

TEST(WeakMaskTest, MaskedInputsAreUniform) {
  SecAggParameters p = Parameters("uniform");
  p.dimension = 1 << 15;
  p.modulus_bits = 16;
  const LyingServer server(p, kClients);
  for (ClientIndex i = 0; i < kClients; ++i) {
    std::vector<double> counts(256, 0);
    for (const uint8_t byte : server.update(i).packed) ++counts[byte];
    const double expected = static_cast<double>(server.update(i).packed.size()) / 256;
    double chi_squared = 0;
    for (const double count : counts)
      chi_squared += (count - expected) * (count - expected) / expected;
    EXPECT_LT(chi_squared, 255 + 7 * std::sqrt(510.0)) << i;  // below 1e-9 each
    EXPECT_GT(chi_squared, 255 - 7 * std::sqrt(510.0)) << i;
  }
}

// 13. Whatever the inputs are, every message has the same size, and all but the masked input itself
// are the same bytes.
TEST(SizesTest, NoMessageDependsOnTheInput) {
  struct View {
    std::vector<Hash256> messages;
    std::vector<size_t> sizes;
  };
  const auto run = [](bool zeros) {
    View view;
    const SecAggParameters p = Parameters("sizes");
    auto server = SecAggServer::Create(p).value();
    std::vector<std::unique_ptr<SeededRandom>> randoms;
    std::vector<std::unique_ptr<SecAggClient>> clients;
    std::vector<ClientIndex> index;
    for (int i = 0; i < kClients; ++i) {
      randoms.push_back(std::make_unique<SeededRandom>("sizes", i));
      clients.push_back(SecAggClient::Create(p, randoms[i].get()).value());
      (void)server->AddAdvertisement(clients[i]->AdvertiseKeys().value()).value();
    }
    EXPECT_TRUE(server->CloseAdvertise().ok());
    for (int i = 0; i < kClients; ++i) {
      index.push_back(server->IndexFor(i).value());
      const auto message = clients[i]->ShareKeys(server->DirectoryFor(i).value()).value();
      view.messages.push_back(MessageHash(message));
      EXPECT_TRUE(server->AddShareKeys(message).ok());
    }
    EXPECT_TRUE(server->CloseShare().ok());
    for (int i = 0; i < kClients; ++i) {
      const uint32_t word = zeros ? 0 : (1u << p.modulus_bits) - 1;
      const auto input = EncodedDelta::ForTest(std::vector<uint32_t>(p.dimension, word));
      const auto update =
          clients[i]->MaskInput(server->DeliveryFor(index[i]).value(), input).value();
      view.sizes.push_back(update.packed.size());
      EXPECT_TRUE(server->AddMaskedUpdate(update).ok());
    }
    EXPECT_TRUE(server->CloseMask().ok());
    for (int i = 0; i < kClients; ++i) {
      const auto message = clients[i]->Acknowledge(server->SurvivorsFor(index[i]).value()).value();
      view.messages.push_back(MessageHash(message));
      EXPECT_TRUE(server->AddAcknowledgement(message).ok());
    }
    EXPECT_TRUE(server->CloseAcknowledge().ok());
    for (int i = 0; i < kClients; ++i) {
      const auto set = server->AcknowledgementsFor(index[i]).value();
      view.messages.push_back(MessageHash(clients[i]->Unmask(set).value()));
    }
    return view;
  };
  const View one = run(true), other = run(false);
  EXPECT_EQ(one.sizes, other.sizes);
  EXPECT_EQ(one.messages, other.messages);
}

}  // namespace
}  // namespace lorikeet
