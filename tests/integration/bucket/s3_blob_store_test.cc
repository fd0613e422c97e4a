// S3BlobStore against a server that speaks S3: run_with_s3rver starts it.
#include "coordinator/distribution/s3_blob_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/base/strings.h"
#include "tests/support/command.h"
#include "tests/support/shared_data.h"
#include "tests/support/tiny_model.h"

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

std::string RandomBytes(size_t count) {
  Rng rng(1);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(rng.Below(256));
  return bytes;
}

class S3BlobStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* endpoint = std::getenv("LORIKEET_TEST_S3");
    if (endpoint == nullptr)
      GTEST_SKIP() << "tests/integration/bucket/run_with_s3rver starts the server";
    options_.endpoint = endpoint;
    options_.bucket = "lorikeet-test";
    options_.prefix = "releases/of the fleet";
    options_.credentials = {"S3RVER", "S3RVER", ""};
    store_ = S3BlobStore::Create(options_, &clock_).value();
  }

  SystemClock clock_;
  S3Options options_;
  std::unique_ptr<S3BlobStore> store_;
};

TEST_F(S3BlobStoreTest, KeepsAndReadsSmallBlobs) {
  const std::string bytes = RandomBytes(5000);
  const auto hash = store_->Put(bytes);
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(*hash, Blake2b(AsBytes(bytes)));
  EXPECT_EQ(store_->SizeOf(*hash).value(), 5000u);
  EXPECT_TRUE(store_->Get(*hash).value() == bytes);
  EXPECT_TRUE(store_->Put(bytes).ok()) << "again";
  // Ranges; another object has nothing cached.
  const auto fresh = S3BlobStore::Create(options_, &clock_).value();
  const auto piece = fresh->Read({.file_hash = *hash, .offset = 4990, .length = 100});
  ASSERT_TRUE(piece.ok()) << piece.status();
  EXPECT_EQ(piece->data, bytes.substr(4990));
  EXPECT_EQ(piece->file_bytes, 5000u);
  EXPECT_EQ(fresh->Read({.file_hash = *hash, .offset = 5000, .length = 1})->data, "");
  EXPECT_TRUE(
      absl::IsOutOfRange(fresh->Read({.file_hash = *hash, .offset = 5001, .length = 1}).status()));
  EXPECT_TRUE(absl::IsOutOfRange(
      fresh->Read({.file_hash = *hash, .offset = 7 << 20, .length = 1}).status()));
}

TEST_F(S3BlobStoreTest, WhatIsNotThereIsNotFound) {
  const Hash256 nothing = Blake2b(AsBytes("nothing"));
  EXPECT_EQ(store_->SizeOf(nothing).value(), std::nullopt);
  EXPECT_TRUE(absl::IsNotFound(store_->Get(nothing).status()));
  EXPECT_TRUE(
      absl::IsNotFound(store_->Read({.file_hash = nothing, .offset = 0, .length = 1}).status()));
}

TEST_F(S3BlobStoreTest, LargeFilesGoInPartsAndComeBackWhole) {
  const std::string dir = MakeTempDir("bucket");
  const std::string bytes = RandomBytes((17 << 20) + 3);
  ASSERT_TRUE(WriteFileAtomic(dir + "/large", bytes).ok());
  const auto hash = store_->PutFile(dir + "/large");
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(*hash, Blake2b(AsBytes(bytes)));
  EXPECT_EQ(store_->SizeOf(*hash).value(), bytes.size());
  ASSERT_TRUE(CopyBlob(store_.get(), *hash, dir + "/back").ok());
  EXPECT_TRUE(ReadFile(dir + "/back").value() == bytes);
  // Across two windows, and small ones are one PUT.
  const auto piece = store_->Read({.file_hash = *hash, .offset = (1 << 20) - 5, .length = 10});
  EXPECT_EQ(piece->data, bytes.substr((1 << 20) - 5, 10));
  ASSERT_TRUE(WriteFileAtomic(dir + "/small", "small").ok());
  EXPECT_EQ(store_->Get(store_->PutFile(dir + "/small").value()).value(), "small");
}

TEST_F(S3BlobStoreTest, ErrorsNameTheBucket) {
  options_.bucket = "no-such-bucket";
  const auto other = S3BlobStore::Create(options_, &clock_).value();
  const absl::Status missing = other->Put("bytes").status();
  EXPECT_TRUE(absl::IsFailedPrecondition(missing)) << missing;
  EXPECT_THAT(std::string(Message(missing)), HasSubstr("bucket no-such-bucket"));
  EXPECT_THAT(std::string(Message(missing)), HasSubstr("404"));
  options_.credentials.access_key_id = "SOMEBODY";
  options_.bucket = "lorikeet-test";
  const absl::Status refused = S3BlobStore::Create(options_, &clock_).value()->Put("x").status();
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
}

// The program, with a bucket in its config: two bases, the second with a delta from the first.
TEST_F(S3BlobStoreTest, TheCoordinatorPublishesIntoIt) {
  const std::string dir = MakeTempDir("bucket-coordinator") + "/fleet";
  const std::string program = std::string(LORIKEET_BIN_DIR) + "/lorikeet-coordinator";
  if (!FileExists(program)) GTEST_SKIP() << program << " is not built";
  ASSERT_EQ(RunCommand(program + " init " + dir).code, 0);
  const std::string config = dir + "/coordinator.toml";
  const std::string text = ReadFile(config).value();
  ASSERT_TRUE(WriteFileAtomic(config, "blobs = \"s3://lorikeet-test/program\"\n" + text +
                                          "\n[s3]\nendpoint = \"" + options_.endpoint + "\"\n")
                  .ok());
  const std::string secrets = "access_key_id = \"S3RVER\"\nsecret_access_key = \"S3RVER\"\n";
  const std::string publish =
      "env -u AWS_ACCESS_KEY_ID " + program + " publish --config " + config + " base ";
  CommandOutcome done = RunCommand(publish + WriteTinyModel());
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, HasSubstr("s3.credentials"));
  ASSERT_TRUE(WriteFileAtomic(dir + "/s3.credentials", secrets, 0644).ok());
  done = RunCommand(publish + WriteTinyModel());
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, HasSubstr("mode 600"));
  ASSERT_TRUE(WriteFileAtomic(dir + "/s3.credentials", secrets, 0600).ok());
  done = RunCommand(publish + WriteTinyModel());
  ASSERT_EQ(done.code, 0) << done.err;
  TinyModelOptions second;
  second.seed = 2;
  done = RunCommand(publish + WriteTinyModel(second) + " --out " + dir + "/r");
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_TRUE(ReadFile(dir + "/r/base.gguf").value() == TinyModelBytes(second));
}

}  // namespace
}  // namespace lorikeet
