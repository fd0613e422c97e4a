// A GGUF file without some of its metadata: a vocabulary of 150 000 tokens takes six megabytes of
// lists that only a tokenizer needs.
#ifndef LORIKEET_COMMON_GGUF_PARTIAL_FILE_H_
#define LORIKEET_COMMON_GGUF_PARTIAL_FILE_H_

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/gguf/reader.h"

namespace lorikeet {

// GgufFile::Open, but arrays whose key begins with `prefix` are checked and then left out: the
// file's look-ups find no such key.
absl::StatusOr<std::shared_ptr<const GgufFile>> OpenGgufWithoutArrays(const std::string& path,
                                                                      std::string_view prefix);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_GGUF_PARTIAL_FILE_H_
