// The checked walk over a GGUF file.  Not for use outside this folder: see reader.h.
#ifndef LORIKEET_COMMON_GGUF_PARSER_H_
#define LORIKEET_COMMON_GGUF_PARSER_H_

#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/gguf/format.h"
#include "common/gguf/reader.h"

namespace lorikeet {

// Fills a GgufFile from file.bytes_.  Every position is checked against the end before it is read.
class GgufParser {
 public:
  // Arrays whose key begins with `without` (if not empty) are checked but not kept.
  explicit GgufParser(GgufFile& file, std::string_view without = {})
      : file_(file), bytes_(file.bytes_), without_(without) {}
  absl::Status Parse();

  // A GgufFile with its bytes set and nothing parsed.
  static std::shared_ptr<GgufFile> NewFile(std::string path, std::unique_ptr<MappedFile> mapping,
                                           std::span<const uint8_t> bytes);

 private:
  absl::Status Header();
  absl::Status Metadata();
  absl::Status Alignment();
  absl::Status TensorInfos();
  absl::Status PlaceTensors();

  uint64_t remaining() const { return bytes_.size() - position_; }
  template <typename T>
  absl::StatusOr<T> Number(std::string_view what);
  absl::StatusOr<std::string_view> String(std::string_view what, uint64_t limit);
  absl::StatusOr<GgufValue> Value(std::string_view key, uint32_t type);
  absl::StatusOr<GgufValue> Array(std::string_view key);
  template <typename T>
  absl::Status Integers(std::string_view key, uint64_t count, GgufArray& array);
  template <typename T>
  absl::Status Floats(std::string_view key, uint64_t count, GgufArray& array);
  absl::Status Bools(std::string_view key, uint64_t count, GgufArray& array);
  absl::Status Strings(std::string_view key, uint64_t count, GgufArray& array);
  absl::StatusOr<GgufTensor> TensorInfo(uint64_t* offset);
  // INVALID_ARGUMENT with the byte position.
  absl::Status Malformed(std::string_view message) const;
  absl::Status Truncated(std::string_view what, uint64_t need) const;

  GgufFile& file_;
  std::span<const uint8_t> bytes_;
  std::string_view without_;
  uint64_t position_ = 0;
  uint64_t tensor_count_ = 0;
  uint64_t metadata_count_ = 0;
  uint64_t alignment_ = kGgufDefaultAlignment;
  std::vector<uint64_t> offsets_;  // of each tensor, from the start of the data
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_GGUF_PARSER_H_
