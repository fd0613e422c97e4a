// Release bytes in an S3-compatible bucket: one object a blob, named by its hash.
//
// Path-style addresses (ENDPOINT/BUCKET/KEY), as every compatible server understands them.  Not
// here: making buckets, deleting objects, other access rights than a key's.
#ifndef LORIKEET_COORDINATOR_DISTRIBUTION_S3_BLOB_STORE_H_
#define LORIKEET_COORDINATOR_DISTRIBUTION_S3_BLOB_STORE_H_

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/delta/byte_source.h"
#include "coordinator/distribution/aws_signature.h"
#include "coordinator/distribution/blob_store.h"
#include "coordinator/distribution/http_client.h"

namespace lorikeet {

struct S3Options {
  std::string endpoint;  // http://HOST[:PORT] or https://..
  std::string bucket;
  std::string prefix;  // of keys; without slashes at its ends; may be empty
  std::string region = "us-east-1";
  AwsCredentials credentials;
  HttpTimeouts timeouts;
  int attempts = 4;                                      // of each request that may be tried again
  absl::Duration first_pause = absl::Milliseconds(200);  // doubled after each
};

// Thread-safe.  Memory: a part of an upload, or a few megabytes of windows that were read.
class S3BlobStore final : public BlobStore {
 public:
  // INVALID_ARGUMENT: an endpoint or a bucket name that cannot be.  Asks nothing of the bucket.
  static absl::StatusOr<std::unique_ptr<S3BlobStore>> Create(S3Options options, const Clock* clock);

  // Errors name bucket, object and what the server said.  PERMISSION_DENIED: 401 or 403;
  // FAILED_PRECONDITION: no such bucket, or another refusal; UNAVAILABLE: not reached, 429 or 5xx,
  // at the last attempt.
  absl::StatusOr<Hash256> Put(std::string_view bytes) override;
  absl::StatusOr<Hash256> PutFile(const std::string& path) override;  // above 8 MiB in parts
  absl::StatusOr<std::string> Get(const Hash256& hash) override;      // DATA_LOSS: another hash
  absl::StatusOr<ChunkResult> Read(const ChunkQuery& query) override;
  std::optional<std::string> LocalPath(const Hash256&) const override { return std::nullopt; }

  // Bytes of the object; nullopt: there is none.
  absl::StatusOr<std::optional<uint64_t>> SizeOf(const Hash256& hash);

 private:
  struct Call {
    std::string method;
    std::string key;
    std::map<std::string, std::string> query = {};
    std::map<std::string, std::string> headers = {};
    std::string_view body = {};
    uint64_t max_response_bytes = 1 << 20;
  };
  // A megabyte of an object, at a multiple of that.
  struct Window {
    std::string data;
    uint64_t object_bytes = 0;
  };
  using WindowKey = std::pair<Hash256, uint64_t>;

  S3BlobStore(S3Options options, std::string host, const Clock* clock);
  std::string KeyOf(const Hash256& hash) const;
  // Any status but those that are worth another attempt.
  absl::StatusOr<HttpResponse> Send(const Call& call);
  absl::StatusOr<HttpResponse> SendOnce(const Call& call);
  absl::Status Refused(const Call& call, const HttpResponse& response) const;
  absl::Status PutObject(const std::string& key, std::string_view bytes);
  absl::Status PutInParts(const std::string& key, const ByteSource& source);
  absl::StatusOr<std::string> SendParts(const std::string& key, const std::string& upload,
                                        const ByteSource& source);
  absl::StatusOr<std::shared_ptr<const Window>> FetchWindow(const Hash256& hash, uint64_t offset);

  S3Options options_;
  std::string host_;
  const Clock* clock_;
  HttpClient http_;
  absl::Mutex mutex_;
  // The last windows, oldest first: devices ask for pieces of one megabyte after another.
  std::map<WindowKey, std::shared_ptr<const Window>> windows_ ABSL_GUARDED_BY(mutex_);
  std::deque<WindowKey> order_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DISTRIBUTION_S3_BLOB_STORE_H_
