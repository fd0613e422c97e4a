#include <sys/stat.h>

#include <type_traits>

#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/strings.h"
#include "common/crypto/aead.h"
#include "common/crypto/hkdf.h"
#include "common/crypto/key_exchange.h"
#include "common/crypto/password.h"
#include "common/crypto/secret_bytes.h"
#include "common/crypto/secret_file.h"
#include "common/crypto/sign.h"
#include "gtest/gtest.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

const SecretAccess kAccess("test");

std::vector<uint8_t> Bytes(std::string_view hex) {
  const std::string raw = FromHex(hex).value();
  return {raw.begin(), raw.end()};
}

std::string HexOf(const SecretBytes& secret) { return ToHex(secret.Open(kAccess)); }

template <typename T>
concept Printable = requires(std::ostream& os, const T& t) { os << t; };
template <typename T>
concept Comparable = requires(const T& t) { t == t; };
static_assert(!Printable<SecretBytes> && !Comparable<SecretBytes>);
static_assert(!std::is_copy_constructible_v<SecretBytes> &&
              std::is_move_constructible_v<SecretBytes>);

TEST(SecretBytesTest, ComparesClonesAndMoves) {
  SeededRandom random("secret", 1);
  SecretBytes a = SecretBytes::Random(32, &random);
  SecretBytes b = a.Clone();
  EXPECT_TRUE(a.ConstantTimeEquals(b));
  b.OpenMutable(kAccess)[31] ^= 1;
  EXPECT_FALSE(a.ConstantTimeEquals(b));
  EXPECT_FALSE(a.ConstantTimeEquals(SecretBytes(31)));
  const SecretBytes c = std::move(a);
  EXPECT_EQ(a.size_bytes(),
            0u);  // NOLINT(bugprone-use-after-move): moved-from is empty by contract
  EXPECT_EQ(c.size_bytes(), 32u);
}

TEST(AeadTest, RoundTripsAndRefusesEveryFlipAndTruncation) {
  SeededRandom random("aead", 1);
  const SecretBytes key = SecretBytes::Random(kAeadKeyBytes, &random);
  const std::string text = "the mast and the moon", associated = "record 7";
  std::vector<uint8_t> sealed = AeadSeal(key, AsBytes(text), AsBytes(associated), &random);
  ASSERT_EQ(sealed.size(), text.size() + kAeadOverheadBytes);
  EXPECT_EQ(AsChars(AeadOpen(key, sealed, AsBytes(associated))->Open(kAccess)), text);
  for (size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    sealed[bit / 8] ^= 1 << (bit % 8);
    EXPECT_EQ(AeadOpen(key, sealed, AsBytes(associated)).status().code(),
              absl::StatusCode::kDataLoss);
    sealed[bit / 8] ^= 1 << (bit % 8);
  }
  for (size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_EQ(AeadOpen(key, std::span(sealed).first(size), AsBytes(associated)).status().code(),
              absl::StatusCode::kDataLoss);
  }
  EXPECT_FALSE(AeadOpen(key, sealed, AsBytes("record 8")).ok());
  EXPECT_FALSE(AeadOpen(SecretBytes(kAeadKeyBytes), sealed, AsBytes(associated)).ok());
  EXPECT_NE(sealed, AeadSeal(key, AsBytes(text), AsBytes(associated), &random));
}

// RFC 5869, appendix A, cases 1 to 3.
TEST(HkdfTest, Rfc5869Vectors) {
  EXPECT_EQ(
      HexOf(HkdfSha256(Bytes("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"),
                       Bytes("000102030405060708090a0b0c"), Bytes("f0f1f2f3f4f5f6f7f8f9"), 42)),
      "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  std::vector<uint8_t> key(80), salt(80), info(80);
  for (int i = 0; i < 80; ++i) {
    key[i] = static_cast<uint8_t>(i);
    salt[i] = static_cast<uint8_t>(0x60 + i);
    info[i] = static_cast<uint8_t>(0xb0 + i);
  }
  EXPECT_EQ(HexOf(HkdfSha256(key, salt, info, 82)),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41"
            "c65e590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
  EXPECT_EQ(HexOf(HkdfSha256(Bytes("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"), {}, {}, 42)),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

// RFC 8032, section 7.1, test 1: the key pair.
TEST(SignTest, PublicKeyOfRfc8032Seed) {
  const auto key = SigningKey::FromSeed(SecretBytes::CopyOf(
      Bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")));
  ASSERT_TRUE(key.ok());
  EXPECT_EQ(ToHex(key->public_key()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  EXPECT_FALSE(SigningKey::FromSeed(SecretBytes(31)).ok());
}

TEST(SignTest, LabelKeyMessageAndSignatureAreBound) {
  SeededRandom random("sign", 1);
  const SigningKey key = SigningKey::Generate(&random), other = SigningKey::Generate(&random);
  const std::string message = "round 3";
  const Ed25519Signature signature = key.Sign("lorikeet round", AsBytes(message));
  EXPECT_TRUE(VerifySignature(key.public_key(), "lorikeet round", AsBytes(message), signature));
  EXPECT_FALSE(VerifySignature(key.public_key(), "lorikeet roun", AsBytes("dround 3"), signature));
  EXPECT_FALSE(VerifySignature(key.public_key(), "lorikeet round", AsBytes("round 4"), signature));
  EXPECT_FALSE(VerifySignature(other.public_key(), "lorikeet round", AsBytes(message), signature));
  for (size_t bit = 0; bit < 512; ++bit) {
    Ed25519Signature bad = signature;
    bad[bit / 8] ^= 1 << (bit % 8);
    EXPECT_FALSE(VerifySignature(key.public_key(), "lorikeet round", AsBytes(message), bad));
  }
}

TEST(SignTest, KeyFileIsPrivateAndTyped) {
  SeededRandom random("sign", 2);
  const SigningKey key = SigningKey::Generate(&random);
  const std::string path = MakeTempDir("sign") + "/key";
  ASSERT_TRUE(key.WriteFile(path).ok());
  struct stat info;
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
  EXPECT_EQ(SigningKey::ReadFile(path)->public_key(), key.public_key());
  EXPECT_EQ(ReadSecretFile(path, "vault-key", 32).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(SigningKey::ReadFile(path + "x").status().code(), absl::StatusCode::kNotFound);
  ::chmod(path.c_str(), 0644);
  EXPECT_EQ(SigningKey::ReadFile(path).status().code(), absl::StatusCode::kPermissionDenied);
}

// RFC 7748, section 6.1.
TEST(KeyExchangeTest, Rfc7748Vector) {
  const auto alice = KeyExchangeKey::FromSecret(SecretBytes::CopyOf(
      Bytes("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")));
  const auto bob = KeyExchangeKey::FromSecret(SecretBytes::CopyOf(
      Bytes("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")));
  ASSERT_TRUE(alice.ok() && bob.ok());
  EXPECT_EQ(ToHex(alice->public_key()),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  EXPECT_EQ(ToHex(bob->public_key()),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const std::string shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
  EXPECT_EQ(HexOf(*alice->Agree(bob->public_key())), shared);
  EXPECT_EQ(HexOf(*bob->Agree(alice->public_key())), shared);
}

TEST(KeyExchangeTest, RefusesPointsOfSmallOrder) {
  SeededRandom random("x25519", 1);
  const KeyExchangeKey key = KeyExchangeKey::Generate(&random);
  X25519PublicKey peer = {};  // 0, then 1
  EXPECT_EQ(key.Agree(peer).status().code(), absl::StatusCode::kInvalidArgument);
  peer[0] = 1;
  EXPECT_EQ(key.Agree(peer).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(KeyExchangeKey::FromSecret(SecretBytes(33)).ok());
}

TEST(PasswordTest, KeyDependsOnEveryInput) {
  SeededRandom random("password", 1);
  PasswordParameters parameters = PasswordParameters::Fresh(&random);
  parameters.passes = 1;
  parameters.memory_bytes = 65536;
  const SecretBytes key = *DerivePasswordKey("correct horse", parameters);
  EXPECT_EQ(key.size_bytes(), 32u);
  const auto again = PasswordParameters::Decode(parameters.Encode());
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(key.ConstantTimeEquals(*DerivePasswordKey("correct horse", *again)));
  EXPECT_FALSE(key.ConstantTimeEquals(*DerivePasswordKey("correct hors", parameters)));
  parameters.salt[0] ^= 1;
  EXPECT_FALSE(key.ConstantTimeEquals(*DerivePasswordKey("correct horse", parameters)));
  EXPECT_EQ(DerivePasswordKey("", parameters).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PasswordTest, RefusesMalformedAndCostlyParameters) {
  PasswordParameters parameters;
  const std::string good = parameters.Encode();
  EXPECT_TRUE(PasswordParameters::Decode(good).ok());
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_FALSE(PasswordParameters::Decode(good.substr(0, size)).ok()) << size;
  }
  parameters.memory_bytes = uint64_t{1} << 40;
  EXPECT_FALSE(PasswordParameters::Decode(parameters.Encode()).ok());
  parameters = {};
  parameters.passes = 1000;
  EXPECT_FALSE(PasswordParameters::Decode(parameters.Encode()).ok());
}

}  // namespace
}  // namespace lorikeet
