#include "tests/tidy/source_tree.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>

namespace lorikeet {

namespace fs = std::filesystem;

std::string SourceFile::folder() const { return fs::path(path).parent_path().string(); }

std::vector<SourceFile> ReadSources(const std::vector<std::string>& folders,
                                    const std::vector<std::string>& suffixes) {
  const fs::path root = LORIKEET_SOURCE_DIR;
  std::vector<SourceFile> files;
  for (const std::string& folder : folders) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      const std::string path = fs::relative(entry.path(), root).string();
      const bool wanted =
          std::any_of(suffixes.begin(), suffixes.end(),
                      [&](const std::string& suffix) { return path.ends_with(suffix); });
      if (!entry.is_regular_file() || !wanted) continue;
      SourceFile file{path, {}};
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line);) file.lines.push_back(line);
      files.push_back(std::move(file));
    }
  }
  std::sort(files.begin(), files.end(),
            [](const auto& a, const auto& b) { return a.path < b.path; });
  return files;
}

std::string CodeOf(std::string_view line) {
  std::string code;
  bool in_string = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
        code.push_back(c);
      }
      continue;
    }
    if (c == '/' && i + 1 < line.size() && line[i + 1] == '/') break;
    if (c == '"') in_string = true;
    code.push_back(c);
  }
  return code;
}

bool HasWord(std::string_view code, std::string_view word) {
  const auto part = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  for (size_t at = code.find(word); at != std::string_view::npos; at = code.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || !part(code[at - 1])) && (end == code.size() || !part(code[end]))) return true;
  }
  return false;
}

}  // namespace lorikeet
