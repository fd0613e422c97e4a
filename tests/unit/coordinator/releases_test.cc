#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/strings.h"
#include "common/wire/manifest.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

TEST(ReleasesTest, ADeviceFetchesAndVerifiesABaseInPieces) {
  TestFleet fleet;
  const auto signed_manifest =
      fleet.service().GetRelease("device-0", {.kind = ReleaseKind::kBase, .base_fingerprint = ""});
  ASSERT_TRUE(signed_manifest.ok()) << signed_manifest.status();
  ManifestExpectation expectation;
  expectation.pinned_key = fleet.key().public_key();
  expectation.kind = ReleaseKind::kBase;
  expectation.now = fleet.clock().Now();
  const auto manifest = VerifyManifest(*signed_manifest, expectation);
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->base_fingerprint, fleet.base());
  const ManifestFile& file = manifest->files[0];
  std::string bytes;
  while (bytes.size() < file.bytes) {
    const auto piece = fleet.service().FetchChunk(
        "device-0", {.file_hash = file.hash, .offset = bytes.size(), .length = 7});
    ASSERT_TRUE(piece.ok()) << piece.status();
    EXPECT_EQ(piece->file_bytes, file.bytes);
    bytes += piece->data;
  }
  EXPECT_TRUE(VerifyFile(file, AsBytes(bytes)).ok());
  EXPECT_EQ(
      fleet.service()
          .FetchChunk("device-0", {.file_hash = file.hash, .offset = file.bytes + 1, .length = 1})
          .status()
          .code(),
      absl::StatusCode::kOutOfRange);
  EXPECT_EQ(fleet.service()
                .FetchChunk("device-0", {.file_hash = {}, .offset = 0, .length = 1})
                .status()
                .code(),
            absl::StatusCode::kNotFound);
}

TEST(ReleasesTest, ManifestsOfReleasesExpire) {
  TestFleet fleet;
  const auto signed_manifest = fleet.service().GetRelease(
      "device-0", {.kind = ReleaseKind::kCatalog, .base_fingerprint = fleet.base()});
  ASSERT_TRUE(signed_manifest.ok()) << signed_manifest.status();
  ManifestExpectation expectation;
  expectation.pinned_key = fleet.key().public_key();
  expectation.base_fingerprint = fleet.base();
  expectation.now = fleet.clock().Now() + absl::Hours(24 * 89);
  EXPECT_TRUE(VerifyManifest(*signed_manifest, expectation).ok());
  expectation.now = fleet.clock().Now() + absl::Hours(24 * 91);
  EXPECT_EQ(VerifyManifest(*signed_manifest, expectation).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(ReleasesTest, PublisherRefusesRollbacksStrangersAndRepetitions) {
  TestFleet fleet;
  const std::string path = fleet.directory() + "/next.gguf";
  ASSERT_TRUE(WriteCatalog(TinyCatalog(fleet.base(), 1), path).ok());
  EXPECT_THAT(std::string(Message(fleet.publisher().PublishCatalog(path, "x").status())),
              HasSubstr("expected a version above 1 (published), got 1"));
  ASSERT_TRUE(WriteCatalog(TinyCatalog(std::string(64, 'f'), 2), path).ok());
  EXPECT_EQ(fleet.publisher().PublishCatalog(path, "x").status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(fleet.publisher().PublishBase(path, "x").status().code(),
            absl::StatusCode::kInvalidArgument);  // a catalog is no base
  EXPECT_EQ(fleet.publisher().PublishBase(WriteTinyBase(fleet.directory(), 1), "x").status().code(),
            absl::StatusCode::kAlreadyExists);
  const auto second = fleet.publisher().PublishBase(WriteTinyBase(fleet.directory(), 2), "x");
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(second->version, 2u);
  EXPECT_EQ(fleet.publisher().PublishCatalog(fleet.directory() + "/none", "x").status().code(),
            absl::StatusCode::kNotFound);
}

TEST(ReleasesTest, AlteredReleaseBytesAreNoticed) {
  TestFleet fleet;
  const auto release = fleet.store().LatestRelease(ReleaseKind::kCatalog, fleet.base());
  const auto hash = ReleaseFileHash(**release);
  ASSERT_TRUE(hash.ok());
  const std::string path = absl::StrCat(fleet.directory(), "/releases/", *hash);
  std::string bytes = *ReadFile(path);
  bytes.back() ^= 1;
  ASSERT_TRUE(WriteFileAtomic(path, bytes).ok());
  EXPECT_EQ(LoadCatalog(**release, &fleet.blobs()).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace lorikeet
