// The safetensors format: named float tensors behind a JSON header, the weights of Hugging Face
// libraries.
//
// File: header length N (u64, little-endian) · N bytes of JSON, an object of
//   "<name>": {"dtype": "F32", "shape": [rows, columns], "data_offsets": [begin, end]}, and
//   optional
//   "__metadata__": {"<key>": "<string>"}; may be padded with spaces · data.
// Offsets count from the start of the data; the tensors cover it without gap or overlap.  A shape
// is row-major, its last number the row length.  Source: the format's description in
// https://github.com/huggingface/safetensors.
// Not here: dtypes other than F32, F16 and BF16, and what names mean (peft.h).
#ifndef LORIKEET_COMMON_ADAPTER_SAFETENSORS_H_
#define LORIKEET_COMMON_ADAPTER_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/file.h"
#include "common/base/tensor_type.h"

namespace lorikeet {

// The format's own limit.
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

struct SafetensorsTensor {
  std::string name;
  TensorType type = TensorType::kF32;  // F32, F16 or BF16
  std::vector<int64_t> shape;          // empty: one number
  std::span<const uint8_t> data;       // in the file; need not be aligned

  int64_t elements() const;
  std::vector<float> Values() const;
};

// Immutable; thread-safe.
class SafetensorsFile {
 public:
  // INVALID_ARGUMENT says what was expected and what came: a header that is not there, too long or
  // not such JSON, a name twice, an unsupported dtype (with the supported ones), offsets that are
  // reversed, overlap, leave gaps, point outside or do not fit dtype and shape.  NOT_FOUND: no such
  // file.
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);
  // The same on bytes that the caller keeps alive.
  static absl::StatusOr<SafetensorsFile> Parse(std::span<const uint8_t> bytes);

  const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }  // as they lie
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  SafetensorsFile() = default;
  std::unique_ptr<MappedFile> file_;
  std::vector<SafetensorsTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Not thread-safe.
class SafetensorsWriter {
 public:
  void SetMetadata(const std::string& key, const std::string& value) { metadata_[key] = value; }
  // INVALID_ARGUMENT: a value that is finite in F32 and is not in `type`.
  // REQUIRES: a new name other than __metadata__, F32, F16 or BF16, as many values as fit `shape`.
  absl::Status AddTensor(const std::string& name, TensorType type, std::vector<int64_t> shape,
                         std::span<const float> values);
  // The header is padded so that the data is aligned to 8 bytes.  Equal calls give equal bytes.
  std::string Serialize() const;

 private:
  struct Tensor {
    std::string name;
    TensorType type;
    std::vector<int64_t> shape;
    std::string data;
  };
  std::map<std::string, std::string> metadata_;
  std::vector<Tensor> tensors_;
  std::set<std::string> names_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_SAFETENSORS_H_
