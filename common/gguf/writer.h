// Writes GGUF version 3 files: metadata in the order given, tensors aligned to 32 bytes, one atomic
// write.  Files that should not lie in memory at once: declare their tensors here, then
// stream_writer.h.
#ifndef LORIKEET_COMMON_GGUF_WRITER_H_
#define LORIKEET_COMMON_GGUF_WRITER_H_

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/base/tensor_type.h"
#include "common/gguf/reader.h"

namespace lorikeet {

// Not thread-safe.  Keys and tensor names must be unique (CHECKed: our own bug).
class GgufWriter {
 public:
  void AddString(std::string_view key, std::string_view value);
  void AddBool(std::string_view key, bool value);
  void AddUint32(std::string_view key, uint32_t value);
  void AddUint64(std::string_view key, uint64_t value);
  void AddFloat32(std::string_view key, float value);
  void AddStrings(std::string_view key, const std::vector<std::string>& values);
  void AddFloat32s(std::string_view key, std::span<const float> values);
  void AddInt32s(std::string_view key, std::span<const int32_t> values);
  // Copies one key with its exact type and bytes from another file.  REQUIRES: from.Has(key); not
  // general.alignment (we always align to the default, 32 bytes).
  void CopyMetadata(const GgufFile& from, std::string_view key);

  // `data` is copied; shape in GGUF order (shape[0] = row length).  REQUIRES: data.size() fits type
  // and shape.
  void AddTensor(std::string_view name, TensorType type, std::vector<int64_t> shape,
                 std::span<const uint8_t> data);
  void AddTensor(std::string_view name, std::vector<int64_t> shape, std::span<const float> data);

  // A tensor whose bytes a GgufStreamWriter is given later.
  void DeclareTensor(std::string_view name, TensorType type, std::vector<int64_t> shape);

  // The whole file in memory.  REQUIRES: no tensor is only declared.
  std::string Serialize() const;
  // What stands before the tensor data, padded.
  std::string SerializeHead() const;
  // Bytes of each tensor, in order.
  std::vector<uint64_t> TensorSizes() const;
  // Serialize + WriteFileAtomic.
  absl::Status Write(const std::string& path) const;

 private:
  struct Entry {
    std::string key;
    std::string encoded;  // type word and value
  };
  struct Tensor {
    std::string name;
    TensorType type;
    std::vector<int64_t> shape;
    uint64_t bytes;
    std::string data;  // empty: declared only
  };
  void AddEncoded(std::string_view key, std::string encoded);

  std::vector<Entry> entries_;
  std::vector<Tensor> tensors_;
  std::set<std::string> keys_;
  std::set<std::string> tensor_names_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_GGUF_WRITER_H_
