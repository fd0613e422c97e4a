// A model whose numbers can be changed: every tensor of a GGUF file as F32 in memory, a Model that
// reads them there, and the way back into a file.
//
// For training all weights (device/trainer) of small models: the memory is four bytes a number.
// Adapters on a frozen base need none of this.
#ifndef LORIKEET_DEVICE_MODEL_TRAINABLE_MODEL_H_
#define LORIKEET_DEVICE_MODEL_TRAINABLE_MODEL_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "device/model/model.h"

namespace lorikeet {

struct TrainableTensor {
  std::string name;  // as in the file
  int64_t rows = 0;
  int64_t columns = 0;  // of a row; a norm or bias is one row
  std::span<float> values;

  bool is_matrix() const { return rows > 1; }
};

// Not thread-safe: nothing may read model() while numbers change.
class TrainableModel {
 public:
  // A copy of `base`; tensors of another type than F32 are dequantized.  Errors as Model::FromFile.
  static absl::StatusOr<std::unique_ptr<TrainableModel>> Create(const Model& base);

  // Sees every change of the numbers, and keeps their memory alive by itself.  Its fingerprint is
  // that of the numbers when it is first asked for.
  std::shared_ptr<const Model> model() const;
  // In the file's order; all that can be learned (rope_freqs.weight is part of the shape).
  std::span<const TrainableTensor> tensors() const { return tensors_; }
  // Matrices that Create had to dequantize.
  int dequantized() const { return dequantized_; }

  // The numbers as they are now, as an F32 file with the metadata and the tokenizer of the one it
  // was made from; replaces `path` at once or not at all.  Errors as WriteFileAtomic.
  absl::Status Write(const std::string& path) const;

 private:
  // The image of an F32 file and the views into it.
  struct Image;
  TrainableModel() = default;

  std::shared_ptr<const Image> image_;
  std::vector<TrainableTensor> tensors_;
  int dequantized_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_MODEL_TRAINABLE_MODEL_H_
