#include "common/crypto/secret_file.h"

#include <sys/stat.h>

#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

std::string Header(std::string_view kind) {
  return absl::StrFormat("lorikeet-secret 1 %s\n", ToAbsl(kind));
}

void WipeString(std::string* s) { WipeMemory({reinterpret_cast<uint8_t*>(s->data()), s->size()}); }

}  // namespace

absl::Status WriteSecretFile(const std::string& path, std::string_view kind,
                             const SecretBytes& secret) {
  const std::string header = Header(kind);
  std::string content;
  content.reserve(header.size() +
                  secret.size_bytes());  // one allocation, so that one wipe is enough
  content += header;
  content += AsChars(secret.Open(SecretAccess("store a secret file")));
  const absl::Status status = WriteFileAtomic(path, content, 0600);
  WipeString(&content);
  return status;
}

absl::StatusOr<SecretBytes> ReadSecretFile(const std::string& path, std::string_view kind,
                                           size_t size_bytes) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) {
    return absl::NotFoundError(absl::StrFormat("%s: no such secret file", path));
  }
  if ((info.st_mode & 077) != 0) {
    return absl::PermissionDeniedError(
        absl::StrFormat("%s: expected a file only its owner can read (mode 0600), got mode %04o",
                        path, static_cast<unsigned>(info.st_mode & 07777)));
  }
  const std::string header = Header(kind);
  ASSIGN_OR_RETURN(std::string content, ReadFile(path, 4096));
  const bool good = content.size() == header.size() + size_bytes &&
                    content.compare(0, header.size(), header) == 0;
  SecretBytes secret;
  if (good) secret = SecretBytes::CopyOf(AsBytes(content).subspan(header.size()));
  WipeString(&content);
  if (!good) {
    return absl::DataLossError(absl::StrFormat("%s: expected a secret file of kind %s (%d bytes)",
                                               path, ToAbsl(kind), size_bytes));
  }
  return secret;
}

}  // namespace lorikeet
