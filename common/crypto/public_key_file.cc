#include "common/crypto/public_key_file.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {

absl::StatusOr<Ed25519PublicKey> ReadPublicKey(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, 4096));
  const auto key = HashFromHex(ToStd(absl::StripAsciiWhitespace(text)));
  if (!key.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": expected a public key of 64 hex digits, found something else"));
  }
  return *key;
}

absl::Status WritePublicKey(const Ed25519PublicKey& key, const std::string& path) {
  return WriteFileAtomic(path, ToHex(key) + "\n");
}

}  // namespace lorikeet
