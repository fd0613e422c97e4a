#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "common/delta/apply_delta.h"
#include "common/gguf/writer.h"
#include "coordinator/distribution/directory_blob_store.h"
#include "coordinator/distribution/publisher.h"
#include "coordinator/storage/open_store.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

TEST(DirectoryBlobStoreTest, KeepsFilesByTheirHash) {
  const std::string dir = MakeTempDir("blobs");
  const auto blobs = DirectoryBlobStore::Open(dir + "/releases").value();
  const std::string bytes((5 << 20) + 1, 'b');
  ASSERT_TRUE(WriteFileAtomic(dir + "/file", bytes).ok());
  const Hash256 hash = blobs->PutFile(dir + "/file").value();
  EXPECT_EQ(hash, Blake2b(AsBytes(bytes)));
  EXPECT_EQ(blobs->Put(bytes).value(), hash) << "the same again";
  EXPECT_TRUE(blobs->Get(hash).value() == bytes);
  EXPECT_EQ(ReadFile(*blobs->LocalPath(hash)).value().size(), bytes.size());
  ASSERT_TRUE(CopyBlob(blobs.get(), hash, dir + "/copy").ok());
  EXPECT_TRUE(ReadFile(dir + "/copy").value() == bytes);
  EXPECT_TRUE(absl::IsNotFound(CopyBlob(blobs.get(), Hash256{}, dir + "/none")));
  EXPECT_FALSE(FileExists(dir + "/none"));
  EXPECT_EQ(blobs->LocalPath(Hash256{}), std::nullopt);
}

TEST(DirectoryBlobStoreTest, AnAlteredBlobIsNotCopied) {
  const std::string dir = MakeTempDir("altered");
  const auto blobs = DirectoryBlobStore::Open(dir).value();
  const Hash256 hash = blobs->Put("as it was").value();
  ASSERT_TRUE(WriteFileAtomic(*blobs->LocalPath(hash), "otherwise").ok());
  EXPECT_TRUE(absl::IsDataLoss(CopyBlob(blobs.get(), hash, dir + "/copy")));
  EXPECT_FALSE(FileExists(dir + "/copy"));
}

class PublishedDeltaTest : public testing::TestWithParam<bool> {
 protected:
  PublishedDeltaTest() : random_("publisher", 1), key_(SigningKey::Generate(&random_)) {
    if (GetParam()) {
      blobs_ = DirectoryBlobStore::Open(dir_ + "/releases").value();
    } else {
      blobs_ = std::make_unique<MemoryBlobStore>();  // has no files of its own, as a bucket
    }
    store_ = OpenStore(dir_ + "/store.sqlite", true).value();
  }
  Manifest Publish(const TinyModelOptions& model) { return Publish(WriteTinyModel(model)); }
  Manifest Publish(const std::string& path) {
    Publisher publisher({.store = store_.get(),
                         .blobs = blobs_.get(),
                         .key = &key_,
                         .clock = &clock_,
                         .scratch = dir_});
    const auto release = publisher.PublishBase(path, "model");
    EXPECT_TRUE(release.ok()) << release.status();
    return ParseManifest(release->manifest.manifest).value();
  }

  const std::string dir_ = MakeTempDir("publisher");
  SystemClock clock_;
  SeededRandom random_;
  SigningKey key_;
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<Store> store_;
};

TEST_P(PublishedDeltaTest, ANewBaseComesWithADeltaFromTheNewest) {
  TinyModelOptions model;
  EXPECT_TRUE(Publish(model).deltas.empty()) << "the first";
  const std::string old_file = TinyModelBytes(model);
  // More layers: what both have is not sent again.
  model.layers = 3;
  const Manifest manifest = Publish(model);
  const ManifestDelta* delta = manifest.DeltaFrom(Blake2b(AsBytes(old_file)));
  ASSERT_NE(delta, nullptr);
  EXPECT_LT(delta->file.bytes, manifest.files[0].bytes * 9 / 10);
  EXPECT_FALSE(manifest.files[0].chunk_lengths.empty());
  const std::string delta_bytes = blobs_->Get(delta->file.hash).value();
  std::string made;
  ASSERT_TRUE(ApplyDelta(MemorySource(AsBytes(old_file)), MemorySource(AsBytes(delta_bytes)),
                         {manifest.files[0].bytes, manifest.files[0].hash},
                         [&](std::span<const uint8_t> piece) {
                           made += AsChars(piece);
                           return absl::OkStatus();
                         })
                  .ok());
  EXPECT_TRUE(made == TinyModelBytes(model));
}

// Weights that nothing foretells.
TEST_P(PublishedDeltaTest, ADeltaThatSavesNothingIsLeftOut) {
  for (const uint64_t seed : {1, 2}) {
    Rng rng(seed);
    std::vector<uint8_t> weights(32 * 34 * 100);
    for (uint8_t& byte : weights) byte = static_cast<uint8_t>(rng.Below(256));
    GgufWriter writer;
    writer.AddTensor("weights", TensorType::kQ8_0, {1024, 100}, weights);
    const std::string path = dir_ + "/random.gguf";
    ASSERT_TRUE(writer.Write(path).ok());
    EXPECT_TRUE(Publish(path).deltas.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(Blobs, PublishedDeltaTest, testing::Bool(),
                         [](const auto& one) { return one.param ? "Directory" : "Memory"; });

}  // namespace
}  // namespace lorikeet
