// A directory for files in the making, gone with the object.
#ifndef LORIKEET_COORDINATOR_DISTRIBUTION_SCRATCH_DIRECTORY_H_
#define LORIKEET_COORDINATOR_DISTRIBUTION_SCRATCH_DIRECTORY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace lorikeet {

class ScratchDirectory {
 public:
  // Inside `parent`, which must exist; empty: the system's directory for temporary files.
  static absl::StatusOr<std::unique_ptr<ScratchDirectory>> Create(const std::string& parent);
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DISTRIBUTION_SCRATCH_DIRECTORY_H_
