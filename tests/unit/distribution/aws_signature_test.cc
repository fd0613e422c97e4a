// Against the examples of the Amazon S3 API reference, "Authenticating Requests: Using the
// Authorization Header (AWS Signature Version 4)", and of the signature's own test suite.
#include "coordinator/distribution/aws_signature.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lorikeet {
namespace {

using ::testing::HasSubstr;

const char kEmptySha256[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const AwsCredentials kExample = {"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                                 ""};
const absl::Time kFriday = absl::FromCivil(absl::CivilSecond(2013, 5, 24), absl::UTCTimeZone());

std::string Authorization(const AwsRequest& request) {
  return SignAwsRequest(request, kExample, "us-east-1", "s3", kFriday)["authorization"];
}

AwsRequest Get(std::string path) {
  AwsRequest request;
  request.method = "GET";
  request.host = "examplebucket.s3.amazonaws.com";
  request.path = std::move(path);
  request.payload_sha256 = kEmptySha256;
  return request;
}

TEST(AwsSignatureTest, GetWithARange) {
  AwsRequest request = Get("/test.txt");
  request.headers = {{"range", "bytes=0-9"}};
  EXPECT_EQ(Authorization(request),
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
            "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,"
            "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

TEST(AwsSignatureTest, PutWithAnEncodedKey) {
  AwsRequest request = Get(UriEncode("/test$file.text", true));
  request.method = "PUT";
  request.headers = {{"date", "Fri, 24 May 2013 00:00:00 GMT"},
                     {"x-amz-storage-class", "REDUCED_REDUNDANCY"}};
  request.payload_sha256 = Sha256Hex("Welcome to Amazon S3.");
  EXPECT_EQ(request.payload_sha256,
            "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
  EXPECT_THAT(Authorization(request),
              HasSubstr("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"));
}

TEST(AwsSignatureTest, QueriesWithAndWithoutValues) {
  AwsRequest request = Get("/");
  request.query = {{"lifecycle", ""}};
  EXPECT_THAT(Authorization(request),
              HasSubstr("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"));
  request.query = {{"prefix", "J"}, {"max-keys", "2"}};
  EXPECT_THAT(Authorization(request),
              HasSubstr("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"));
}

// A token of a session is signed with the rest.
TEST(AwsSignatureTest, SessionTokensAreSigned) {
  AwsCredentials session = kExample;
  session.session_token = "token";
  const auto headers = SignAwsRequest(Get("/"), session, "us-east-1", "s3", kFriday);
  EXPECT_EQ(headers.at("x-amz-security-token"), "token");
  EXPECT_THAT(headers.at("authorization"), HasSubstr("x-amz-date;x-amz-security-token,"));
}

TEST(AwsSignatureTest, Encoding) {
  EXPECT_EQ(UriEncode("a b/ü~-_.", true), "a%20b/%C3%BC~-_.");
  EXPECT_EQ(UriEncode("a/b", false), "a%2Fb");
  EXPECT_EQ(CanonicalQuery({{"b", "x=y"}, {"a", ""}}), "a=&b=x%3Dy");
  EXPECT_EQ(Sha256Hex(""), kEmptySha256);
}

}  // namespace
}  // namespace lorikeet
