// GGUF files (versions 2 and 3, little-endian): a checked, memory-mapped view.
//
// Every length, count, offset and type is checked once, in Open; what the accessors return can be
// trusted to lie inside the mapping.  Not here: what the keys mean (device/model, common/tokenizer,
// common/adapter). Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
#ifndef LORIKEET_COMMON_GGUF_READER_H_
#define LORIKEET_COMMON_GGUF_READER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/tensor_type.h"

namespace lorikeet {

// A metadata value.  Integers are widened to 64 bit, f32 to double; string views point into the
// mapping.
struct GgufArray;
using GgufValue = std::variant<bool, int64_t, uint64_t, double, std::string_view,
                               std::shared_ptr<const GgufArray>>;

// Homogeneous; exactly one of the vectors is used.  Nested arrays are refused.
struct GgufArray {
  std::vector<int64_t> integers;  // every integer type and bool
  std::vector<double> floats;     // f32 and f64
  std::vector<std::string_view> strings;
};

struct GgufTensor {
  std::string_view name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;  // GGUF order: shape[0] is the row length ("ne"); at most 4
  std::span<const uint8_t> data;

  int64_t row_length() const { return shape.empty() ? 1 : shape[0]; }
  int64_t rows() const;  // product of shape[1..]
  int64_t elements() const;
};

// Immutable after Open; thread-safe.
class GgufFile {
 public:
  // INVALID_ARGUMENT: not GGUF, big-endian, unknown version, malformed, truncated, unknown tensor
  // type (named, with the supported ones), duplicate names.  NOT_FOUND: no such file.
  static absl::StatusOr<std::shared_ptr<const GgufFile>> Open(const std::string& path);
  // The same checks on bytes that the caller keeps alive (tests, fuzzing, downloads).
  static absl::StatusOr<std::shared_ptr<const GgufFile>> Parse(std::span<const uint8_t> bytes,
                                                               std::string name);

  const std::string& path() const { return path_; }
  uint64_t size_bytes() const { return bytes_.size(); }
  uint32_t version() const { return version_; }

  const std::vector<GgufTensor>& tensors() const { return tensors_; }  // in file order
  const GgufTensor* FindTensor(std::string_view name) const;

  const std::map<std::string_view, GgufValue>& metadata() const { return metadata_; }
  bool Has(std::string_view key) const { return metadata_.contains(key); }
  // Typed look-ups: INVALID_ARGUMENT names the key, the expected type and what was found.
  absl::StatusOr<std::string_view> GetString(std::string_view key) const;
  absl::StatusOr<int64_t> GetInt(std::string_view key) const;
  absl::StatusOr<double> GetFloat(std::string_view key) const;  // accepts integers
  absl::StatusOr<bool> GetBool(std::string_view key) const;
  absl::StatusOr<const GgufArray*> GetArray(std::string_view key) const;
  // The same with a default for a missing key (a key of another type is still an error).
  absl::StatusOr<std::string_view> GetString(std::string_view key, std::string_view missing) const;
  absl::StatusOr<int64_t> GetInt(std::string_view key, int64_t missing) const;
  absl::StatusOr<double> GetFloat(std::string_view key, double missing) const;
  absl::StatusOr<bool> GetBool(std::string_view key, bool missing) const;

  // The value of `key` as it stands in the file: its type word (u32) and its bytes.  Empty if there
  // is no such key.
  std::span<const uint8_t> RawMetadata(std::string_view key) const;

  // The base fingerprint: BLAKE2b-256 over all tensors in name order (name, type, shape, data; each
  // sized). Metadata does not enter.  Reads all tensor bytes.
  Hash256 Fingerprint() const;

 private:
  GgufFile() = default;
  friend class GgufParser;
  std::string path_;
  std::unique_ptr<MappedFile> file_;
  std::span<const uint8_t> bytes_;
  uint32_t version_ = 0;
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, size_t> tensor_index_;
  std::map<std::string_view, GgufValue> metadata_;
  std::map<std::string_view, std::span<const uint8_t>> raw_metadata_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_GGUF_READER_H_
