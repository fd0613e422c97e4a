// Documents and their bytes: one sequence of bytes each, nothing else is read.
#include "common/trust/metadata.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/unit/trust/trust_repository.h"

namespace lorikeet {
namespace {

TEST(TrustMetadataTest, TheBytesAreAsDocumented) {
  TimestampMetadata timestamp;
  timestamp.version = 7;
  timestamp.signed_at = absl::FromUnixSeconds(0);
  timestamp.expires = absl::FromUnixSeconds(86400);
  timestamp.snapshot = {.version = 3, .length = 12, .hash = {}};
  EXPECT_EQ(SerializeTimestamp(timestamp),
            "{\"expires\":\"1970-01-02T00:00:00Z\",\"format\":\"lorikeet-trust-1\",\"role\":"
            "\"timestamp\",\"signed\":\"1970-01-01T00:00:00Z\",\"snapshot\":{\"hash\":\"" +
                std::string(64, '0') + "\",\"length\":12,\"version\":3},\"version\":7}");
}

TEST(TrustMetadataTest, EveryDocumentComesBack) {
  TrustRepository repository;
  const TrustUpdate update = repository.Publish();
  const auto root = ParseRoot(SerializeRoot(repository.root));
  ASSERT_TRUE(root.ok()) << root.status();
  EXPECT_EQ(root->roles, repository.root.roles);
  EXPECT_EQ(root->expires, repository.root.expires);
  const auto timestamp = ParseTimestamp(update.timestamp->bytes);
  ASSERT_TRUE(timestamp.ok()) << timestamp.status();
  EXPECT_EQ(timestamp->snapshot, repository.timestamp.snapshot);
  EXPECT_EQ(timestamp->signed_at, TrustEpoch());
  const auto snapshot = ParseSnapshot(update.snapshot->bytes);
  ASSERT_TRUE(snapshot.ok()) << snapshot.status();
  EXPECT_EQ(snapshot->targets, repository.snapshot.targets);
  const auto targets = ParseTargets(update.targets->bytes);
  ASSERT_TRUE(targets.ok()) << targets.status();
  EXPECT_EQ(targets->targets, repository.targets.targets);
}

// Every single changed, added or removed byte makes another document or none.
TEST(TrustMetadataTest, NoTwoTextsAreTheSameDocument) {
  TrustRepository repository;
  const std::string bytes = repository.Publish().timestamp->bytes;
  for (size_t i = 0; i <= bytes.size(); ++i) {
    const std::string longer = bytes.substr(0, i) + " " + bytes.substr(i);
    EXPECT_FALSE(ParseTimestamp(longer).ok()) << i;
    if (i < bytes.size()) {
      EXPECT_FALSE(ParseTimestamp(bytes.substr(0, i)).ok()) << i;
      std::string upper = bytes;
      upper[i] = static_cast<char>(std::toupper(static_cast<unsigned char>(upper[i])));
      EXPECT_EQ(ParseTimestamp(upper).ok(), upper == bytes) << i;
    }
  }
}

TEST(TrustMetadataTest, RejectsAnotherRolesDocument) {
  TrustRepository repository;
  const TrustUpdate update = repository.Publish();
  const absl::Status status = ParseTimestamp(update.snapshot->bytes).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_NE(Message(status).find("expected the role timestamp"), std::string::npos) << status;
}

TEST(TrustMetadataTest, RejectsRootsThatDecideNothing) {
  const auto refused = [](const RootMetadata& root, std::string_view why) {
    const absl::Status status = ParseRoot(SerializeRoot(root)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_NE(Message(status).find(why), std::string::npos) << status;
  };
  RootMetadata root = TrustRepository().root;
  root.role(TrustRole::kRoot).threshold = 0;
  refused(root, "\"threshold\" between 1 and 3");
  root = TrustRepository().root;
  root.role(TrustRole::kTargets).threshold = 2;
  refused(root, "\"threshold\" between 1 and 1");
  root = TrustRepository().root;
  root.role(TrustRole::kLog).keys.clear();
  refused(root, "1 to 16 keys of log");
  root = TrustRepository().root;
  root.role(TrustRole::kRoot).keys[1] = root.role(TrustRole::kRoot).keys[0];
  refused(root, "different keys of root");
  root = TrustRepository().root;
  root.version = 0;
  refused(root, "\"version\"");
}

TEST(TrustMetadataTest, RejectsTimesWithoutAnEnd) {
  TrustRepository repository;
  repository.targets.expires = absl::InfiniteFuture();
  const absl::Status status = ParseTargets(SerializeTargets(repository.targets)).status();
  EXPECT_NE(Message(status).find("an RFC 3339 time \"expires\""), std::string::npos) << status;
}

TEST(TrustMetadataTest, RejectsTargetNamesThatAreNoPlainPaths) {
  TrustRepository repository;
  const std::vector<std::string> names = {"", "a b", "a\nb", "a\"", std::string(257, 'a')};
  for (const std::string& name : names) {
    TargetsMetadata targets = repository.targets;
    targets.targets[name] = {};
    EXPECT_FALSE(ParseTargets(SerializeTargets(targets)).ok()) << name;
  }
}

TEST(TrustMetadataTest, NestingDoesNotUseUpTheStack) {
  const std::string deep(1 << 19, '[');
  EXPECT_TRUE(absl::IsInvalidArgument(ParseTargets(deep).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ParseTargets("{\"targets\":" + deep + std::string(1 << 18, ']')).status()));
}

TEST(TrustMetadataTest, FilesOfSignedDocumentsComeBack) {
  TrustRepository repository;
  const SignedMetadata root = repository.SignedRoot();
  const auto back = ParseSigned(SerializeSigned(root));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, root);
  EXPECT_TRUE(absl::IsInvalidArgument(ParseSigned("{}").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      ParseSigned("{\"signatures\":[{\"key\":\"00\"}],\"signed\":\"x\"}").status()));
  EXPECT_TRUE(absl::IsResourceExhausted(ParseSigned(std::string(3 << 20, ' ')).status()));
}

TEST(TrustMetadataTest, SigningAgainReplacesASignature) {
  TrustRepository repository;
  SignedMetadata root = repository.SignedRoot();
  AddSignature(TrustRole::kRoot, *repository.keys[TrustRole::kRoot][0], &root);
  EXPECT_EQ(root.signatures.size(), 3u);
  EXPECT_EQ(CountSignatures(TrustRole::kRoot, root, repository.root.role(TrustRole::kRoot)), 3u);
}

// A signature by the same key over the same bytes, for another purpose.
TEST(TrustMetadataTest, SignaturesOfAnotherRoleDoNotCount) {
  TrustRepository repository;
  const auto& keys = repository.keys[TrustRole::kTargets];
  const auto document =
      TrustRepository::Sign(TrustRole::kSnapshot, SerializeTargets(repository.targets), keys);
  EXPECT_EQ(
      CountSignatures(TrustRole::kTargets, document, repository.root.role(TrustRole::kTargets)),
      0u);
}

}  // namespace
}  // namespace lorikeet
