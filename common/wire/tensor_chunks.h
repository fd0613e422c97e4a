// Where a model file is cut into chunks: at its tensors, so that what is the same in the next
// version has the same chunks, wherever it lies there.
#ifndef LORIKEET_COMMON_WIRE_TENSOR_CHUNKS_H_
#define LORIKEET_COMMON_WIRE_TENSOR_CHUNKS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/wire/limits.h"

namespace lorikeet {

// Lengths for DescribeFile (manifest.h).  The head and each tensor above `chunk_bytes` have chunks
// of their own, of chunk_bytes and a shorter last one; smaller tensors that follow one another
// share a chunk.  Bytes between tensors go with the one before.  INVALID_ARGUMENT: not GGUF.
absl::StatusOr<std::vector<uint32_t>> TensorChunkLengths(const std::string& path,
                                                         uint32_t chunk_bytes = kChunkBytes);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_WIRE_TENSOR_CHUNKS_H_
