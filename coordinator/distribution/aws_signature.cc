#include "coordinator/distribution/aws_signature.h"

#include <sodium.h>

#include <array>
#include <cstdint>
#include <span>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/hash.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr char kAlgorithm[] = "AWS4-HMAC-SHA256";

std::string Hmac(std::string_view key, std::string_view message) {
  std::string tag(crypto_auth_hmacsha256_BYTES, '\0');
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, AsBytes(key).data(), key.size());
  crypto_auth_hmacsha256_update(&state, AsBytes(message).data(), message.size());
  crypto_auth_hmacsha256_final(&state, reinterpret_cast<uint8_t*>(tag.data()));
  return tag;
}

}  // namespace

std::string Sha256Hex(std::string_view bytes) {
  std::array<uint8_t, crypto_hash_sha256_BYTES> digest;
  crypto_hash_sha256(digest.data(), AsBytes(bytes).data(), bytes.size());
  return ToHex(digest);
}

std::string UriEncode(std::string_view text, bool keep_slashes) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ||
                       c == '.' || c == '~' || (c == '/' && keep_slashes);
    if (plain) {
      encoded.push_back(c);
      continue;
    }
    const auto byte = static_cast<uint8_t>(c);
    encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return encoded;
}

std::string CanonicalQuery(const std::map<std::string, std::string>& query) {
  std::string text;
  for (const auto& [name, value] : query) {
    absl::StrAppend(&text, text.empty() ? "" : "&", UriEncode(name, false), "=",
                    UriEncode(value, false));
  }
  return text;
}

std::map<std::string, std::string> SignAwsRequest(const AwsRequest& request,
                                                  const AwsCredentials& credentials,
                                                  std::string_view region, std::string_view service,
                                                  absl::Time now) {
  const std::string time = absl::FormatTime("%Y%m%dT%H%M%SZ", now, absl::UTCTimeZone());
  const std::string day = time.substr(0, 8);
  std::map<std::string, std::string> headers = request.headers;
  headers["host"] = request.host;
  headers["x-amz-date"] = time;
  headers["x-amz-content-sha256"] = request.payload_sha256;
  if (!credentials.session_token.empty()) {
    headers["x-amz-security-token"] = credentials.session_token;
  }
  std::string names, lines;
  for (const auto& [name, value] : headers) {
    absl::StrAppend(&names, names.empty() ? "" : ";", name);
    absl::StrAppend(&lines, name, ":", absl::StripAsciiWhitespace(value), "\n");
  }
  const std::string canonical =
      absl::StrCat(request.method, "\n", request.path, "\n", CanonicalQuery(request.query), "\n",
                   lines, "\n", names, "\n", request.payload_sha256);
  const std::string scope =
      absl::StrCat(day, "/", ToAbsl(region), "/", ToAbsl(service), "/aws4_request");
  const std::string to_sign =
      absl::StrCat(kAlgorithm, "\n", time, "\n", scope, "\n", Sha256Hex(canonical));
  std::string key = Hmac("AWS4" + credentials.secret_access_key, day);
  for (const std::string_view part : {region, service, std::string_view("aws4_request")}) {
    key = Hmac(key, part);
  }
  headers["authorization"] =
      absl::StrCat(kAlgorithm, " Credential=", credentials.access_key_id, "/", scope,
                   ",SignedHeaders=", names, ",Signature=", ToHex(AsBytes(Hmac(key, to_sign))));
  return headers;
}

}  // namespace lorikeet
