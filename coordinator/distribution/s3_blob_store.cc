#include "coordinator/distribution/s3_blob_store.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "common/base/plain_text.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr uint64_t kPartBytes = 8 << 20;  // S3 takes no smaller one than 5 MiB but the last
constexpr uint64_t kMostParts = 10000;
constexpr uint64_t kWindowBytes = 1 << 20;
constexpr size_t kMostWindows = 16;

bool IsWorthAnotherAttempt(const absl::StatusOr<HttpResponse>& response) {
  if (!response.ok()) {
    return absl::IsUnavailable(response.status()) || absl::IsDeadlineExceeded(response.status());
  }
  return response->status == 429 || response->status >= 500;
}

// What stands between <tag> and </tag>; S3's answers are small and flat.
std::string XmlText(const std::string& xml, std::string_view tag) {
  const std::string open = "<" + std::string(tag) + ">", close = "</" + std::string(tag) + ">";
  const size_t begin = xml.find(open);
  if (begin == std::string::npos) return "";
  const size_t end = xml.find(close, begin);
  if (end == std::string::npos) return "";
  return xml.substr(begin + open.size(), end - begin - open.size());
}

// Of "bytes A-B/TOTAL".
std::optional<uint64_t> TotalOfRange(const HttpResponse& response) {
  const auto range = response.headers.find("content-range");
  if (range == response.headers.end()) return std::nullopt;
  uint64_t total = 0;
  const size_t slash = range->second.find('/');
  if (slash == std::string::npos || !absl::SimpleAtoi(range->second.substr(slash + 1), &total)) {
    return std::nullopt;
  }
  return total;
}

bool IsBucketName(const std::string& name) {
  return name.size() >= 3 && name.size() <= 63 && std::ranges::all_of(name, [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-' || c == '.';
         });
}

}  // namespace

absl::StatusOr<std::unique_ptr<S3BlobStore>> S3BlobStore::Create(S3Options options,
                                                                 const Clock* clock) {
  std::string host = options.endpoint;
  for (const char* scheme : {"http://", "https://"}) {
    if (absl::StartsWith(host, scheme)) host = host.substr(std::string_view(scheme).size());
  }
  if (host == options.endpoint || host.empty() || host.find('/') != std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("bucket: expected an endpoint like https://HOST, got ", options.endpoint));
  }
  if (!IsBucketName(options.bucket)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bucket: expected a name of 3 to 63 of a-z, 0-9, - and ., got ", options.bucket));
  }
  return std::unique_ptr<S3BlobStore>(new S3BlobStore(std::move(options), std::move(host), clock));
}

S3BlobStore::S3BlobStore(S3Options options, std::string host, const Clock* clock)
    : options_(std::move(options)),
      host_(std::move(host)),
      clock_(clock),
      http_(options_.timeouts) {}

std::string S3BlobStore::KeyOf(const Hash256& hash) const {
  return options_.prefix.empty() ? ToHex(hash) : absl::StrCat(options_.prefix, "/", ToHex(hash));
}

absl::StatusOr<HttpResponse> S3BlobStore::SendOnce(const Call& call) {
  AwsRequest signing;
  signing.method = call.method;
  signing.host = host_;
  signing.path = UriEncode(absl::StrCat("/", options_.bucket, "/", call.key), true);
  signing.query = call.query;
  signing.headers = call.headers;
  signing.payload_sha256 = Sha256Hex(call.body);
  HttpRequest request;
  request.method = call.method;
  request.url = absl::StrCat(options_.endpoint, signing.path, call.query.empty() ? "" : "?",
                             CanonicalQuery(call.query));
  request.headers =
      SignAwsRequest(signing, options_.credentials, options_.region, "s3", clock_->Now());
  request.body = call.body;
  request.max_response_bytes = call.max_response_bytes;
  return http_.Send(request);
}

absl::StatusOr<HttpResponse> S3BlobStore::Send(const Call& call) {
  absl::Duration pause = options_.first_pause;
  for (int attempt = 1;; ++attempt, pause *= 2) {
    absl::StatusOr<HttpResponse> response = SendOnce(call);
    if (!IsWorthAnotherAttempt(response)) {
      if (response.ok()) return response;
    } else if (attempt < options_.attempts) {
      absl::SleepFor(pause);
      continue;
    } else if (response.ok()) {
      return Refused(call, *response);
    }
    return Annotate(response.status(), absl::StrFormat("bucket %s at %s: %s %s", options_.bucket,
                                                       host_, call.method, call.key));
  }
}

absl::Status S3BlobStore::Refused(const Call& call, const HttpResponse& response) const {
  const std::string code = XmlText(response.body, "Code");
  const std::string message = absl::StrFormat(
      "bucket %s at %s: %s %s: status %d %s", options_.bucket, host_, call.method, call.key,
      response.status, Printable(absl::StrCat(code, " ", XmlText(response.body, "Message"))));
  if (response.status == 401 || response.status == 403) return absl::PermissionDeniedError(message);
  if (response.status == 429 || response.status >= 500) return absl::UnavailableError(message);
  return absl::FailedPreconditionError(message);
}

absl::StatusOr<std::optional<uint64_t>> S3BlobStore::SizeOf(const Hash256& hash) {
  const Call call = {.method = "HEAD", .key = KeyOf(hash)};
  ASSIGN_OR_RETURN(const HttpResponse response, Send(call));
  if (response.status == 404) return std::nullopt;
  if (response.status != 200) return Refused(call, response);
  uint64_t bytes = 0;
  const auto length = response.headers.find("content-length");
  if (length == response.headers.end() || !absl::SimpleAtoi(length->second, &bytes)) {
    return absl::DataLossError(
        absl::StrCat("bucket ", options_.bucket, ": expected a content-length of ", call.key));
  }
  return bytes;
}

absl::Status S3BlobStore::PutObject(const std::string& key, std::string_view bytes) {
  const Call call = {.method = "PUT", .key = key, .body = bytes};
  ASSIGN_OR_RETURN(const HttpResponse response, Send(call));
  return response.status == 200 ? absl::OkStatus() : Refused(call, response);
}

absl::StatusOr<std::string> S3BlobStore::SendParts(const std::string& key,
                                                   const std::string& upload,
                                                   const ByteSource& source) {
  const uint64_t part_bytes = std::max(kPartBytes, source.size() / kMostParts + 1);
  std::string list = "<CompleteMultipartUpload>";
  std::vector<uint8_t> part;
  int number = 0;
  for (uint64_t offset = 0; offset < source.size(); offset += part.size()) {
    part.resize(std::min(part_bytes, source.size() - offset));
    RETURN_IF_ERROR(source.Read(offset, part));
    const Call call = {.method = "PUT",
                       .key = key,
                       .query = {{"partNumber", absl::StrCat(++number)}, {"uploadId", upload}},
                       .body = AsChars(part)};
    ASSIGN_OR_RETURN(const HttpResponse response, Send(call));
    const auto etag = response.headers.find("etag");
    if (response.status != 200 || etag == response.headers.end()) return Refused(call, response);
    absl::StrAppend(&list, "<Part><PartNumber>", number, "</PartNumber><ETag>", etag->second,
                    "</ETag></Part>");
  }
  return absl::StrCat(list, "</CompleteMultipartUpload>");
}

absl::Status S3BlobStore::PutInParts(const std::string& key, const ByteSource& source) {
  const Call begin = {.method = "POST", .key = key, .query = {{"uploads", ""}}};
  ASSIGN_OR_RETURN(const HttpResponse begun, Send(begin));
  const std::string upload = XmlText(begun.body, "UploadId");
  if (begun.status != 200 || upload.empty()) return Refused(begin, begun);
  const auto list = SendParts(key, upload, source);
  absl::Status status = list.status();
  if (list.ok()) {
    const Call end = {.method = "POST", .key = key, .query = {{"uploadId", upload}}, .body = *list};
    const auto ended = Send(end);
    status = ended.status();
    // The status comes before the work is done: only the document says how that went.
    if (ended.ok() && !absl::StrContains(ended->body, "<CompleteMultipartUploadResult")) {
      status = Refused(end, *ended);
    }
  }
  if (status.ok()) return status;
  // Parts that nobody completes cost money; if this fails, too, the first error is the one to tell.
  Send({.method = "DELETE", .key = key, .query = {{"uploadId", upload}}}).IgnoreError();
  return status;
}

absl::StatusOr<Hash256> S3BlobStore::Put(std::string_view bytes) {
  const Hash256 hash = Blake2b(AsBytes(bytes));
  ASSIGN_OR_RETURN(const auto there, SizeOf(hash));
  if (there != bytes.size()) RETURN_IF_ERROR(PutObject(KeyOf(hash), bytes));
  return hash;
}

absl::StatusOr<Hash256> S3BlobStore::PutFile(const std::string& path) {
  ASSIGN_OR_RETURN(const auto source, FileSource::Open(path));
  ASSIGN_OR_RETURN(const Hash256 hash, HashOf(*source));
  ASSIGN_OR_RETURN(const auto there, SizeOf(hash));
  if (there == source->size()) return hash;
  if (source->size() > kPartBytes) {
    RETURN_IF_ERROR(PutInParts(KeyOf(hash), *source));
  } else {
    std::vector<uint8_t> bytes(source->size());
    RETURN_IF_ERROR(source->Read(0, bytes));
    RETURN_IF_ERROR(PutObject(KeyOf(hash), AsChars(bytes)));
  }
  // Whether it arrived, and whether the file stayed the same meanwhile.
  ASSIGN_OR_RETURN(const auto stored, SizeOf(hash));
  ASSIGN_OR_RETURN(const Hash256 after, HashOf(*source));
  if (stored == source->size() && after == hash) return hash;
  return absl::DataLossError(absl::StrFormat("bucket %s: expected %s of %d bytes, got %d",
                                             options_.bucket, KeyOf(hash), source->size(),
                                             stored.value_or(0)));
}

absl::StatusOr<std::shared_ptr<const S3BlobStore::Window>> S3BlobStore::FetchWindow(
    const Hash256& hash, uint64_t offset) {
  const WindowKey key = {hash, offset};
  {
    absl::MutexLock lock(&mutex_);
    const auto it = windows_.find(key);
    if (it != windows_.end()) return it->second;
  }
  const Call call = {
      .method = "GET",
      .key = KeyOf(hash),
      .headers = {{"range", absl::StrFormat("bytes=%d-%d", offset, offset + kWindowBytes - 1)}},
      .max_response_bytes = kWindowBytes + (1 << 16)};
  ASSIGN_OR_RETURN(HttpResponse response, Send(call));
  if (response.status == 404 && XmlText(response.body, "Code") != "NoSuchBucket") {
    return NoSuchBlob(hash);
  }
  const auto window = std::make_shared<Window>();
  if (response.status == 416) {  // nothing there: the query lies at or behind the end
    ASSIGN_OR_RETURN(const auto size, SizeOf(hash));
    if (!size) return NoSuchBlob(hash);
    if (*size > offset) return Refused(call, response);
    window->object_bytes = *size;
    return window;
  }
  const std::optional<uint64_t> total = TotalOfRange(response);
  if (response.status != 206 || !total) return Refused(call, response);
  window->data = std::move(response.body);
  window->object_bytes = *total;
  if (*total < offset || window->data.size() != std::min(kWindowBytes, *total - offset)) {
    return absl::DataLossError(absl::StrFormat("bucket %s: %s: expected %d bytes at %d, got %d",
                                               options_.bucket, call.key, kWindowBytes, offset,
                                               window->data.size()));
  }
  absl::MutexLock lock(&mutex_);
  if (windows_.emplace(key, window).second) order_.push_back(key);
  if (order_.size() > kMostWindows) {
    windows_.erase(order_.front());
    order_.pop_front();
  }
  return window;
}

absl::StatusOr<ChunkResult> S3BlobStore::Read(const ChunkQuery& query) {
  ChunkResult result;
  do {
    const uint64_t at = query.offset + result.data.size();
    const uint64_t begin = at / kWindowBytes * kWindowBytes;
    ASSIGN_OR_RETURN(const auto window, FetchWindow(query.file_hash, begin));
    RETURN_IF_ERROR(CheckRange(query, window->object_bytes));
    result.file_bytes = window->object_bytes;
    const uint64_t end = std::min<uint64_t>(query.offset + query.length, result.file_bytes);
    if (at >= end) break;
    result.data += window->data.substr(at - begin, end - at);
  } while (result.data.size() < query.length);
  return result;
}

absl::StatusOr<std::string> S3BlobStore::Get(const Hash256& hash) {
  std::string bytes;
  for (;;) {
    ASSIGN_OR_RETURN(
        const ChunkResult piece,
        Read({.file_hash = hash, .offset = bytes.size(), .length = uint32_t{kWindowBytes}}));
    bytes += piece.data;
    if (bytes.size() >= piece.file_bytes) break;
  }
  if (Blake2b(AsBytes(bytes)) == hash) return bytes;
  return absl::DataLossError(absl::StrFormat("bucket %s: %s: expected that hash, got another",
                                             options_.bucket, KeyOf(hash)));
}

}  // namespace lorikeet
