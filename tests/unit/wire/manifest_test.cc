#include "common/wire/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/gguf/writer.h"
#include "common/wire/tensor_chunks.h"
#include "tests/support/shared_data.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

class ManifestTest : public testing::Test {
 protected:
  ManifestTest() : random_("manifest", 1), key_(SigningKey::Generate(&random_)) {
    content_.resize(kChunkBytes + 10);
    for (size_t i = 0; i < content_.size(); ++i) content_[i] = static_cast<char>(i * 7);
    manifest_.kind = ReleaseKind::kCatalog;
    manifest_.name = "voices";
    manifest_.version = 5;
    manifest_.base_fingerprint = std::string(64, 'a');
    manifest_.created = absl::FromUnixSeconds(1000);
    manifest_.expires = absl::FromUnixSeconds(2000);
    manifest_.parent = std::string(64, 'c');
    manifest_.files = {DescribeFile("catalog.gguf", AsBytes(content_))};
    expectation_.pinned_key = key_.public_key();
    expectation_.base_fingerprint = manifest_.base_fingerprint;
    expectation_.min_version = 5;
    expectation_.now = absl::FromUnixSeconds(1500);
  }

  absl::Status Verify() const {
    return VerifyManifest(SignManifest(manifest_, key_), expectation_).status();
  }

  SeededRandom random_;
  SigningKey key_;
  std::string content_;
  Manifest manifest_;
  ManifestExpectation expectation_;
};

TEST_F(ManifestTest, ComesBack) {
  const auto got = VerifyManifest(SignManifest(manifest_, key_), expectation_);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->name, "voices");
  EXPECT_EQ(got->version, 5u);
  EXPECT_EQ(got->created, manifest_.created);
  EXPECT_EQ(got->expires, manifest_.expires);
  EXPECT_EQ(got->parent, manifest_.parent);
  ASSERT_EQ(got->files.size(), 1u);
  EXPECT_EQ(got->files[0].chunks.size(), 2u);
  EXPECT_EQ(got->files[0].chunks, manifest_.files[0].chunks);
}

TEST_F(ManifestTest, RefusesRollback) {
  expectation_.min_version = 6;
  EXPECT_EQ(Verify().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Message(Verify())), HasSubstr("expected version 6 or newer, got 5"));
}

TEST_F(ManifestTest, RefusesExpired) {
  expectation_.now = manifest_.expires;
  EXPECT_EQ(Verify().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(Message(Verify())), HasSubstr("expiry 1970-01-01T00:33:20"));
}

TEST_F(ManifestTest, RefusesAnotherKindBaseOrKey) {
  expectation_.kind = ReleaseKind::kBase;
  EXPECT_EQ(Verify().code(), absl::StatusCode::kFailedPrecondition);
  expectation_.kind = ReleaseKind::kCatalog;
  expectation_.base_fingerprint = std::string(64, 'b');
  EXPECT_EQ(Verify().code(), absl::StatusCode::kFailedPrecondition);
  expectation_.pinned_key = SigningKey::Generate(&random_).public_key();
  EXPECT_EQ(Verify().code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(ManifestTest, RefusesAnAlteredManifest) {
  SignedManifest signed_manifest = SignManifest(manifest_, key_);
  signed_manifest.manifest[signed_manifest.manifest.find("voices")] = 'V';
  EXPECT_EQ(VerifyManifest(signed_manifest, expectation_).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(ManifestTest, ParserRefusesHostileFields) {
  struct Case {
    const char* pointer;
    nlohmann::json value;
  };
  const Case cases[] = {{"/format", "lorikeet-release-9"},
                        {"/kind", "adapter"},
                        {"/version", -1},
                        {"/base_fingerprint", "xyz"},
                        {"/created", "yesterday"},
                        {"/files", nlohmann::json::array()},
                        {"/files/0/name", "../evil"},
                        {"/files/0/name", "manifest.json"},
                        {"/files/0/bytes", 1},
                        {"/files/0/bytes", UINT64_MAX},
                        {"/files/0/chunk_bytes", 0},
                        {"/files/0/chunks/0", 7}};
  for (const Case& c : cases) {
    nlohmann::json document = nlohmann::json::parse(SerializeManifest(manifest_));
    document[nlohmann::json::json_pointer(c.pointer)] = c.value;
    EXPECT_EQ(ParseManifest(document.dump()).status().code(), absl::StatusCode::kInvalidArgument)
        << c.pointer << " " << c.value;
  }
  EXPECT_FALSE(ParseManifest("{").ok());
  EXPECT_FALSE(ParseManifest("[]").ok());
}

TEST_F(ManifestTest, ChunksAreVerifiedOneByOne) {
  const ManifestFile& file = manifest_.files[0];
  const auto bytes = AsBytes(content_);
  EXPECT_TRUE(VerifyFileChunk(file, 0, bytes.first(kChunkBytes)).ok());
  EXPECT_TRUE(VerifyFileChunk(file, 1, bytes.subspan(kChunkBytes)).ok());
  EXPECT_EQ(VerifyFileChunk(file, 1, bytes.last(9)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(VerifyFileChunk(file, 1, bytes.subspan(1, 10)).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(VerifyFileChunk(file, 2, bytes.first(10)).code(), absl::StatusCode::kOutOfRange);
}

// A large tensor has chunks of its own, small neighbours share one, and so does the head.
TEST_F(ManifestTest, ChunksBeginWhereTensorsBegin) {
  GgufWriter writer;
  writer.AddString("general.name", "chunks");
  const std::vector<float> small(64, 1), large(700, 2);
  writer.AddTensor("a.small", {64}, small);
  writer.AddTensor("b.large", {700}, large);
  writer.AddTensor("c.small", {64}, small);
  writer.AddTensor("d.small", {64}, small);
  const std::string path = MakeTempDir("chunks") + "/model.gguf";
  ASSERT_TRUE(writer.Write(path).ok());
  const uint32_t head = static_cast<uint32_t>(writer.SerializeHead().size());
  const auto lengths = TensorChunkLengths(path, 1024);
  ASSERT_TRUE(lengths.ok()) << lengths.status();
  EXPECT_THAT(*lengths, testing::ElementsAre(head, 256, 1024, 1024, 768, 512));
  const auto source = FileSource::Open(path);
  manifest_.files = {*DescribeFile("model.gguf", **source, *lengths)};
  const auto parsed = ParseManifest(SerializeManifest(manifest_));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->files[0].chunk_lengths, *lengths);
  EXPECT_EQ(parsed->files[0].ChunkOffsets().back(), manifest_.files[0].bytes);
  const std::string content = *ReadFile(path);
  EXPECT_TRUE(VerifyFileChunk(parsed->files[0], 1, AsBytes(content).subspan(head, 256)).ok());
  EXPECT_TRUE(VerifyFile(parsed->files[0], **source).ok());
  for (const nlohmann::json& bad :
       {nlohmann::json({head, 256, 1024, 1024, 768, 511}), nlohmann::json({head, 256, 1024, 1024}),
        nlohmann::json({head, 256, 2048, 0, 768, 512}), nlohmann::json("all"),
        nlohmann::json({head, 256, -1, 1024, 768, 512})}) {
    nlohmann::json document = nlohmann::json::parse(SerializeManifest(manifest_));
    document["files"][0]["chunk_lengths"] = bad;
    EXPECT_EQ(ParseManifest(document.dump()).status().code(), absl::StatusCode::kInvalidArgument)
        << bad;
  }
}

TEST_F(ManifestTest, DeltasLeadToItsFile) {
  const ManifestFile delta = DescribeFile("model.delta", AsBytes("difference"));
  manifest_.deltas = {{.from = Hash256{1}, .to = manifest_.files[0].hash, .file = delta}};
  const auto parsed = ParseManifest(SerializeManifest(manifest_));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  ASSERT_NE(parsed->DeltaFrom(Hash256{1}), nullptr);
  EXPECT_EQ(parsed->DeltaFrom(Hash256{1})->file.hash, delta.hash);
  EXPECT_EQ(parsed->DeltaFrom(Hash256{2}), nullptr);
  manifest_.deltas[0].to = Hash256{9};
  EXPECT_EQ(ParseManifest(SerializeManifest(manifest_)).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ManifestTest, ReleaseDirectoryIsVerifiedWithItsFiles) {
  const std::string directory = MakeTempDir("release");
  ASSERT_TRUE(WriteReleaseDir(directory, SignManifest(manifest_, key_)).ok());
  EXPECT_EQ(VerifyReleaseDir(directory, expectation_).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomic(directory + "/catalog.gguf", content_).ok());
  EXPECT_TRUE(VerifyReleaseDir(directory, expectation_).ok());
  content_[3] ^= 1;
  ASSERT_TRUE(WriteFileAtomic(directory + "/catalog.gguf", content_).ok());
  EXPECT_EQ(VerifyReleaseDir(directory, expectation_).status().code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(WriteFileAtomic(directory + "/manifest.sig", "{}").ok());
  EXPECT_EQ(VerifyReleaseDir(directory, expectation_).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace lorikeet
