// Writes a GGUF file whose tensors are made one piece after another, so that only a piece lies in
// memory.  Metadata and shapes: writer.h.
#ifndef LORIKEET_COMMON_GGUF_STREAM_WRITER_H_
#define LORIKEET_COMMON_GGUF_STREAM_WRITER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/atomic_file.h"
#include "common/gguf/writer.h"

namespace lorikeet {

// Not thread-safe.  The file appears at Finish; without it nothing is left.
class GgufStreamWriter {
 public:
  // `head`: all metadata and declared tensors.
  static absl::StatusOr<std::unique_ptr<GgufStreamWriter>> Create(const std::string& path,
                                                                  const GgufWriter& head);
  // The next bytes of the tensors, in their order; a piece lies within one tensor (CHECKed).
  // RESOURCE_EXHAUSTED: the disk is full.
  absl::Status Append(std::span<const uint8_t> piece);
  // REQUIRES: every tensor is complete (CHECKed).
  absl::Status Finish();
  uint64_t bytes_written() const { return bytes_written_; }

 private:
  GgufStreamWriter(std::unique_ptr<AtomicFile> file, std::vector<uint64_t> sizes)
      : file_(std::move(file)), sizes_(std::move(sizes)) {}
  absl::Status Write(std::string_view bytes);

  std::unique_ptr<AtomicFile> file_;
  std::vector<uint64_t> sizes_;
  size_t tensor_ = 0;      // the one being written
  uint64_t position_ = 0;  // in it
  uint64_t bytes_written_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_GGUF_STREAM_WRITER_H_
