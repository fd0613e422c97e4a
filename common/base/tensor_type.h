// Element types of tensors: the numbers GGUF gives them, and how their blocks are laid out.
//
// A row of a quantized tensor is a sequence of blocks; a block holds `block_elements` values in
// `block_bytes` bytes. Row lengths are multiples of block_elements.
#ifndef LORIKEET_COMMON_BASE_TENSOR_TYPE_H_
#define LORIKEET_COMMON_BASE_TENSOR_TYPE_H_

#include <cstdint>
#include <optional>
#include <string_view>

namespace lorikeet {

enum class TensorType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ2_K = 10,
  kQ3_K = 11,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kIQ4_NL = 20,
  kI32 = 26,
  kBF16 = 30,
};

struct TensorTypeTraits {
  TensorType type;
  const char* name;
  int block_elements;
  int block_bytes;
};

// Null for a type we do not know.
const TensorTypeTraits* FindTensorType(uint32_t ggml_type);
// By name as in "Q4_0"; case-insensitive.
std::optional<TensorType> ParseTensorType(std::string_view name);
// REQUIRES: a known type.
const TensorTypeTraits& TraitsOf(TensorType type);
// "F32, F16, ..." for error messages.
std::string_view SupportedTensorTypes();

// Bytes of a row of `elements`.  REQUIRES: elements % block_elements == 0.
inline int64_t RowBytes(TensorType type, int64_t elements) {
  const TensorTypeTraits& traits = TraitsOf(type);
  return elements / traits.block_elements * traits.block_bytes;
}

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_TENSOR_TYPE_H_
