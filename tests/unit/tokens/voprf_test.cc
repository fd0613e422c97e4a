// The VOPRF against the vectors of RFC 9497 (appendix A.1.2), and what it refuses.
#include "common/tokens/voprf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/base/hash.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Unhex(std::string_view hex) {
  const std::string text = FromHex(hex).value();
  return Bytes(text.begin(), text.end());
}

// Scalars that the RFC fixes, as 64 bytes below the order.
class FixedRandom final : public RandomSource {
 public:
  explicit FixedRandom(std::vector<std::string> scalars) : scalars_(std::move(scalars)) {}
  void Fill(std::span<uint8_t> out) override {
    ASSERT_EQ(out.size(), 64u);
    ASSERT_LT(next_, scalars_.size());
    std::fill(out.begin(), out.end(), uint8_t{0});
    std::ranges::copy(Unhex(scalars_[next_++]), out.begin());
  }

 private:
  std::vector<std::string> scalars_;
  size_t next_ = 0;
};

constexpr std::string_view kPublicKey =
    "c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e";
const char* const kBlind0 = "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706";
const char* const kBlind1 = "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e";
const char* const kBatchRandom = "419c4f4f5052c53c45f3da494d2b67b220d02118e0857cdbcf037f9ea84bbe0c";

VoprfKey RfcKey() {
  const Bytes seed(32, 0xa3);
  return VoprfKey::Derive(SecretBytes::CopyOf(seed), AsBytes("test key")).value();
}

struct RfcVector {
  std::string_view name;
  std::vector<std::string> inputs, blinds;
  std::string proof_random;
  std::vector<std::string> blinded, evaluated;
  std::string proof;
  std::vector<std::string> outputs;
};

const char* const kLongInput = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const char* const kOutput1 =
    "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7da4d8527693914139caee5bd03903af"
    "43a491351d23b430948dd50cde10d32b3c";
const char* const kOutput2 =
    "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60356f4610bf816f27afdd84f47719e4"
    "80906d27ecd994985890e5f539e7ea74b6";
const char* const kBlinded1 = "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945";
const char* const kEvaluated1 = "aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e";

std::vector<RfcVector> RfcVectors() {
  return {
      {.name = "V1",
       .inputs = {"00"},
       .blinds = {kBlind0},
       .proof_random = kBlind1,
       .blinded = {kBlinded1},
       .evaluated = {kEvaluated1},
       .proof =
           "ddef93772692e535d1a53903db24367355cc2cc78de93b3be5a8ffcc6985dd066d4346421d17bf5117a"
           "2a1ff0fcb2a759f58a539dfbe857a40bce4cf49ec600d",
       .outputs = {kOutput1}},
      {.name = "V2",
       .inputs = {kLongInput},
       .blinds = {kBlind0},
       .proof_random = kBlind1,
       .blinded = {"cc0b2a350101881d8a4cba4c80241d74fb7dcbfde4a61fde2f91443c2bf9ef0c"},
       .evaluated = {"60a59a57208d48aca71e9e850d22674b611f752bed48b36f7a91b372bd7ad468"},
       .proof =
           "401a0da6264f8cf45bb2f5264bc31e109155600babb3cd4e5af7d181a2c9dc0a67154fabf031fd936051"
           "dec80b0b6ae29c9503493dde7393b722eafdf5a50b02",
       .outputs = {kOutput2}},
      {.name = "V3",
       .inputs = {"00", kLongInput},
       .blinds = {kBlind0, kBlind1},
       .proof_random = kBatchRandom,
       .blinded = {kBlinded1, "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654"},
       .evaluated = {kEvaluated1,
                     "cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a"},
       .proof =
           "cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a5ab5337c8eb4ceae0494"
           "c2cf89529dcf94572ed267473d567aeed6ab873dee08",
       .outputs = {kOutput1, kOutput2}},
  };
}

TEST(VoprfTest, DerivesTheKeyOfTheRfc) {
  EXPECT_EQ(ToHex(RfcKey().public_key().bytes()), kPublicKey);
  const auto secret = SecretScalar::FromBytes(SecretBytes::CopyOf(
      Unhex("e6f73f344b79b379f1a0dd37e07ff62e38d9f71345ce62ae3a9bc60b04ccd909")));
  ASSERT_TRUE(secret.ok()) << secret.status();
  EXPECT_EQ(GeneratorTimes(*secret), RfcKey().public_key());
}

TEST(VoprfTest, ReproducesTheVectorsOfTheRfc) {
  const VoprfKey key = RfcKey();
  for (const RfcVector& v : RfcVectors()) {
    SCOPED_TRACE(v.name);
    FixedRandom blinds(v.blinds), proof_random({v.proof_random});
    std::vector<BlindedInput> inputs;
    std::vector<GroupElement> blinded;
    for (size_t i = 0; i < v.inputs.size(); ++i) {
      inputs.push_back(VoprfBlind(Unhex(v.inputs[i]), &blinds).value());
      blinded.push_back(inputs.back().element);
      EXPECT_EQ(ToHex(blinded.back().bytes()), v.blinded[i]);
    }
    const BatchEvaluation evaluation = VoprfBlindEvaluate(key, blinded, &proof_random).value();
    EXPECT_EQ(ToHex(evaluation.proof.Encode()), v.proof);
    EXPECT_TRUE(VerifyEvaluation(key.public_key(), blinded, evaluation).ok());
    for (size_t i = 0; i < v.inputs.size(); ++i) {
      EXPECT_EQ(ToHex(evaluation.elements[i].bytes()), v.evaluated[i]);
      const Bytes input = Unhex(v.inputs[i]);
      EXPECT_EQ(ToHex(VoprfFinalize(input, inputs[i].blind, evaluation.elements[i]).value()),
                v.outputs[i]);
      EXPECT_EQ(ToHex(VoprfEvaluate(key, input).value()), v.outputs[i]);
    }
  }
}

// A batch of `count` blinded inputs and its evaluation.
struct Batch {
  explicit Batch(size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const Bytes input = {static_cast<uint8_t>(i)};
      blinded.push_back(VoprfBlind(input, &random).value().element);
    }
    evaluation = VoprfBlindEvaluate(key, blinded, &random).value();
  }
  absl::Status Verify() const { return VerifyEvaluation(key.public_key(), blinded, evaluation); }

  SeededRandom random{"voprf test", 1};
  VoprfKey key = RfcKey();
  std::vector<GroupElement> blinded;
  BatchEvaluation evaluation;
};

TEST(VoprfTest, ProofHoldsForBatchesOfManySizes) {
  for (const size_t count : {1, 2, 3, 31, 64}) EXPECT_TRUE(Batch(count).Verify().ok()) << count;
}

TEST(VoprfTest, OneElementUnderAnotherKeySpoilsTheWholeBatch) {
  const Bytes seed(32, 0x11);
  const VoprfKey other = VoprfKey::Derive(SecretBytes::CopyOf(seed), {}).value();
  for (size_t bad = 0; bad < 8; ++bad) {
    Batch batch(8);
    batch.evaluation.elements[bad] = batch.blinded[bad].Times(other.secret());
    EXPECT_EQ(batch.Verify().code(), absl::StatusCode::kDataLoss) << bad;
  }
}

// Two errors that cancel in a plain sum do not cancel in a weighted one.
TEST(VoprfTest, ErrorsThatCancelAreFound) {
  Batch batch(2);
  std::swap(batch.evaluation.elements[0], batch.evaluation.elements[1]);
  EXPECT_EQ(batch.Verify().code(), absl::StatusCode::kDataLoss);
}

TEST(VoprfTest, EveryFlippedBitOfAProofIsRefused) {
  Batch batch(2);
  const auto proof = batch.evaluation.proof.Encode();
  for (size_t bit = 0; bit < 8 * proof.size(); ++bit) {
    auto flipped = proof;
    flipped[bit / 8] ^= static_cast<uint8_t>(1 << (bit % 8));
    const auto decoded = DleqProof::Decode(flipped);
    if (!decoded.ok()) continue;  // not below the order
    batch.evaluation.proof = *decoded;
    EXPECT_EQ(batch.Verify().code(), absl::StatusCode::kDataLoss) << bit;
  }
}

TEST(VoprfTest, AProofIsForItsKeyAndItsBatch) {
  Batch batch(3), other(3);
  EXPECT_EQ(VerifyEvaluation(batch.blinded[0], batch.blinded, batch.evaluation).code(),
            absl::StatusCode::kDataLoss);
  batch.blinded[1] = VoprfBlind(Unhex("ff"), &batch.random).value().element;
  EXPECT_EQ(batch.Verify().code(), absl::StatusCode::kDataLoss);
  other.evaluation.elements.pop_back();
  EXPECT_EQ(other.Verify().code(), absl::StatusCode::kInvalidArgument);
}

TEST(VoprfTest, RefusesEmptyBatchesAndLongInputs) {
  SeededRandom random("voprf test", 2);
  EXPECT_EQ(VoprfBlindEvaluate(RfcKey(), {}, &random).status().code(),
            absl::StatusCode::kInvalidArgument);
  const Bytes longest(65535), longer(65536);
  EXPECT_TRUE(VoprfBlind(longest, &random).ok());
  EXPECT_FALSE(VoprfBlind(longer, &random).ok());
  EXPECT_FALSE(VoprfEvaluate(RfcKey(), longer).ok());
  EXPECT_FALSE(VoprfKey::Derive(SecretBytes(31), {}).ok());
}

TEST(RistrettoTest, RefusesBytesThatAreNoElement) {
  const Bytes valid = Unhex(kPublicKey);
  EXPECT_TRUE(GroupElement::Decode(valid).ok());
  for (size_t size = 0; size < 32; ++size) {
    EXPECT_FALSE(GroupElement::Decode(std::span(valid).first(size)).ok()) << size;
  }
  Bytes longer = valid;
  longer.push_back(0);
  EXPECT_FALSE(GroupElement::Decode(longer).ok());
  const std::vector<std::string> bad = {
      "0000000000000000000000000000000000000000000000000000000000000000",  // identity
      // RFC 9496, appendix A.2: not canonical, negative, no square, not on the curve.
      "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "0100000000000000000000000000000000000000000000000000000000000000",
      "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"};
  for (const auto& hex : bad) EXPECT_FALSE(GroupElement::Decode(Unhex(hex)).ok()) << hex;
  Bytes high_bit = valid;
  high_bit[31] ^= 0x80;
  EXPECT_FALSE(GroupElement::Decode(high_bit).ok());
}

TEST(RistrettoTest, RefusesScalarsThatAreZeroOrNotReduced) {
  const std::string order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
  std::string below = order, above = order;
  below[1] = 'c';
  above[1] = 'e';
  for (const auto& [hex, good] :
       std::vector<std::pair<std::string, bool>>{{below, true},
                                                 {order, false},
                                                 {above, false},
                                                 {std::string(64, '0'), false},
                                                 {std::string(64, 'f'), false},
                                                 {"01" + std::string(62, '0'), true},
                                                 {"01", false},
                                                 {"", false}}) {
    EXPECT_EQ(DecodeScalar(Unhex(hex)).ok(), good) << hex;
    EXPECT_EQ(SecretScalar::FromBytes(SecretBytes::CopyOf(Unhex(hex))).ok(), good) << hex;
  }
  const Bytes zero_response(64);
  EXPECT_FALSE(DleqProof::Decode(zero_response).ok());
  EXPECT_FALSE(DleqProof::Decode(std::span(zero_response).first(63)).ok());
}

TEST(RistrettoTest, InverseUndoesABlind) {
  SeededRandom random("voprf test", 3);
  const SecretScalar blind = SecretScalar::Random(&random);
  const GroupElement element = RfcKey().public_key();
  EXPECT_EQ(element.Times(blind).Times(blind.Inverse()), element);
  EXPECT_FALSE(element.Times(blind) == element);
}

}  // namespace
}  // namespace lorikeet
