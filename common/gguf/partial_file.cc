#include "common/gguf/partial_file.h"

#include <utility>

#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/parser.h"

namespace lorikeet {

absl::StatusOr<std::shared_ptr<const GgufFile>> OpenGgufWithoutArrays(const std::string& path,
                                                                      std::string_view prefix) {
  ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> mapping, MappedFile::Open(path));
  const std::span<const uint8_t> bytes = mapping->bytes();
  std::shared_ptr<GgufFile> file = GgufParser::NewFile(path, std::move(mapping), bytes);
  RETURN_IF_ERROR(Annotate(GgufParser(*file, prefix).Parse(), path));
  return file;
}

}  // namespace lorikeet
