// The project's own source files, as text.
#ifndef LORIKEET_TESTS_TIDY_SOURCE_TREE_H_
#define LORIKEET_TESTS_TIDY_SOURCE_TREE_H_

#include <string>
#include <string_view>
#include <vector>

namespace lorikeet {

struct SourceFile {
  std::string path;  // relative to the repository, e.g. "common/base/file.h"
  std::vector<std::string> lines;

  std::string folder() const;  // "common/base"
};

// Files under the given top-level folders whose name ends in one of `suffixes`, in path order.
std::vector<SourceFile> ReadSources(const std::vector<std::string>& folders,
                                    const std::vector<std::string>& suffixes);

// The line without // comments and without the contents of string literals.
std::string CodeOf(std::string_view line);

// True if `word` stands in `code` with no identifier character on either side.
bool HasWord(std::string_view code, std::string_view word);

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_TIDY_SOURCE_TREE_H_
