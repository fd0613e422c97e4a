#include "tests/support/shared_data.h"

#include <stdlib.h>

#include <filesystem>
#include <vector>

#ifndef LORIKEET_SOURCE_DIR
#define LORIKEET_SOURCE_DIR "."
#endif

namespace lorikeet {
namespace {

namespace fs = std::filesystem;

struct TempDirs {
  std::vector<std::string> paths;
  ~TempDirs() {
    for (const auto& path : paths) {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  }
};

}  // namespace

std::optional<std::string> SharedData(std::string_view relative) {
  const char* root = getenv("LORIKEET_SHARED");
  fs::path path = fs::path(root ? root : LORIKEET_SOURCE_DIR "/../shared") / relative;
  if (!fs::exists(path)) return std::nullopt;
  return path.string();
}

std::string MakeTempDir(std::string_view prefix) {
  static TempDirs dirs;
  std::string pattern = (fs::temp_directory_path() / (std::string(prefix) + "-XXXXXX")).string();
  if (mkdtemp(pattern.data()) == nullptr) abort();
  dirs.paths.push_back(pattern);
  return pattern;
}

}  // namespace lorikeet
