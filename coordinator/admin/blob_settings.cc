#include "coordinator/admin/blob_settings.h"

#include <sys/stat.h>
#include <toml++/toml.h>

#include <cstdlib>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "coordinator/distribution/directory_blob_store.h"
#include "coordinator/distribution/s3_blob_store.h"

namespace lorikeet {
namespace {

constexpr std::string_view kScheme = "s3://";

std::string FromEnvironment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Errors never show what the file holds.
absl::StatusOr<AwsCredentials> ReadCredentials(const std::string& path) {
  AwsCredentials credentials = {FromEnvironment("AWS_ACCESS_KEY_ID"),
                                FromEnvironment("AWS_SECRET_ACCESS_KEY"),
                                FromEnvironment("AWS_SESSION_TOKEN")};
  if (!credentials.access_key_id.empty() && !credentials.secret_access_key.empty()) {
    return credentials;
  }
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("bucket: expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
                     "environment, or a file ",
                     path));
  }
  if ((info.st_mode & 077) != 0) {
    return absl::FailedPreconditionError(
        absl::StrFormat("%s: expected a file that others may not read (mode 600), got mode %o",
                        path, info.st_mode & 0777));
  }
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 1 << 16));
  toml::table table;
  try {
    table = toml::parse(text);
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected TOML, line ", error.source().begin.line));
  }
  credentials.access_key_id = table["access_key_id"].value_or(std::string());
  credentials.secret_access_key = table["secret_access_key"].value_or(std::string());
  credentials.session_token = table["session_token"].value_or(std::string());
  if (!credentials.access_key_id.empty() && !credentials.secret_access_key.empty()) {
    return credentials;
  }
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": expected access_key_id and secret_access_key"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<BlobStore>> OpenBlobs(const BlobSettings& settings,
                                                     const std::string& releases_path,
                                                     const Clock* clock) {
  if (settings.url.empty()) return DirectoryBlobStore::Open(releases_path);
  if (!settings.url.starts_with(kScheme)) {
    return absl::InvalidArgumentError(
        absl::StrCat("blobs: expected s3://BUCKET[/PREFIX], got ", settings.url));
  }
  S3Options options;
  options.endpoint = settings.endpoint;
  options.region = settings.region;
  options.bucket = settings.url.substr(kScheme.size());
  if (const size_t slash = options.bucket.find('/'); slash != std::string::npos) {
    options.prefix = options.bucket.substr(slash + 1);
    options.bucket.resize(slash);
    while (options.prefix.ends_with('/')) options.prefix.pop_back();
  }
  ASSIGN_OR_RETURN(options.credentials, ReadCredentials(settings.credentials_path));
  return S3BlobStore::Create(std::move(options), clock);
}

}  // namespace lorikeet
