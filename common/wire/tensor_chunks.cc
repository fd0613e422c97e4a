#include "common/wire/tensor_chunks.h"

#include <algorithm>

#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/gguf/reader.h"

namespace lorikeet {

absl::StatusOr<std::vector<uint32_t>> TensorChunkLengths(const std::string& path,
                                                         uint32_t chunk_bytes) {
  ASSIGN_OR_RETURN(const auto mapping, MappedFile::Open(path));
  ASSIGN_OR_RETURN(const auto file, GgufFile::Parse(mapping->bytes(), path));
  std::vector<uint64_t> bounds = {0, mapping->bytes().size()};
  for (const GgufTensor& tensor : file->tensors()) {
    if (tensor.data.empty()) continue;
    bounds.push_back(static_cast<uint64_t>(tensor.data.data() - mapping->bytes().data()));
  }
  std::ranges::sort(bounds);
  bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
  std::vector<uint32_t> lengths;
  bool open = false;  // the last chunk takes more small tensors
  for (size_t i = 0; i + 1 < bounds.size(); ++i) {
    const uint64_t stretch = bounds[i + 1] - bounds[i];
    const bool own = i == 0 || stretch > chunk_bytes;
    if (open && !own && lengths.back() + stretch <= chunk_bytes) {
      lengths.back() += static_cast<uint32_t>(stretch);
      continue;
    }
    for (uint64_t left = stretch; left > 0;) {
      lengths.push_back(static_cast<uint32_t>(std::min<uint64_t>(left, chunk_bytes)));
      left -= lengths.back();
    }
    open = !own;
  }
  return lengths;
}

}  // namespace lorikeet
