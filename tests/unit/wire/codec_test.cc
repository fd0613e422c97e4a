#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/wire/decode.h"
#include "common/wire/encode.h"
#include "common/wire/limits.h"
#include "common/wire/proto_convert.h"
#include "common/wire/sign_round.h"
#include "tests/unit/wire/wire_samples.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

TEST(CodecTest, KeyAdvertisementComesBack) {
  const KeyAdvertisement sent = SampleAdvertisement();
  const auto got = DecodeKeyAdvertisement(Encode(sent));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->session, sent.session);
  EXPECT_EQ(got->mask_key, sent.mask_key);
  EXPECT_EQ(got->transport_key, sent.transport_key);
  EXPECT_EQ(got->signing_key, sent.signing_key);
}

TEST(CodecTest, KeyDirectoryComesBack) {
  KeyDirectory sent;
  sent.session = FilledWith<SessionId>(9);
  sent.client_count = 4;
  sent.root = FilledWith<Hash256>(8);
  sent.own_index = 2;
  sent.own_proof = {FilledWith<Hash256>(1), FilledWith<Hash256>(2)};
  sent.neighbours = {
      {.index = 1, .keys = SampleAdvertisement(20), .proof = {FilledWith<Hash256>(4)}}};
  const auto got = DecodeKeyDirectory(Encode(sent));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->client_count, 4u);
  EXPECT_EQ(got->own_index, 2u);
  EXPECT_EQ(got->root, sent.root);
  EXPECT_EQ(got->own_proof, sent.own_proof);
  ASSERT_EQ(got->neighbours.size(), 1u);
  EXPECT_EQ(got->neighbours[0].index, 1u);
  EXPECT_EQ(got->neighbours[0].keys.signing_key, sent.neighbours[0].keys.signing_key);
  EXPECT_EQ(got->neighbours[0].proof, sent.neighbours[0].proof);

  sent.neighbours[0].index = 4;
  EXPECT_THAT(std::string(Message(DecodeKeyDirectory(Encode(sent)).status())),
              HasSubstr("neighbour index: expected 0 to 3, got 4"));
}

TEST(CodecTest, ShareMessagesComeBack) {
  const ShareKeysMessage sent = {.session = FilledWith<SessionId>(9),
                                 .sender = 5,
                                 .seed_commitment = FilledWith<Hash256>(6),
                                 .boxes = {{.recipient = 1, .sealed = {1, 2, 3}}}};
  const auto got = DecodeShareKeysMessage(Encode(sent));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->sender, 5u);
  EXPECT_EQ(got->seed_commitment, sent.seed_commitment);
  ASSERT_EQ(got->boxes.size(), 1u);
  EXPECT_EQ(got->boxes[0].sealed, sent.boxes[0].sealed);

  const ShareDelivery delivery = {.session = FilledWith<SessionId>(9),
                                  .recipient = 1,
                                  .boxes = {{.sender = 5, .sealed = {4, 5}}}};
  const auto delivered = DecodeShareDelivery(Encode(delivery));
  ASSERT_TRUE(delivered.ok()) << delivered.status();
  EXPECT_EQ(delivered->recipient, 1u);
  ASSERT_EQ(delivered->boxes.size(), 1u);
  EXPECT_EQ(delivered->boxes[0].sender, 5u);
}

TEST(CodecTest, RefusesOversizedShareBox) {
  ShareKeysMessage sent;
  sent.boxes = {{.recipient = 1, .sealed = std::vector<uint8_t>(kMaxSealedShareBytes + 1)}};
  const auto got = DecodeShareKeysMessage(Encode(sent));
  EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(Message(got.status())),
              HasSubstr("sealed: expected 1 to 4096 bytes, got 4097"));
}

TEST(CodecTest, MaskedUpdateComesBackAndMustNotBeEmpty) {
  MaskedUpdate sent = {.session = FilledWith<SessionId>(9), .sender = 2, .packed = {7, 8, 9}};
  const auto got = DecodeMaskedUpdate(Encode(sent));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->packed, sent.packed);
  sent.packed.clear();
  EXPECT_EQ(DecodeMaskedUpdate(Encode(sent)).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CodecTest, AcknowledgementsComeBackAndListsMustIncrease) {
  AcknowledgementSet set;
  set.session = FilledWith<SessionId>(9);
  set.acknowledgements = {SampleAcknowledgement(), SampleAcknowledgement()};
  const auto got = DecodeAcknowledgementSet(Encode(set));
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ(got->acknowledgements.size(), 2u);
  EXPECT_EQ(got->acknowledgements[1].alive, SampleAcknowledgement().alive);
  EXPECT_EQ(got->acknowledgements[1].signature, SampleAcknowledgement().signature);

  Acknowledgement twice = SampleAcknowledgement();
  twice.alive = {0, 3, 3};
  EXPECT_THAT(std::string(Message(DecodeAcknowledgement(Encode(twice)).status())),
              HasSubstr("alive: expected increasing indices, got 3 after 3"));
}

TEST(CodecTest, SurvivorsAndUnmaskComeBack) {
  const SurvivorLists lists = {
      .session = FilledWith<SessionId>(9), .survivor_count = 5, .alive = {0, 2}, .dropped = {4}};
  const auto got = DecodeSurvivorLists(Encode(lists));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->survivor_count, 5u);
  EXPECT_EQ(got->dropped, lists.dropped);

  const UnmaskResponse response = {.session = FilledWith<SessionId>(9),
                                   .sender = 1,
                                   .seed_shares = {{.owner = 2, .share = {1}}},
                                   .mask_key_shares = {{.owner = 4, .share = {2, 3}}}};
  const auto unmask = DecodeUnmaskResponse(Encode(response));
  ASSERT_TRUE(unmask.ok()) << unmask.status();
  ASSERT_EQ(unmask->mask_key_shares.size(), 1u);
  EXPECT_EQ(unmask->mask_key_shares[0].owner, 4u);
  EXPECT_EQ(unmask->mask_key_shares[0].share, response.mask_key_shares[0].share);
}

TEST(CodecTest, TokensComeBackAndEverySizeIsChecked) {
  const JoinRequest sent = SampleJoinRequest();
  const auto got = DecodeJoinRequest(Encode(sent));
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_TRUE(got->token);
  EXPECT_EQ(got->keys.mask_key, sent.keys.mask_key);
  EXPECT_EQ(got->token->nonce, sent.token->nonce);
  EXPECT_EQ(got->token->epoch, 12u);
  EXPECT_EQ(got->token->key_id, sent.token->key_id);
  EXPECT_EQ(got->token->keys_hash, sent.token->keys_hash);
  EXPECT_EQ(got->token->output, sent.token->output);
  EXPECT_FALSE(DecodeJoinRequest(Encode(JoinRequest{sent.keys, std::nullopt}))->token);
  const std::string bytes = Encode(sent);
  const size_t keys_only = Encode(JoinRequest{sent.keys, std::nullopt}).size();
  for (size_t length = 0; length < bytes.size(); ++length) {
    if (length == keys_only) continue;  // a request without a token
    EXPECT_FALSE(DecodeJoinRequest(std::string_view(bytes).substr(0, length)).ok()) << length;
  }
}

TEST(CodecTest, IssuanceComesBackAndBadElementsAreNamed) {
  const IssueRequest request = SampleIssueRequest();
  const auto got = DecodeIssueRequest(Encode(request));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->blinded, request.blinded);
  const BatchEvaluation evaluation = SampleEvaluation();
  const auto answered = DecodeBatchEvaluation(Encode(evaluation));
  ASSERT_TRUE(answered.ok()) << answered.status();
  EXPECT_EQ(answered->elements, evaluation.elements);
  EXPECT_EQ(answered->proof.Encode(), evaluation.proof.Encode());

  const auto refusal = [](const IssueRequest& bad) {
    return std::string(Message(DecodeIssueRequest(Encode(bad)).status()));
  };
  EXPECT_THAT(refusal({.epoch = 1, .blinded = {}}), HasSubstr("blinded: expected 1 to 256, got 0"));
  const std::vector<GroupElement> many(257, request.blinded[0]);
  EXPECT_THAT(refusal({.epoch = 1, .blinded = many}), HasSubstr("got 257"));
  std::string bytes = Encode(request);
  bytes.back() = static_cast<char>(bytes.back() ^ 0x80);  // the top bit of an element is clear
  EXPECT_THAT(std::string(Message(DecodeIssueRequest(bytes).status())),
              HasSubstr("expected the canonical encoding"));
  const SignedTokenKeys keys{.bytes = "keys", .signature = FilledWith<Ed25519Signature>(3)};
  EXPECT_EQ(DecodeSignedTokenKeys(Encode(keys))->signature, keys.signature);
  EXPECT_FALSE(DecodeSignedTokenKeys(Encode(SignedTokenKeys{std::string(4097, 'k'), {}})).ok());
}

TEST(CodecTest, EveryTruncationIsRefusedOrShorter) {
  const std::string bytes = Encode(SampleAdvertisement());
  for (size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(DecodeKeyAdvertisement(std::string_view(bytes).substr(0, length)).ok()) << length;
  }
}

TEST(RoundDescriptionTest, ComesBackWithItsSession) {
  const RoundDescription sent = SampleRound();
  const std::string bytes = Encode(sent);
  const auto got = DecodeRoundDescription(bytes);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->secagg.session, Blake2b(AsBytes(bytes)));
  EXPECT_EQ(got->task, "voices");
  EXPECT_EQ(got->secagg.threshold, 2);
  EXPECT_EQ(got->encoding.rotation_seed, sent.encoding.rotation_seed);
  EXPECT_EQ(got->layout.dimension(), 29);
  EXPECT_EQ(got->unmask_until, sent.unmask_until);
  EXPECT_EQ(got->epsilon, 12.5);
  EXPECT_TRUE(got->demonstration);
  EXPECT_FALSE(got->token);
  RoundDescription by_token = sent;
  by_token.token = TokenDemand{.epoch = 12, .key_id = FilledWith<Hash256>(6)};
  const auto demand = DecodeRoundDescription(Encode(by_token));
  ASSERT_TRUE(demand.ok() && demand->token) << demand.status();
  EXPECT_EQ(demand->token->epoch, 12u);
  EXPECT_EQ(demand->token->key_id, by_token.token->key_id);
  EXPECT_EQ(Encode(*got), bytes);
}

TEST(RoundDescriptionTest, ARoutedOneSaysWhichPersonasAndWhenToJoin) {
  const RoundDescription sent = SampleRound();
  const auto got = DecodeRoundDescription(Encode(sent));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(got->layout.routed());
  EXPECT_EQ(got->layout.first_persona, 2);
  EXPECT_EQ(got->layout.catalog_personas, 7);
  EXPECT_EQ(got->join_from, sent.join_from);
  RoundDescription whole = sent;
  whole.layout.first_persona = 0;
  whole.layout.catalog_personas = 3;
  const auto all_blocks = DecodeRoundDescription(Encode(whole));
  ASSERT_TRUE(all_blocks.ok()) << all_blocks.status();
  EXPECT_FALSE(all_blocks->layout.routed());
  EXPECT_EQ(all_blocks->join_from, absl::InfinitePast());
  proto::RoundDescription told;
  ToProto(whole, &told);
  told.set_join_from_ms(1);
  EXPECT_THAT(std::string(Message(FromProto(told).status())),
              HasSubstr("join_from: expected none in a round for all personas"));
}

TEST(RoundOfferTest, IsAListOfBoundedLength) {
  SeededRandom random("offer", 1);
  const SigningKey key = SigningKey::Generate(&random);
  RoundOffer sent{.rounds = {SignRoundDescription(SampleRound(), key)},
                  .retry_after = absl::Milliseconds(1500)};
  RoundDescription other = SampleRound();
  other.layout.first_persona = 0;
  sent.rounds.push_back(SignRoundDescription(other, key));
  proto::GetRoundResponse message;
  ToProto(sent, &message);
  const auto got = FromProto(message);
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ(got->rounds.size(), 2u);
  EXPECT_EQ(got->rounds[1].description, sent.rounds[1].description);
  EXPECT_EQ(got->rounds[1].signature, sent.rounds[1].signature);
  EXPECT_EQ(got->retry_after, absl::Milliseconds(1500));
  *message.add_rounds() = proto::SignedRoundDescription();
  EXPECT_FALSE(FromProto(message).ok()) << "one of them is empty";
  while (message.rounds_size() <= kMaxOfferedRounds) *message.add_rounds() = message.rounds(0);
  EXPECT_THAT(std::string(Message(FromProto(message).status())),
              HasSubstr("rounds offered: expected 0 to 1024, got 1025"));
  EXPECT_TRUE(FromProto(proto::GetRoundResponse())->rounds.empty());
}

TEST(RoundDescriptionTest, RefusesWhatDoesNotFitTogether) {
  struct Case {
    const char* expected;
    std::function<void(RoundDescription*)> spoil;
  };
  const Case cases[] = {
      {"protocol version 1, got 2", [](RoundDescription* r) { r->protocol_version = 2; }},
      {"task: expected 1 to 128 bytes, got 0", [](RoundDescription* r) { r->task.clear(); }},
      {"base_fingerprint", [](RoundDescription* r) { r->base_fingerprint = "A"; }},
      {"cohort_min: expected 2", [](RoundDescription* r) { r->secagg.cohort_min = 1; }},
      {"cohort_max: expected 3", [](RoundDescription* r) { r->secagg.cohort_max = 2; }},
      {"modulus_bits", [](RoundDescription* r) { r->secagg.modulus_bits = 33; }},
      {"secagg_dimension: expected 32 to 32, got 64",
       [](RoundDescription* r) { r->secagg.dimension = 64; }},
      {"clip_norm", [](RoundDescription* r) { r->encoding.clip_norm = 0; }},
      {"scale", [](RoundDescription* r) { r->encoding.scale = std::nan(""); }},
      {"dimension for this layout: expected 47 to 47, got 29",
       [](RoundDescription* r) { r->layout.persona_count = 5; }},
      {"catalog_personas: expected 3", [](RoundDescription* r) { r->layout.catalog_personas = 2; }},
      {"first_persona: expected 0 to 4, got 5",
       [](RoundDescription* r) { r->layout.first_persona = 5; }},
      {"central noise steps",
       [](RoundDescription* r) { r->central = CentralNoise{.noise_multiplier = 1}; }},
      {"central noise step: expected 0 to 3, got 4",
       [](RoundDescription* r) {
         r->central = CentralNoise{.steps = 4, .step = 4, .noise_multiplier = 1};
       }},
      {"sigma_local beside central noise",
       [](RoundDescription* r) { r->central = CentralNoise{.steps = 4, .noise_multiplier = 1}; }},
      {"deadlines", [](RoundDescription* r) { r->mask_until = r->share_until; }},
      {"join_from: expected a time before advertise_until",
       [](RoundDescription* r) { r->join_from = r->advertise_until; }},
      {"join_from: expected one in a routed round, got none",
       [](RoundDescription* r) { r->join_from = absl::UnixEpoch(); }},
      {"epsilon",
       [](RoundDescription* r) { r->epsilon = std::numeric_limits<double>::infinity(); }},
      {"delta", [](RoundDescription* r) { r->delta = 1.5; }},
  };
  for (const Case& c : cases) {
    RoundDescription round = SampleRound();
    c.spoil(&round);
    const auto got = DecodeRoundDescription(Encode(round));
    ASSERT_FALSE(got.ok()) << c.expected;
    EXPECT_THAT(std::string(Message(got.status())), HasSubstr(c.expected));
  }
}

// A device must not take a mechanism that it does not know for the one that it accounts for.
TEST(RoundDescriptionTest, RefusesANoiseThatItDoesNotKnow) {
  RoundDescription sent = SampleRound();
  sent.encoding.noise = NoiseKind::kDiscreteGaussian;
  const auto got = DecodeRoundDescription(Encode(sent));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->encoding.noise, NoiseKind::kDiscreteGaussian);
  for (const uint32_t unknown : {2u, 256u, ~0u}) {
    proto::RoundDescription told;
    ToProto(sent, &told);
    told.set_noise(unknown);
    const absl::Status status = DecodeRoundDescription(told.SerializeAsString()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(Message(status)), HasSubstr("noise: expected 0 to 1, got"));
  }
}

TEST(SignRoundTest, VerifiesOnlyThePinnedKeyAndUntouchedBytes) {
  SeededRandom random("sign round", 1);
  const SigningKey key = SigningKey::Generate(&random);
  const SigningKey other = SigningKey::Generate(&random);
  const SignedRoundDescription signed_round = SignRoundDescription(SampleRound(), key);
  const auto got = VerifyRoundDescription(signed_round, key.public_key());
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->secagg.session, SessionOf(signed_round));
  EXPECT_EQ(VerifyRoundDescription(signed_round, other.public_key()).status().code(),
            absl::StatusCode::kPermissionDenied);
  for (size_t bit = 0; bit < 8 * signed_round.description.size(); bit += 5) {
    SignedRoundDescription flipped = signed_round;
    flipped.description[bit / 8] = static_cast<char>(flipped.description[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(VerifyRoundDescription(flipped, key.public_key()).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace lorikeet
