// What `quantize` is asked for, "Q4_0" or "Q4_K_M": which tensor of a model gets which type.
//
// The rules are llama.cpp's (llama-quantize, dense models, no importance matrix), so that a file of
// a name holds the same types whoever wrote it.  How a row is rounded: kernels/quant.h.
#ifndef LORIKEET_DEVICE_MODEL_FILE_TYPE_H_
#define LORIKEET_DEVICE_MODEL_FILE_TYPE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/tensor_type.h"

namespace lorikeet {

// The number is the value of general.file_type.
enum class FileType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ8_0 = 7,
  kQ5_0 = 8,
  kQ5_1 = 9,
  kQ4_K_S = 14,
  kQ4_K_M = 15,
  kQ5_K_S = 16,
  kQ5_K_M = 17,
  kQ6_K = 18,
  kBF16 = 32,
};

// general.quantization_version of the block formats in kernels/quant.h.
inline constexpr uint32_t kQuantizationVersion = 2;

// By name as in "Q4_K_M", case-insensitive; "Q4_K" and "Q5_K" mean the M mixes, as in llama.cpp.
std::optional<FileType> ParseFileType(std::string_view name);
std::string_view FileTypeName(FileType type);
// "F32, F16, ..." for help and error messages.
std::string FileTypeNames();
// The type of most matrices.
TensorType MainTensorType(FileType type);

// What the choice depends on besides a tensor's own name and shape.
struct ModelOutline {
  int layer_count = 0;
  bool tied_output = true;     // there is no output.weight: the embedding is the output as well
  bool grouped_heads = false;  // fewer key/value heads than query heads
};

// The type that `name`, a tensor of `shape` (GGUF order) and type `current`, gets in a file of
// `type`.  Vectors, norms and what is not a weight keep theirs; rows that are not whole blocks of
// the type fall back to one with blocks of 32, then to F16.
TensorType ChooseTensorType(FileType type, const ModelOutline& model, std::string_view name,
                            const std::vector<int64_t>& shape, TensorType current);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_MODEL_FILE_TYPE_H_
