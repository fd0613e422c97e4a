// HTTP requests through libcurl: bounded in time and in bytes.  Only for stores of releases.
#ifndef LORIKEET_COORDINATOR_DISTRIBUTION_HTTP_CLIENT_H_
#define LORIKEET_COORDINATOR_DISTRIBUTION_HTTP_CLIENT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace lorikeet {

struct HttpRequest {
  std::string method;  // GET, HEAD, PUT, POST or DELETE
  std::string url;
  std::map<std::string, std::string> headers;
  std::string_view body;  // borrowed; of PUT and POST
  uint64_t max_response_bytes = 1 << 20;
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

struct HttpTimeouts {
  absl::Duration connect = absl::Seconds(10);
  absl::Duration stalled = absl::Seconds(30);  // under a kilobyte a second for this long
  absl::Duration total = absl::Minutes(10);
};

// Thread-safe; connections are kept and reused.
class HttpClient {
 public:
  explicit HttpClient(HttpTimeouts timeouts);
  ~HttpClient();

  // Any status of HTTP is a response.  UNAVAILABLE: not reached, or broken off; DEADLINE_EXCEEDED;
  // RESOURCE_EXHAUSTED: more bytes than allowed.  Redirections are not followed.
  absl::StatusOr<HttpResponse> Send(const HttpRequest& request);

 private:
  struct Connections;
  HttpTimeouts timeouts_;
  std::unique_ptr<Connections> connections_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DISTRIBUTION_HTTP_CLIENT_H_
