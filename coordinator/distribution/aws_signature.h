// Signatures of requests to S3-compatible buckets: AWS Signature Version 4, in headers.
//
// Source: "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API reference, whose
// examples the tests compare with.  No I/O and no clock in here.
#ifndef LORIKEET_COORDINATOR_DISTRIBUTION_AWS_SIGNATURE_H_
#define LORIKEET_COORDINATOR_DISTRIBUTION_AWS_SIGNATURE_H_

#include <map>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace lorikeet {

struct AwsCredentials {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;  // empty: none
};

// What is signed of a request.
struct AwsRequest {
  std::string method;
  std::string host;                            // with the port, if it is not the scheme's
  std::string path;                            // begins with /, encoded by UriEncode(.., true)
  std::map<std::string, std::string> query;    // not encoded
  std::map<std::string, std::string> headers;  // further ones; names in lower case
  std::string payload_sha256;                  // hex
};

// All headers to send, names in lower case: request.headers with host, x-amz-date,
// x-amz-content-sha256, x-amz-security-token (if there is one) and authorization.
std::map<std::string, std::string> SignAwsRequest(const AwsRequest& request,
                                                  const AwsCredentials& credentials,
                                                  std::string_view region, std::string_view service,
                                                  absl::Time now);

// Hex of SHA-256, as payload_sha256 wants it.
std::string Sha256Hex(std::string_view bytes);

// All but letters, digits and -_.~ as %XX; slashes, too, unless they are kept.
std::string UriEncode(std::string_view text, bool keep_slashes);
// "a=1&b=2", encoded, by name.
std::string CanonicalQuery(const std::map<std::string, std::string>& query);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DISTRIBUTION_AWS_SIGNATURE_H_
