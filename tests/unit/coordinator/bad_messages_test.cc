// Every kind of bad message in every step: each is refused for a reason that is named, changes
// nothing, and the round ends with the sum that it would have had without them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/encoder.h"
#include "common/wire/sign_round.h"
#include "coordinator/aggregation/secagg_session.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

constexpr int kSteps = 5;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kDenied = absl::StatusCode::kPermissionDenied;
constexpr auto kExists = absl::StatusCode::kAlreadyExists;
constexpr auto kOtherStep = absl::StatusCode::kFailedPrecondition;
constexpr auto kNotFound = absl::StatusCode::kNotFound;
constexpr auto kOver = absl::StatusCode::kAborted;

absl::Status Send(TestFleet* fleet, const DeviceId& device, const RoundMessage& message,
                  uint32_t* ticket = nullptr) {
  Coordinator& service = fleet->service();
  if (const auto* keys = std::get_if<KeyAdvertisement>(&message)) {
    const auto got = service.AdvertiseKeys(device, {*keys, std::nullopt});
    if (got.ok() && ticket != nullptr) *ticket = *got;
    return got.status();
  }
  if (const auto* shares = std::get_if<ShareKeysMessage>(&message)) {
    return service.ShareKeys(device, *shares);
  }
  if (const auto* update = std::get_if<MaskedUpdate>(&message)) {
    return service.SubmitMaskedUpdate(device, *update);
  }
  if (const auto* statement = std::get_if<Acknowledgement>(&message)) {
    return service.Acknowledge(device, *statement);
  }
  return service.Unmask(device, std::get<UnmaskResponse>(message));
}

// A device that makes the message of a step and sends it later, or never.
class Player {
 public:
  Player(TestFleet* fleet, int index)
      : fleet_(fleet), index_(index), random_("player", static_cast<uint64_t>(index)) {}

  std::string id() const { return absl::StrCat("device-", index_); }
  const RoundDescription& round() const { return round_; }
  ClientIndex own_index() const { return own_index_; }

  // Steps in order, from 0; the message is empty after an error, which fails the test.
  RoundMessage Make(int step) {
    const auto message = TryMake(step);
    EXPECT_TRUE(message.ok()) << id() << " step " << step << ": " << message.status();
    return message.ok() ? *message : RoundMessage();
  }
  absl::Status SendOwn(const RoundMessage& message) {
    return Send(fleet_, id(), message, &ticket_);
  }

 private:
  absl::StatusOr<RoundMessage> TryMake(int step) {
    if (step == 0) return Advertise();
    ASSIGN_OR_RETURN(const PollResult poll,
                     fleet_->service().Poll(id(), {round_.secagg.session, ticket_}));
    switch (step) {
      case 1:
        own_index_ = poll.directory->own_index;
        return client_->ShareKeys(*poll.directory);
      case 2: {
        ASSIGN_OR_RETURN(const EncodedDelta input, Contribution());
        return client_->MaskInput(*poll.delivery, input);
      }
      case 3:
        return client_->Acknowledge(*poll.survivors);
      default:
        return client_->Unmask(*poll.acknowledgements);
    }
  }
  absl::StatusOr<RoundMessage> Advertise() {
    const uint64_t version = fleet_->LatestCatalog().version;
    RoundQuery query;
    query.base_fingerprint = fleet_->base();
    query.catalog_version = version;
    ASSIGN_OR_RETURN(const RoundOffer offer, fleet_->service().GetRound(id(), query));
    if (offer.rounds.empty()) return absl::NotFoundError("no round is offered");
    ASSIGN_OR_RETURN(round_, VerifyRoundDescription(offer.rounds[0], fleet_->key().public_key()));
    ASSIGN_OR_RETURN(client_, SecAggClient::Create(round_.secagg, &random_));
    return client_->AdvertiseKeys();
  }
  absl::StatusOr<EncodedDelta> Contribution() {
    std::vector<float> values(static_cast<size_t>(round_.layout.dimension()));
    values[static_cast<size_t>(index_)] = 1;
    ASSIGN_OR_RETURN(const ClippedDelta clipped,
                     Clip(std::move(values), round_.encoding.clip_norm));
    return Encode(clipped, round_.encoding, &random_);
  }

  TestFleet* fleet_;
  int index_;
  SeededRandom random_;
  RoundDescription round_;
  std::unique_ptr<SecAggClient> client_;
  ClientIndex own_index_ = 0;
  uint32_t ticket_ = 0;
};

RoundMessage OfSession(RoundMessage message, const SessionId& session) {
  std::visit([&](auto& one) { one.session = session; }, message);
  return message;
}

// Well-formed, but not what this device sent.
RoundMessage Another(RoundMessage message) {
  if (auto* keys = std::get_if<KeyAdvertisement>(&message)) keys->mask_key[0] ^= 1;
  if (auto* shares = std::get_if<ShareKeysMessage>(&message)) shares->seed_commitment[0] ^= 1;
  if (auto* update = std::get_if<MaskedUpdate>(&message)) update->packed[0] ^= 1;
  if (auto* statement = std::get_if<Acknowledgement>(&message)) statement->signature[0] ^= 1;
  if (auto* shares = std::get_if<UnmaskResponse>(&message)) shares->seed_shares.pop_back();
  return message;
}

// What a device could claim to send in a step that has not come.
RoundMessage Early(int step, const SessionId& session, ClientIndex sender) {
  switch (step) {
    case 1: {
      ShareKeysMessage message;
      message.session = session;
      message.sender = sender;
      return message;
    }
    case 2:
      return MaskedUpdate{.session = session, .sender = sender, .packed = {1, 2, 3}};
    case 3: {
      Acknowledgement message;
      message.session = session;
      message.sender = sender;
      return message;
    }
    default: {
      UnmaskResponse message;
      message.session = session;
      message.sender = sender;
      return message;
    }
  }
}

struct BadMessage {
  std::string kind;
  DeviceId device;
  RoundMessage message;
  absl::StatusCode code;
  std::string says;
};

void AddMalformedKeys(const KeyAdvertisement& good, const DeviceId& device,
                      std::vector<BadMessage>* list) {
  KeyAdvertisement keys = good;
  keys.transport_key = keys.mask_key;
  list->push_back({"one key twice", device, keys, kInvalid, "expected three different keys"});
}
void AddMalformedShares(const ShareKeysMessage& good, const DeviceId& device,
                        std::vector<BadMessage>* list) {
  ShareKeysMessage shares = good;
  shares.boxes.pop_back();
  list->push_back({"a box too few", device, shares, kInvalid, "share boxes: expected 4, got 3"});
  shares = good;
  shares.boxes.push_back(shares.boxes.back());
  list->push_back({"a box too many", device, shares, kInvalid, "share boxes: expected 4, got 5"});
  shares = good;
  shares.boxes[1].sealed.pop_back();
  list->push_back({"a truncated box", device, shares, kInvalid, "share boxes: expected one of"});
  shares = good;
  std::swap(shares.boxes[0], shares.boxes[1]);
  list->push_back({"boxes out of order", device, shares, kInvalid, "share boxes: expected one of"});
}
void AddMalformedUpdate(const MaskedUpdate& good, const DeviceId& device,
                        std::vector<BadMessage>* list) {
  MaskedUpdate update = good;
  update.packed.pop_back();
  list->push_back({"a truncated vector", device, update, kInvalid, "masked update: expected"});
  update = good;
  update.packed.push_back(0);
  list->push_back({"an oversized vector", device, update, kInvalid, "masked update: expected"});
  update.packed.clear();
  list->push_back({"an empty vector", device, update, kInvalid, "masked update: expected"});
}
void AddMalformedStatement(const Acknowledgement& good, const DeviceId& device,
                           std::vector<BadMessage>* list) {
  Acknowledgement statement = good;
  statement.signature[5] ^= 1;
  list->push_back({"a bad signature", device, statement, kInvalid, "bad signature of client"});
  statement = good;
  statement.alive.pop_back();
  list->push_back({"a list too short", device, statement, kInvalid, "expected the lists that"});
  statement = good;
  statement.dropped.push_back(statement.alive.back());
  list->push_back({"lists that overlap", device, statement, kInvalid, "expected the lists that"});
}
void AddMalformedResponse(const UnmaskResponse& good, const DeviceId& device,
                          std::vector<BadMessage>* list) {
  UnmaskResponse shares = good;
  shares.seed_shares[0].share.pop_back();
  list->push_back({"a truncated share", device, shares, kInvalid, "share"});
  shares = good;
  shares.seed_shares[0].owner = 1000;
  list->push_back({"a share of nobody", device, shares, kInvalid, "revealed shares: expected"});
  shares = good;
  shares.seed_shares.push_back(shares.seed_shares.back());
  list->push_back({"a share twice", device, shares, kInvalid, "revealed shares: expected"});
  shares = good;
  shares.mask_key_shares.push_back(shares.seed_shares[0]);
  list->push_back({"both shares of a peer", device, shares, kInvalid, "revealed shares: expected"});
}

std::vector<BadMessage> Malformed(const RoundMessage& good, const DeviceId& device) {
  std::vector<BadMessage> list;
  switch (good.index()) {
    case 0:
      AddMalformedKeys(std::get<KeyAdvertisement>(good), device, &list);
      break;
    case 1:
      AddMalformedShares(std::get<ShareKeysMessage>(good), device, &list);
      break;
    case 2:
      AddMalformedUpdate(std::get<MaskedUpdate>(good), device, &list);
      break;
    case 3:
      AddMalformedStatement(std::get<Acknowledgement>(good), device, &list);
      break;
    default:
      AddMalformedResponse(std::get<UnmaskResponse>(good), device, &list);
  }
  return list;
}

class BadMessagesTest : public testing::Test {
 protected:
  static constexpr int kDevices = 5;  // of them, number 0 misbehaves first and then does not

  std::vector<Player> Players(TestFleet* fleet) {
    std::vector<Player> players;
    for (int i = 0; i < kDevices; ++i) players.emplace_back(fleet, i);
    return players;
  }

  // `around(step, good, sent)` is called before and after player 0's message of every step.
  using Around = std::function<void(int, const RoundMessage&, bool)>;
  void PlayRound(std::vector<Player>& players, const Around& around) {
    for (int step = 0; step < kSteps; ++step) {
      std::vector<RoundMessage> messages;
      for (Player& player : players) messages.push_back(player.Make(step));
      around(step, messages[0], false);
      for (size_t i = 0; i < players.size(); ++i) {
        const absl::Status status = players[i].SendOwn(messages[i]);
        EXPECT_TRUE(status.ok()) << players[i].id() << " step " << step << ": " << status;
        if (i == 0) around(step, messages[0], true);
      }
    }
  }
  void PlayRound(std::vector<Player>& players) {
    PlayRound(players, [](int, const RoundMessage&, bool) {});
  }

  // Sends it and checks that it is refused as told and left no trace.
  void Refused(TestFleet* fleet, int step, const BadMessage& bad) {
    const RoundRecord before = fleet->LatestRound();
    const size_t events = fleet->store().RoundEvents(before.id)->size();
    const absl::Status status = Send(fleet, bad.device, bad.message);
    EXPECT_EQ(status.code(), bad.code) << "step " << step << ", " << bad.kind << ": " << status;
    EXPECT_THAT(std::string(Message(status)), HasSubstr(bad.says)) << bad.kind << ", step " << step;
    EXPECT_EQ(fleet->store().RoundEvents(before.id)->size(), events) << bad.kind;
    EXPECT_EQ(fleet->LatestRound().status, before.status) << bad.kind;
  }
};

// What may be tried in a step before (or after) the good message of player 0 is in.
std::vector<BadMessage> BadMessages(const Player& player, int step, const RoundMessage& good,
                                    bool sent, const SessionId& old_session) {
  std::vector<BadMessage> list;
  SessionId unknown = player.round().secagg.session;
  unknown[0] ^= 1;
  list.push_back({"unknown round", player.id(), OfSession(good, unknown), kNotFound, ""});
  list.push_back({"finished round", player.id(), OfSession(good, old_session),
                  step == 4 ? absl::StatusCode::kOk : kOver, step == 4 ? "" : "the round is over"});
  list.push_back({"not enrolled", "somebody", good, kDenied, "somebody is not enrolled"});
  const bool joined = step > 0 || sent;
  for (int later = step + 1; later < kSteps; ++later) {
    list.push_back({absl::StrCat("early, of step ", later), player.id(),
                    Early(later, player.round().secagg.session, player.own_index()),
                    joined ? kOtherStep : kDenied,
                    joined ? "the session is at" : "is not in this round"});
  }
  if (step > 0) {
    list.push_back({"not in this round", "device-5", good, kDenied, "is not in this round"});
    list.push_back({"as another device", "device-1", good, kDenied, "sender: expected index"});
  }
  if (sent) {
    list.push_back({"the same again", player.id(), good, absl::StatusCode::kOk, ""});
    list.push_back({"another one", player.id(), Another(good), kExists, ""});
    if (step == 0) {
      list.push_back({"another's keys", "device-1", good, kInvalid, "keys of one's own"});
    }
  } else {
    for (BadMessage& bad : Malformed(good, player.id())) list.push_back(std::move(bad));
  }
  return list;
}

TEST_F(BadMessagesTest, EveryKindInEveryStepIsRefusedAndTheSumIsExact) {
  TestFleet calm, fleet;
  auto calm_players = Players(&calm), players = Players(&fleet);
  PlayRound(calm_players);
  PlayRound(players);
  ASSERT_EQ(fleet.LatestRound().status, RoundStatus::kDone) << fleet.LatestRound().message;
  const SessionId old_session = fleet.LatestRound().session;
  for (TestFleet* each : {&calm, &fleet}) each->clock().Advance(absl::Seconds(2));
  PlayRound(calm_players);
  int played = 0;
  std::vector<RoundMessage> earlier;
  PlayRound(players, [&](int step, const RoundMessage& good, bool sent) {
    for (const BadMessage& bad : BadMessages(players[0], step, good, sent, old_session)) {
      Refused(&fleet, step, bad);
      ++played;
    }
    // Messages of earlier steps: the same again is an answer that got lost, another one is not.
    for (const RoundMessage& message : earlier) {
      Refused(&fleet, step, {"repeated late", players[0].id(), message, absl::StatusCode::kOk, ""});
      Refused(&fleet, step, {"another one late", players[0].id(), Another(message), kExists, ""});
    }
    if (sent) earlier.push_back(good);
  });
  EXPECT_GT(played, 70);
  EXPECT_EQ(fleet.LatestRound().number, 2u);
  EXPECT_EQ(fleet.LatestRound().status, RoundStatus::kDone) << fleet.LatestRound().message;
  EXPECT_EQ(fleet.LatestRound().survivor_count, kDevices);
  EXPECT_EQ(fleet.LatestRound().transcript, calm.LatestRound().transcript);
  EXPECT_EQ(CatalogHash(fleet.LatestCatalog()), CatalogHash(calm.LatestCatalog()));
}

TEST_F(BadMessagesTest, NothingOfAFinishedRoundIsTakenAgain) {
  TestFleet fleet;
  auto players = Players(&fleet);
  std::vector<RoundMessage> messages;
  PlayRound(players, [&](int, const RoundMessage& good, bool sent) {
    if (sent) messages.push_back(good);
  });
  const std::string catalog = CatalogHash(fleet.LatestCatalog());
  for (int step = 0; step < kSteps; ++step) {
    for (const RoundMessage& message :
         {messages[static_cast<size_t>(step)], Another(messages[static_cast<size_t>(step)])}) {
      // Shares that come too late are nobody's fault, and not used.
      Refused(&fleet, step,
              {"after the end", players[0].id(), message, step == 4 ? absl::StatusCode::kOk : kOver,
               step == 4 ? "" : "the round is over"});
    }
  }
  EXPECT_EQ(CatalogHash(fleet.LatestCatalog()), catalog);
}

// Plays a round in which the last player misses the deadline of `late_step`, and sends its message
// of that step after it if `sends`; then ends the round without it.
void PlayLate(TestFleet* fleet, std::vector<Player>& players, int late_step, bool sends) {
  size_t playing = players.size();
  for (int step = 0; step < kSteps; ++step) {
    std::vector<RoundMessage> messages;
    for (size_t i = 0; i < playing; ++i) messages.push_back(players[i].Make(step));
    if (step == late_step) --playing;
    for (size_t i = 0; i < playing; ++i) {
      const absl::Status status = players[i].SendOwn(messages[i]);
      EXPECT_TRUE(status.ok()) << players[i].id() << " step " << step << ": " << status;
    }
    if (step != late_step) continue;
    fleet->clock().Set(fleet->LatestRound().opened + absl::Seconds(10 * (step + 1)));
    fleet->service().Tick();
    if (!sends) continue;
    const absl::Status status = players.back().SendOwn(messages.back());
    if (step == 4) {
      EXPECT_TRUE(status.ok()) << "late shares are nobody's fault: " << status;
    } else {
      EXPECT_EQ(status.code(), kOtherStep) << "step " << step << ": " << status;
      EXPECT_THAT(std::string(Message(status)), HasSubstr("the session is at"));
    }
  }
}

TEST_F(BadMessagesTest, ALateMessageOfAnyStepIsRefusedAndTheSumIsThatOfTheOthers) {
  for (int late_step = 0; late_step < kSteps; ++late_step) {
    TestFleet calm, fleet;
    auto calm_players = Players(&calm), players = Players(&fleet);
    PlayLate(&calm, calm_players, late_step, false);
    PlayLate(&fleet, players, late_step, true);
    EXPECT_EQ(fleet.LatestRound().status, RoundStatus::kDone) << fleet.LatestRound().message;
    EXPECT_EQ(fleet.LatestRound().survivor_count, late_step <= 2 ? 4u : 5u) << late_step;
    EXPECT_EQ(fleet.LatestRound().transcript, calm.LatestRound().transcript) << late_step;
    EXPECT_EQ(CatalogHash(fleet.LatestCatalog()), CatalogHash(calm.LatestCatalog())) << late_step;
  }
}

}  // namespace
}  // namespace lorikeet
