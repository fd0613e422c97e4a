#include "common/adapter/catalog_signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/adapter/catalog.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/crypto/public_key_file.h"
#include "common/gguf/writer.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const absl::Time kIssued = absl::FromUnixSeconds(1'800'000'000);
const absl::Time kExpires = kIssued + absl::Hours(24 * 30);

SigningKey KeyOf(std::string_view name) {
  SeededRandom random(name, 1);
  return SigningKey::Generate(&random);
}

Catalog MakeCatalog(uint64_t version = 7, char base = 'a') {
  const std::string_view text[] = {"one small text, for the background of the style",
                                   "and another one; it has other words in it"};
  Catalog catalog;
  catalog.base_fingerprint = std::string(64, base);
  catalog.architecture = "llama";
  catalog.version = version;
  catalog.rank = 1;
  catalog.alpha = 2;
  AdapterMatrix matrix;
  matrix.target = {0, Module::kQ};
  matrix.rank = 1;
  matrix.in_features = 3;
  matrix.out_features = 2;
  matrix.a = {1, 0, 0};
  matrix.b = {0, 1};
  catalog.basis = {matrix};
  catalog.background = MakeStyleBackground(text);
  catalog.personas = {{.id = "plain",
                       .cores = {0.5f},
                       .card = MakeStyleCard(CountStyle(text), catalog.background)}};
  return catalog;
}

std::string Signed(const Catalog& catalog, absl::Time issued = kIssued,
                   absl::Time expires = kExpires, std::string_view who = "maker") {
  return SignCatalog(SerializeCatalog(catalog), KeyOf(who), issued, expires).value();
}

CatalogTrust Trust(absl::Time now = kIssued + absl::Hours(1)) {
  return {.key = KeyOf("maker").public_key(), .now = now};
}

std::string ErrorOf(std::string_view bytes, const CatalogTrust& trust = Trust()) {
  return VerifyCatalog(bytes, trust).status().ToString();
}

TEST(CatalogSignatureTest, SignedIsVerifiedAndTheSameCatalog) {
  const Catalog catalog = MakeCatalog();
  const std::string bytes = Signed(catalog);
  const auto verified = VerifyCatalog(bytes, Trust());
  ASSERT_TRUE(verified.ok()) << verified.status();
  EXPECT_EQ(CatalogHash(verified->catalog), CatalogHash(catalog));
  EXPECT_EQ(verified->signature.issued, kIssued);
  EXPECT_EQ(verified->signature.expires, kExpires);
  EXPECT_EQ(verified->signature.signer, KeyOf("maker").public_key());
  // Who asks for no key reads it as any other.
  EXPECT_EQ(CatalogHash(ParseCatalog(bytes).value()), CatalogHash(catalog));
}

TEST(CatalogSignatureTest, SignsTheWholeFileWithZerosForTheSignature) {
  // The definition, done by hand: what another program would have to do.
  std::string bytes = Signed(MakeCatalog());
  const auto file = GgufFile::Parse(AsBytes(bytes), "test").value();
  const std::string digits(file->GetString("lorikeet.catalog.signature").value());
  ASSERT_EQ(digits.size(), 128u);
  bytes.replace(bytes.find(digits), digits.size(), std::string(128, '0'));
  Ed25519Signature signature;
  const std::string raw = FromHex(digits).value();
  std::ranges::copy(AsBytes(raw), signature.begin());
  EXPECT_TRUE(VerifySignature(KeyOf("maker").public_key(), "lorikeet-catalog-v1", AsBytes(bytes),
                              signature));
}

TEST(CatalogSignatureTest, RefusesEveryFlippedBitAndEveryTruncation) {
  const std::string good = Signed(MakeCatalog());
  ASSERT_TRUE(VerifyCatalog(good, Trust()).ok());
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (i % 8)));
    EXPECT_FALSE(VerifyCatalog(bad, Trust()).ok()) << "byte " << i;
    EXPECT_FALSE(VerifyCatalog(good.substr(0, i), Trust()).ok()) << "first " << i;
  }
  EXPECT_FALSE(VerifyCatalog(good + '\0', Trust()).ok());
}

TEST(CatalogSignatureTest, RefusesAnotherSpellingOfTheDigits) {
  std::string bytes = Signed(MakeCatalog());
  const auto file = GgufFile::Parse(AsBytes(bytes), "test").value();
  const std::string digits(file->GetString("lorikeet.catalog.signature").value());
  std::string upper = digits;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  ASSERT_NE(upper, digits);
  bytes.replace(bytes.find(digits), digits.size(), upper);
  EXPECT_THAT(ErrorOf(bytes), HasSubstr("lower-case hex digits"));
}

TEST(CatalogSignatureTest, SaysWhatWasExpectedAndWhatCame) {
  const Catalog catalog = MakeCatalog();
  EXPECT_THAT(ErrorOf(SerializeCatalog(catalog)),
              AllOf(HasSubstr("PERMISSION_DENIED"), HasSubstr("found an unsigned catalog")));
  EXPECT_THAT(
      ErrorOf(Signed(catalog, kIssued, kExpires, "somebody else")),
      AllOf(HasSubstr("PERMISSION_DENIED"), HasSubstr(ToHex(KeyOf("somebody else").public_key())),
            HasSubstr(ToHex(KeyOf("maker").public_key()))));
  std::string altered = Signed(catalog);
  altered.back() = static_cast<char>(altered.back() ^ 1);
  EXPECT_THAT(ErrorOf(altered), HasSubstr("DATA_LOSS"));
  EXPECT_THAT(ErrorOf(Signed(catalog), Trust(kExpires)),
              AllOf(HasSubstr("FAILED_PRECONDITION"), HasSubstr("2027-02-14")));
  EXPECT_TRUE(VerifyCatalog(Signed(catalog), Trust(kExpires - absl::Seconds(1))).ok());
  EXPECT_THAT(ErrorOf(Signed(catalog), Trust(kIssued - absl::Hours(25))),
              HasSubstr("by this machine's clock"));
}

TEST(CatalogSignatureTest, ASignatureOfAReleaseOrRoundDoesNotPass) {
  std::string bytes = Signed(MakeCatalog());
  const auto file = GgufFile::Parse(AsBytes(bytes), "test").value();
  const std::string digits(file->GetString("lorikeet.catalog.signature").value());
  const size_t place = bytes.find(digits);
  bytes.replace(place, digits.size(), std::string(128, '0'));
  const auto other = KeyOf("maker").Sign("lorikeet-release-v1", AsBytes(bytes));
  bytes.replace(place, digits.size(), ToHex(other));
  EXPECT_THAT(ErrorOf(bytes), HasSubstr("DATA_LOSS"));
}

TEST(CatalogSignatureTest, WhatIsChangedIsUnsigned) {
  Catalog catalog = VerifyCatalog(Signed(MakeCatalog()), Trust())->catalog;
  const float delta[] = {1};
  ASSERT_TRUE(AddToPersona(&catalog, 0, delta).ok());
  const std::string path = MakeTempDir("catalog_signature") + "/catalog.gguf";
  ASSERT_TRUE(WriteCatalog(catalog, path).ok());
  const auto file = GgufFile::Open(path).value();
  EXPECT_FALSE(FindCatalogSignature(*file).value().has_value());
  for (const auto& [key, value] : file->metadata()) {
    EXPECT_NE(key, "lorikeet.catalog.expires");
    EXPECT_NE(key, "lorikeet.catalog.issued");
  }
}

TEST(CatalogSignatureTest, SigningAgainReplacesAndKeepsUnknownKeys) {
  // Keys of a later version of the program must survive being signed.
  const std::string first = Signed(MakeCatalog());
  const auto file = GgufFile::Parse(AsBytes(first), "test").value();
  GgufWriter writer;
  for (const auto& [key, value] : file->metadata()) writer.CopyMetadata(*file, key);
  writer.AddString("lorikeet.catalog.of_tomorrow", "kept");
  for (const GgufTensor& t : file->tensors()) writer.AddTensor(t.name, t.type, t.shape, t.data);
  const std::string again =
      SignCatalog(writer.Serialize(), KeyOf("maker"), kIssued, kExpires + absl::Hours(24)).value();
  const auto verified = VerifyCatalog(again, Trust(kExpires + absl::Hours(1)));
  ASSERT_TRUE(verified.ok()) << verified.status();
  const auto back = GgufFile::Parse(AsBytes(again), "test").value();
  EXPECT_EQ(back->GetString("lorikeet.catalog.of_tomorrow").value(), "kept");
}

TEST(CatalogSignatureTest, RefusesToSignWhatIsNoCatalogOrNeverValid) {
  EXPECT_FALSE(SignCatalog("text", KeyOf("maker"), kIssued, kExpires).ok());
  const std::string bytes = SerializeCatalog(MakeCatalog());
  EXPECT_FALSE(SignCatalog(bytes, KeyOf("maker"), kIssued, kIssued).ok());
  EXPECT_FALSE(SignCatalog(bytes, KeyOf("maker"), kIssued, absl::InfiniteFuture()).ok());
}

class CatalogInstallTest : public ::testing::Test {
 protected:
  void SetUp() override {
    current_bytes_ = Signed(MakeCatalog());
    ASSERT_TRUE(WriteFileAtomic(current_, current_bytes_).ok());
  }
  // The error of installing `bytes`; the present file is checked to be what it was.
  std::string Refused(const std::string& bytes, const CatalogTrust& trust = Trust()) {
    EXPECT_TRUE(WriteFileAtomic(next_, bytes).ok());
    const auto installed = InstallCatalog(next_, current_, trust);
    EXPECT_FALSE(installed.ok());
    EXPECT_EQ(ReadFile(current_).value(), current_bytes_);
    return installed.status().ToString();
  }

  const std::string directory_ = MakeTempDir("catalog_install");
  const std::string current_ = directory_ + "/current.gguf", next_ = directory_ + "/next.gguf";
  std::string current_bytes_;
};

TEST_F(CatalogInstallTest, TakesANewerOne) {
  const std::string next = Signed(MakeCatalog(8), kIssued + absl::Hours(1));
  ASSERT_TRUE(WriteFileAtomic(next_, next).ok());
  const auto installed = InstallCatalog(next_, current_, Trust(kIssued + absl::Hours(2)));
  ASSERT_TRUE(installed.ok()) << installed.status();
  EXPECT_EQ(installed->catalog.version, 8u);
  EXPECT_EQ(ReadFile(current_).value(), next);
}

TEST_F(CatalogInstallTest, TakesTheSameVersionSignedAgainEvenOverAnExpiredOne) {
  const std::string next = Signed(MakeCatalog(), kExpires, kExpires + absl::Hours(24));
  ASSERT_TRUE(WriteFileAtomic(next_, next).ok());
  ASSERT_TRUE(InstallCatalog(next_, current_, Trust(kExpires + absl::Hours(1))).ok());
  EXPECT_EQ(ReadFile(current_).value(), next);
}

TEST_F(CatalogInstallTest, KeepsTheOldOneFromAnythingWrong) {
  EXPECT_THAT(Refused(SerializeCatalog(MakeCatalog(8))), HasSubstr("unsigned"));
  EXPECT_THAT(Refused(Signed(MakeCatalog(8), kIssued, kExpires, "somebody else")),
              HasSubstr("PERMISSION_DENIED"));
  std::string altered = Signed(MakeCatalog(8));
  altered.back() = static_cast<char>(altered.back() ^ 1);
  EXPECT_THAT(Refused(altered), HasSubstr("DATA_LOSS"));
  EXPECT_THAT(Refused(altered.substr(0, altered.size() / 2)), HasSubstr("next.gguf"));
  EXPECT_THAT(Refused(Signed(MakeCatalog(8)), Trust(kExpires)), HasSubstr("valid on"));
  EXPECT_THAT(Refused(Signed(MakeCatalog(8, 'b'))),
              AllOf(HasSubstr(std::string(64, 'a')), HasSubstr(std::string(64, 'b'))));
  EXPECT_THAT(Refused(Signed(MakeCatalog(6))),
              AllOf(HasSubstr("version 7"), HasSubstr("version 6")));
  EXPECT_THAT(Refused(Signed(MakeCatalog(), kIssued - absl::Hours(1))), HasSubstr("issued on"));
  EXPECT_THAT(Refused(""), HasSubstr("next.gguf"));
}

TEST_F(CatalogInstallTest, NeedsACatalogInUse) {
  ASSERT_TRUE(WriteFileAtomic(next_, Signed(MakeCatalog(8))).ok());
  EXPECT_EQ(InstallCatalog(next_, directory_ + "/none.gguf", Trust()).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(FileExists(directory_ + "/none.gguf"));
}

TEST(PublicKeyFileTest, RoundTripAndErrors) {
  const std::string path = MakeTempDir("public_key") + "/key.pub";
  const Ed25519PublicKey key = KeyOf("maker").public_key();
  ASSERT_TRUE(WritePublicKey(key, path).ok());
  EXPECT_EQ(ReadPublicKey(path).value(), key);
  ASSERT_TRUE(WriteFileAtomic(path, ToHex(key) + "0").ok());
  EXPECT_THAT(ReadPublicKey(path).status().ToString(), HasSubstr("expected a public key"));
  EXPECT_FALSE(ReadPublicKey(path + ".none").ok());
}

}  // namespace
}  // namespace lorikeet
