// A server, or a client, that lies: every honest device must end in a clean abort and reveal
// nothing.
#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "common/secagg/shamir.h"
#include "gtest/gtest.h"
#include "tests/unit/secagg/session_fixture.h"

namespace lorikeet {
namespace {

constexpr int kClients = 6;

SessionOptions Honest() {
  SessionOptions options;
  options.parameters = {.session = SessionNamed("attacked"),
                        .cohort_min = 4,
                        .cohort_max = kClients,
                        .degree = 0,
                        .threshold = 4,
                        .dimension = 8,
                        .modulus_bits = 20};
  options.steps.assign(kClients, 5);
  return options;
}

int Aborted(const SessionResult& result) {
  return static_cast<int>(std::count_if(
      result.client_status.begin(), result.client_status.end(),
      [](const absl::Status& status) { return status.code() == absl::StatusCode::kAborted; }));
}

// Every client noticed, none answered, no sum.
void ExpectAllAbort(const SessionOptions& options) {
  const SessionResult result = RunSession(options);
  EXPECT_EQ(Aborted(result), kClients);
  EXPECT_EQ(result.responses, 0);
  EXPECT_FALSE(result.sum.ok());
}

TEST(SecAggAttackTest, HonestSessionSucceeds) {
  const SessionResult result = RunSession(Honest());
  ASSERT_TRUE(result.sum.ok());
  EXPECT_EQ(Aborted(result), 0);
}

// 1. The target is told that everyone is alive; half of the others that it dropped out.
TEST(SecAggAttackTest, EquivocationAboutOneTarget) {
  SessionOptions options = Honest();
  options.steps = {5, 5, 5, 5, 5, 5};
  options.on_survivors = [](SurvivorLists* lists, ClientIndex client) {
    if (client == 0 || client > 2) return;
    std::erase(lists->alive, 0u);
    lists->dropped = {0};
  };
  // The server of the fixture refuses those two acknowledgements as different from its own lists; a
  // malicious one would pass them on.  Clients 1 and 2 must then not be able to make anyone answer
  // with both kinds of share.
  const SessionResult result = RunSession(options);
  EXPECT_LE(result.responses, kClients - 2);
}

// The same with a server that forwards the contradicting statements: everyone who sees one aborts.
TEST(SecAggAttackTest, ContradictingStatementsAreNoticed) {
  const SecAggParameters p = Honest().parameters;
  std::vector<std::unique_ptr<SeededRandom>> randoms;
  std::vector<std::unique_ptr<SecAggClient>> clients(kClients);
  auto server = SecAggServer::Create(p).value();
  std::vector<std::unique_ptr<SecAggClient>> by_ticket;
  for (int i = 0; i < kClients; ++i) {
    randoms.push_back(std::make_unique<SeededRandom>("equivocation", i));
    by_ticket.push_back(SecAggClient::Create(p, randoms.back().get()).value());
    ASSERT_EQ(server->AddAdvertisement(by_ticket[i]->AdvertiseKeys().value()).value(),
              static_cast<uint32_t>(i));
  }
  ASSERT_TRUE(server->CloseAdvertise().ok());
  for (int i = 0; i < kClients; ++i) {
    ASSERT_TRUE(
        server->AddShareKeys(by_ticket[i]->ShareKeys(server->DirectoryFor(i).value()).value())
            .ok());
    clients[server->IndexFor(i).value()] = std::move(by_ticket[i]);
  }
  ASSERT_TRUE(server->CloseShare().ok());
  for (ClientIndex i = 0; i < kClients; ++i) {
    const auto message =
        clients[i]->MaskInput(server->DeliveryFor(i).value(), RandomInput(8, 20, i));
    ASSERT_TRUE(server->AddMaskedUpdate(message.value()).ok());
  }
  ASSERT_TRUE(server->CloseMask().ok());
  AcknowledgementSet set{.session = p.session, .acknowledgements = {}};
  for (ClientIndex i = 0; i < kClients; ++i) {
    SurvivorLists lists = server->SurvivorsFor(i).value();
    if (i == 1) {  // one client is told that client 0 is gone
      std::erase(lists.alive, 0u);
      lists.dropped = {0};
    }
    set.acknowledgements.push_back(clients[i]->Acknowledge(lists).value());
  }
  for (auto& client : clients) {
    EXPECT_EQ(client->Unmask(set).status().code(), absl::StatusCode::kAborted);
    EXPECT_EQ(client->Unmask(set).status().code(), absl::StatusCode::kFailedPrecondition);
  }
}

// 1b. A different survivor count for one device: its signature covers the count, so that its
// statement counts nowhere.
TEST(SecAggAttackTest, EquivocationAboutTheSurvivorCount) {
  SessionOptions options = Honest();
  options.on_survivors = [](SurvivorLists* lists, ClientIndex) { lists->survivor_count = 7; };
  ExpectAllAbort(options);  // more than the cohort may have
  options.parameters.cohort_max = 7;
  options.on_survivors = [](SurvivorLists* lists, ClientIndex client) {
    if (client == 0) lists->survivor_count = 7;
  };
  const SessionResult result = RunSession(options);
  EXPECT_EQ(result.responses, kClients - 1);
  ASSERT_TRUE(result.sum.ok()) << result.sum.status();
  EXPECT_EQ(result.sum->sum, result.expected);
}

// 2. Both kinds of share of one peer.
TEST(SecAggAttackTest, OverlappingLists) {
  SessionOptions options = Honest();
  options.on_survivors = [](SurvivorLists* lists, ClientIndex client) {
    lists->dropped.push_back(client == 0 ? 1 : 0);
  };
  ExpectAllAbort(options);
}

TEST(SecAggAttackTest, ListsThatDoNotCoverEveryone) {
  SessionOptions options = Honest();
  options.on_survivors = [](SurvivorLists* lists, ClientIndex client) {
    std::erase(lists->alive, client == 0 ? 1u : 0u);
  };
  ExpectAllAbort(options);
}

TEST(SecAggAttackTest, ListedAsDroppedOneself) {
  SessionOptions options = Honest();
  options.on_survivors = [](SurvivorLists* lists, ClientIndex client) {
    std::erase(lists->alive, client);
    lists->dropped.push_back(client);
  };
  ExpectAllAbort(options);
}

// 3. A cohort under the minimum, at the start or by dropout.
TEST(SecAggAttackTest, CohortTooSmallAtTheStart) {
  SessionOptions options = Honest();
  options.on_directory = [](uint32_t, KeyDirectory* directory) { directory->client_count = 3; };
  ExpectAllAbort(options);
}

TEST(SecAggAttackTest, CohortShrunkByDropout) {
  SessionOptions options = Honest();
  options.on_survivors = [](SurvivorLists* lists, ClientIndex) { lists->survivor_count = 3; };
  ExpectAllAbort(options);
}

// Boxes that do not open cost their shares, and the session only where too few are left: one's own
// and three of five are enough, one's own and two are not.
TEST(SecAggAttackTest, SpoiledBoxesUpToTheThreshold) {
  for (const uint32_t spoiled : {2u, 3u}) {
    SessionOptions options = Honest();
    options.on_delivery = [spoiled](ShareDelivery* delivery) {
      for (DeliveredBox& box : delivery->boxes) {
        // Of other senders for every recipient, so that no sender loses more holders than that.
        const uint32_t distance = (box.sender + kClients - delivery->recipient) % kClients;
        if (distance <= spoiled) box.sealed.back() ^= 1;
      }
    };
    if (spoiled == 3) {
      ExpectAllAbort(options);
      continue;
    }
    const SessionResult result = RunSession(options);
    ASSERT_TRUE(result.sum.ok()) << result.sum.status();
    EXPECT_EQ(Aborted(result), 0);
    for (size_t e = 0; e < result.expected.size(); ++e) {
      EXPECT_EQ(result.sum->sum[e] & ((1u << options.parameters.modulus_bits) - 1),
                result.expected[e]);
    }
  }
}

// A box that one sent comes back as the recipient's: keys of boxes are symmetric, boxes are not.
TEST(SecAggAttackTest, ReflectedBoxesDoNotOpen) {
  SessionOptions options = Honest();
  std::map<std::pair<ClientIndex, ClientIndex>, std::vector<uint8_t>> sent;
  options.on_shares = [&sent](ShareKeysMessage* message) {
    for (const ShareBox& box : message->boxes) sent[{message->sender, box.recipient}] = box.sealed;
  };
  options.on_delivery = [&sent](ShareDelivery* delivery) {
    for (DeliveredBox& box : delivery->boxes) {
      box.sealed = sent.at({delivery->recipient, box.sender});
    }
  };
  ExpectAllAbort(options);
}

// The others were shown other keys in this client's name: its own are not where it is told.
TEST(SecAggAttackTest, OwnKeysNotUnderTheRoot) {
  SessionOptions options = Honest();
  options.on_directory = [](uint32_t, KeyDirectory* directory) {
    directory->own_proof.back()[7] ^= 1;
  };
  ExpectAllAbort(options);
}

TEST(SecAggAttackTest, TooFewAliveNeighbours) {
  SessionOptions options = Honest();
  options.on_survivors = [](SurvivorLists* lists, ClientIndex client) {
    *lists = {.session = lists->session, .survivor_count = 6, .alive = {}, .dropped = {}};
    for (ClientIndex i = 0; i < kClients; ++i) {
      (i == client || lists->alive.size() < 2 ? lists->alive : lists->dropped).push_back(i);
    }
  };
  ExpectAllAbort(options);
}

// 4 and 7. Messages of another session, at every step.
TEST(SecAggAttackTest, CrossSessionMessages) {
  const SessionId other = SessionNamed("other");
  SessionOptions directory = Honest(), delivery = Honest(), survivors = Honest(),
                 acknowledgements = Honest();
  directory.on_directory = [&](uint32_t, KeyDirectory* m) { m->session = other; };
  ExpectAllAbort(directory);
  delivery.on_delivery = [&](ShareDelivery* m) { m->session = other; };
  ExpectAllAbort(delivery);
  survivors.on_survivors = [&](SurvivorLists* m, ClientIndex) { m->session = other; };
  ExpectAllAbort(survivors);
  acknowledgements.on_acknowledgements = [&](AcknowledgementSet* m, ClientIndex) {
    m->session = other;
  };
  ExpectAllAbort(acknowledgements);
}

// 7. Boxes of another session, or turned round, do not open.
TEST(SecAggAttackTest, ReplayedBoxesDoNotOpen) {
  std::vector<ShareDelivery> old;
  SessionOptions first = Honest();
  first.parameters.session = SessionNamed("first");
  first.on_delivery = [&](ShareDelivery* delivery) { old.push_back(*delivery); };
  ASSERT_TRUE(RunSession(first).sum.ok());
  SessionOptions second = Honest();
  second.on_delivery = [&](ShareDelivery* delivery) {
    for (size_t i = 0; i < delivery->boxes.size(); ++i)
      delivery->boxes[i].sealed = old[0].boxes[i].sealed;
  };
  ExpectAllAbort(second);
}

// 8. Keys that appear twice.
TEST(SecAggAttackTest, RepeatedKeys) {
  SeededRandom random("keys", 1);
  const SecAggParameters p = Honest().parameters;
  auto server = SecAggServer::Create(p).value();
  const KeyAdvertisement keys = SecAggClient::Create(p, &random).value()->AdvertiseKeys().value();
  ASSERT_EQ(server->AddAdvertisement(keys).value(), 0u);
  EXPECT_EQ(server->AddAdvertisement(keys).value(), 0u);  // a retry
  KeyAdvertisement mixed = SecAggClient::Create(p, &random).value()->AdvertiseKeys().value();
  mixed.mask_key = keys.transport_key;
  EXPECT_EQ(server->AddAdvertisement(mixed).status().code(), absl::StatusCode::kInvalidArgument);
  mixed.mask_key = mixed.transport_key;
  EXPECT_EQ(server->AddAdvertisement(mixed).status().code(), absl::StatusCode::kInvalidArgument);
}

// 12. Neighbours chosen by the server, with a k-regular graph.
TEST(SecAggAttackTest, NeighboursChosenByTheServer) {
  SessionOptions options;
  options.parameters = {.session = SessionNamed("harary"),
                        .cohort_min = 15,
                        .cohort_max = 30,
                        .degree = 8,
                        .threshold = 5,
                        .dimension = 8,
                        .modulus_bits = 20};
  options.steps.assign(30, 5);
  ASSERT_TRUE(RunSession(options).sum.ok());
  std::vector<KeyDirectory> seen;
  options.on_directory = [&](uint32_t, KeyDirectory* directory) {
    // Valid keys with valid proofs, but those of another client's neighbours.
    seen.push_back(*directory);
    directory->neighbours = seen.front().neighbours;
    if (seen.size() == 1) directory->neighbours.pop_back();
  };
  const SessionResult result = RunSession(options);
  EXPECT_EQ(Aborted(result), 30);
  EXPECT_FALSE(result.sum.ok());
}

TEST(SecAggAttackTest, KeysSwappedUnderTheRoot) {
  for (const bool proof : {false, true}) {
    SessionOptions options = Honest();
    options.on_directory = [&](uint32_t, KeyDirectory* directory) {
      if (proof) {
        directory->neighbours[2].proof[0][3] ^= 1;
      } else {
        directory->neighbours[2].keys.mask_key[3] ^= 1;
      }
    };
    ExpectAllAbort(options);
  }
}

TEST(SecAggAttackTest, ForgedAcknowledgement) {
  SessionOptions options = Honest();
  options.on_acknowledgements = [](AcknowledgementSet* set, ClientIndex) {
    set->acknowledgements[2].signature[7] ^= 4;
  };
  ExpectAllAbort(options);
}

TEST(SecAggAttackTest, TooFewOrRepeatedAcknowledgements) {
  SessionOptions few = Honest(), repeated = Honest();
  few.on_acknowledgements = [](AcknowledgementSet* set, ClientIndex) {
    set->acknowledgements.resize(3);
  };
  ExpectAllAbort(few);
  repeated.on_acknowledgements = [](AcknowledgementSet* set, ClientIndex) {
    set->acknowledgements.resize(3);
    set->acknowledgements.push_back(set->acknowledgements[1]);
  };
  ExpectAllAbort(repeated);
}

// 10. Wrong shares: named, and the round goes on while enough are right.
TEST(SecAggAttackTest, WrongSharesAreBlamed) {
  SessionOptions options = Honest();
  options.steps = {5, 5, 5, 5, 5, 2};  // one dropout, so that both kinds of share are needed
  ClientIndex liar = 0;
  bool first = true;
  options.on_response = [&](UnmaskResponse* response) {
    if (!first) return;
    first = false;
    liar = response->sender;
    for (RevealedShare& share : response->seed_shares) share.share[0] ^= 1;
    for (RevealedShare& share : response->mask_key_shares) share.share[9] ^= 1;
  };
  const SessionResult result = RunSession(options);
  ASSERT_TRUE(result.sum.ok()) << result.sum.status();
  EXPECT_EQ(result.sum->sum, result.expected);
  EXPECT_EQ(result.sum->blamed, std::vector<ClientIndex>{liar});
}

TEST(SecAggAttackTest, TooManyWrongSharesAbort) {
  SessionOptions options = Honest();
  int wrong = 0;
  options.on_response = [&](UnmaskResponse* response) {
    if (++wrong > 3) return;
    for (RevealedShare& share : response->seed_shares) share.share[0] ^= 1;
  };
  EXPECT_EQ(RunSession(options).sum.status().code(), absl::StatusCode::kAborted);
}

TEST(SecAggAttackTest, MalformedResponsesAreRefused) {
  const auto run = [](const std::function<void(UnmaskResponse*)>& change) {
    SessionOptions options = Honest();
    bool first = true;
    options.on_response = [&](UnmaskResponse* response) {
      if (std::exchange(first, false)) change(response);
    };
    const SessionResult result = RunSession(options);
    // The others' shares are enough.
    EXPECT_TRUE(result.sum.ok()) << result.sum.status();
    return std::count_if(result.client_status.begin(), result.client_status.end(),
                         [](const absl::Status& status) {
                           return status.code() == absl::StatusCode::kInvalidArgument;
                         });
  };
  EXPECT_EQ(run([](UnmaskResponse* m) { m->seed_shares[0].share.pop_back(); }), 1);
  EXPECT_EQ(run([](UnmaskResponse* m) { m->seed_shares[0].share.push_back(0); }), 1);
  EXPECT_EQ(run([](UnmaskResponse* m) { m->seed_shares.push_back(m->seed_shares[0]); }), 1);
  EXPECT_EQ(run([](UnmaskResponse* m) { m->mask_key_shares.push_back(m->seed_shares[0]); }), 1);
  EXPECT_EQ(run([](UnmaskResponse* m) { m->seed_shares[0].owner = 77; }), 1);
  EXPECT_EQ(run([](UnmaskResponse* m) { m->session[0] ^= 1; }), 1);
  EXPECT_EQ(run([](UnmaskResponse*) {}), 0);
}

TEST(SecAggAttackTest, MalformedShareBoxesAreRefused) {
  for (int kind = 0; kind < 3; ++kind) {
    SessionOptions options = Honest();
    bool first = true;
    options.on_shares = [&](ShareKeysMessage* message) {
      if (!std::exchange(first, false)) return;
      if (kind == 0) message->boxes.pop_back();
      if (kind == 1) message->boxes[0].sealed.push_back(0);
      if (kind == 2) message->boxes[0].recipient = message->sender;
    };
    const SessionResult result = RunSession(options);
    EXPECT_TRUE(result.sum.ok()) << result.sum.status();  // one dropout is harmless
    EXPECT_EQ(result.sum->survivor_count, kClients - 1u);
  }
}

// A client whose box to one neighbour is garbage costs that neighbour its share, not the round its
// exactness.
TEST(SecAggAttackTest, GarbageInOneBoxIsSurvived) {
  SessionOptions options = Honest();
  bool first = true;
  options.on_shares = [&](ShareKeysMessage* message) {
    if (std::exchange(first, false)) message->boxes[0].sealed[40] ^= 1;
  };
  const SessionResult result = RunSession(options);
  ASSERT_TRUE(result.sum.ok()) << result.sum.status();
  EXPECT_EQ(result.sum->sum, result.expected);
}

TEST(SecAggServerTest, RepeatsAreAcceptedAndChangesAreNot) {
  const SecAggParameters p = Honest().parameters;
  auto server = SecAggServer::Create(p).value();
  std::vector<std::unique_ptr<SeededRandom>> randoms;
  std::vector<std::unique_ptr<SecAggClient>> clients;
  for (int i = 0; i < kClients; ++i) {
    randoms.push_back(std::make_unique<SeededRandom>("repeat", i));
    clients.push_back(SecAggClient::Create(p, randoms.back().get()).value());
    ASSERT_TRUE(server->AddAdvertisement(clients[i]->AdvertiseKeys().value()).ok());
  }
  EXPECT_EQ(server->DirectoryFor(0).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(server->CloseAdvertise().ok());
  EXPECT_EQ(server->CloseAdvertise().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(server->expected(), kClients);
  std::vector<ShareKeysMessage> messages;
  for (int i = 0; i < kClients; ++i) {
    messages.push_back(clients[i]->ShareKeys(server->DirectoryFor(i).value()).value());
    EXPECT_TRUE(server->AddShareKeys(messages[i]).ok());
    EXPECT_TRUE(server->AddShareKeys(messages[i]).ok());
    EXPECT_EQ(server->arrived(), i + 1);
    EXPECT_EQ(clients[i]->ShareKeys(server->DirectoryFor(i).value()).status().code(),
              absl::StatusCode::kFailedPrecondition);
  }
  ShareKeysMessage changed = messages[0];
  changed.seed_commitment[0] ^= 1;
  EXPECT_EQ(server->AddShareKeys(changed).code(), absl::StatusCode::kAlreadyExists);
  changed.sender = 99;
  EXPECT_EQ(server->AddShareKeys(changed).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(server->CloseShare().ok());
  EXPECT_TRUE(server->AddShareKeys(messages[0]).ok());  // a late retry of what was accepted
  MaskedUpdate update{.session = p.session, .sender = 0, .packed = std::vector<uint8_t>(19)};
  EXPECT_EQ(server->AddMaskedUpdate(update).code(), absl::StatusCode::kInvalidArgument);
  update.packed.resize(20);
  EXPECT_TRUE(server->AddMaskedUpdate(update).ok());
  EXPECT_EQ(server->CloseMask().code(), absl::StatusCode::kAborted);  // one is under the minimum
  EXPECT_EQ(server->step(), SecAggStep::kAborted);
  EXPECT_FALSE(server->abort_reason().empty());
  EXPECT_EQ(server->AddMaskedUpdate(update).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(SecAggServerTest, RefusesParametersThatCannotBeSafe) {
  const SecAggParameters good = Honest().parameters;
  const auto refused = [&](auto change) {
    SecAggParameters bad = good;
    change(bad);
    SeededRandom random("parameters", 1);
    return SecAggServer::Create(bad).status().code() == absl::StatusCode::kInvalidArgument &&
           SecAggClient::Create(bad, &random).status().code() == absl::StatusCode::kInvalidArgument;
  };
  EXPECT_FALSE(refused([](SecAggParameters&) {}));
  EXPECT_TRUE(refused([](SecAggParameters& p) { p.threshold = 3; }));  // not more than half of six
  EXPECT_TRUE(refused([](SecAggParameters& p) { p.threshold = 7; }));
  EXPECT_TRUE(refused([](SecAggParameters& p) { p.cohort_min = 1; }));
  EXPECT_TRUE(refused([](SecAggParameters& p) { p.cohort_max = 3; }));
  EXPECT_TRUE(refused([](SecAggParameters& p) { p.degree = 5; }));
  EXPECT_TRUE(refused([](SecAggParameters& p) { p.dimension = 0; }));
  EXPECT_TRUE(refused([](SecAggParameters& p) { p.modulus_bits = 7; }));
}

}  // namespace
}  // namespace lorikeet
