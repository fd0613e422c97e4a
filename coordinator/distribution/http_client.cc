#include "coordinator/distribution/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr size_t kMostIdle = 16;
constexpr long kStalledBytesPerSecond = 1000;  // NOLINT: libcurl's options are longs

// What libcurl's callbacks work on.
struct Transfer {
  const HttpRequest* request = nullptr;
  HttpResponse response;
  bool too_much = false;
};

size_t OnBody(char* data, size_t size, size_t count, void* context) {
  auto* transfer = static_cast<Transfer*>(context);
  const size_t bytes = size * count;
  if (transfer->response.body.size() + bytes > transfer->request->max_response_bytes) {
    transfer->too_much = true;
    return 0;
  }
  transfer->response.body.append(data, bytes);
  return bytes;
}

size_t OnHeader(char* data, size_t size, size_t count, void* context) {
  auto* transfer = static_cast<Transfer*>(context);
  const std::string_view line(data, size * count);
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || transfer->response.headers.size() > 100)
    return line.size();
  const std::string name = absl::AsciiStrToLower(ToAbsl(line.substr(0, colon)));
  transfer->response.headers[name] =
      std::string(absl::StripAsciiWhitespace(ToAbsl(line.substr(colon + 1))));
  return line.size();
}

class HeaderList {
 public:
  explicit HeaderList(const std::map<std::string, std::string>& headers) {
    for (const auto& [name, value] : headers) Add(absl::StrCat(name, ": ", value));
    Add("Expect:");  // no waiting for 100 Continue
    Add("Content-Type: application/octet-stream");
  }
  ~HeaderList() { curl_slist_free_all(list_); }
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;
  curl_slist* get() const { return list_; }

 private:
  void Add(const std::string& line) { list_ = curl_slist_append(list_, line.c_str()); }
  curl_slist* list_ = nullptr;
};

void SetMethod(CURL* handle, const HttpRequest& request) {
  if (request.method == "HEAD") {
    curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    return;
  }
  if (request.method == "PUT" || request.method == "POST") {
    const char* body = request.body.empty() ? "" : request.body.data();
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, body);  // not copied
  }
  curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
}

absl::Status TransferError(CURLcode code, const Transfer& transfer) {
  if (transfer.too_much) {
    return absl::ResourceExhaustedError(absl::StrFormat("expected at most %d bytes, got more",
                                                        transfer.request->max_response_bytes));
  }
  const char* text = curl_easy_strerror(code);
  if (code == CURLE_OPERATION_TIMEDOUT) return absl::DeadlineExceededError(text);
  if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) {
    return absl::InvalidArgumentError(text);
  }
  return absl::UnavailableError(text);
}

}  // namespace

struct HttpClient::Connections {
  absl::Mutex mutex;
  std::vector<CURL*> idle ABSL_GUARDED_BY(mutex);

  CURL* Take() {
    absl::MutexLock lock(&mutex);
    if (idle.empty()) return curl_easy_init();
    CURL* handle = idle.back();
    idle.pop_back();
    return handle;
  }
  void GiveBack(CURL* handle) {
    curl_easy_reset(handle);  // keeps its connections
    absl::MutexLock lock(&mutex);
    if (idle.size() < kMostIdle) {
      idle.push_back(handle);
    } else {
      curl_easy_cleanup(handle);
    }
  }
};

HttpClient::HttpClient(HttpTimeouts timeouts)
    : timeouts_(timeouts), connections_(std::make_unique<Connections>()) {
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  LORIKEET_CHECK(initialized == CURLE_OK);
}

HttpClient::~HttpClient() {
  absl::MutexLock lock(&connections_->mutex);
  for (CURL* handle : connections_->idle) curl_easy_cleanup(handle);
}

absl::StatusOr<HttpResponse> HttpClient::Send(const HttpRequest& request) {
  CURL* handle = connections_->Take();
  if (handle == nullptr) return absl::ResourceExhaustedError("no memory for a connection");
  Transfer transfer;
  transfer.request = &request;
  const HeaderList headers(request.headers);
  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &OnBody);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &OnHeader);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(absl::ToInt64Milliseconds(timeouts_.connect)));  // NOLINT
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS,
                   static_cast<long>(absl::ToInt64Milliseconds(timeouts_.total)));  // NOLINT
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, kStalledBytesPerSecond);
  curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME,
                   static_cast<long>(absl::ToInt64Seconds(timeouts_.stalled)));  // NOLINT
  SetMethod(handle, request);
  const CURLcode code = curl_easy_perform(handle);
  long status = 0;  // NOLINT
  curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
  connections_->GiveBack(handle);
  if (code != CURLE_OK) return TransferError(code, transfer);
  transfer.response.status = static_cast<int>(status);
  return std::move(transfer.response);
}

}  // namespace lorikeet
