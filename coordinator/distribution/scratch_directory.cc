#include "coordinator/distribution/scratch_directory.h"

#include <cstdlib>
#include <filesystem>

#include "common/base/posix_file.h"

namespace lorikeet {

absl::StatusOr<std::unique_ptr<ScratchDirectory>> ScratchDirectory::Create(
    const std::string& parent) {
  std::error_code error;
  std::string pattern =
      parent.empty() ? std::filesystem::temp_directory_path(error).string() : parent;
  if (error) pattern = "/tmp";
  pattern += "/lorikeet-XXXXXX";
  if (mkdtemp(pattern.data()) == nullptr) return ErrnoError("create directory", pattern);
  return std::unique_ptr<ScratchDirectory>(new ScratchDirectory(pattern));
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace lorikeet
