#include "device/model/requantize.h"

#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "kernels/quant.h"

namespace lorikeet {
namespace {

constexpr char kFileTypeKey[] = "general.file_type";
constexpr char kAlignmentKey[] = "general.alignment";

// llama.cpp's number for a file that is mostly of one type.
uint32_t FileType(TensorType type) {
  switch (type) {
    case TensorType::kF16:
      return 1;
    case TensorType::kQ4_0:
      return 2;
    case TensorType::kQ4_1:
      return 3;
    case TensorType::kQ8_0:
      return 7;
    case TensorType::kQ5_0:
      return 8;
    case TensorType::kQ5_1:
      return 9;
    case TensorType::kBF16:
      return 32;
    default:
      return 0;
  }
}

struct Rounded {
  std::vector<uint8_t> data;
  double squared_error = 0;
  bool finite = true;
};

Rounded RoundTensor(const GgufTensor& tensor, TensorType type, ThreadPool* pool) {
  const int64_t columns = tensor.row_length(), rows = tensor.rows();
  const int64_t from_bytes = RowBytes(tensor.type, columns), to_bytes = RowBytes(type, columns);
  Rounded rounded;
  rounded.data.resize(rows * to_bytes);
  std::vector<double> errors(rows);
  pool->ParallelFor(rows, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> before(columns), after(columns);
    for (int64_t r = begin; r < end; ++r) {
      DequantizeRow(tensor.type, tensor.data.data() + r * from_bytes, columns, before.data());
      double sum = 0;
      for (const float value : before) sum += value;
      if (!std::isfinite(sum)) {
        errors[r] = sum;
        continue;
      }
      QuantizeRow(type, before.data(), columns, rounded.data.data() + r * to_bytes);
      DequantizeRow(type, rounded.data.data() + r * to_bytes, columns, after.data());
      for (int64_t c = 0; c < columns; ++c) {
        errors[r] += static_cast<double>(after[c] - before[c]) * (after[c] - before[c]);
      }
    }
  });
  for (const double error : errors) {
    rounded.squared_error += error;
    rounded.finite &= std::isfinite(error);
  }
  return rounded;
}

}  // namespace

absl::StatusOr<Requantized> Requantize(const GgufFile& model, TensorType type, ThreadPool* pool,
                                       const std::function<void(int, int)>& progress) {
  if (!CanQuantize(type)) {
    return absl::InvalidArgumentError(
        absl::StrCat("quantize: expected a type that can be written (F32, F16, BF16, Q8_0, Q4_0, "
                     "Q4_1, Q5_0, Q5_1), got ",
                     TraitsOf(type).name));
  }
  ASSIGN_OR_RETURN(const std::string_view kind, model.GetString("general.type", "model"));
  if (kind != "model") {
    return absl::InvalidArgumentError(
        absl::StrCat(model.path(), ": expected a model, got a file of type '", ToAbsl(kind), "'"));
  }
  Requantized result;
  for (const auto& [key, value] : model.metadata()) {
    if (key == kAlignmentKey) continue;  // the writer's own, its default
    if (key == kFileTypeKey) {
      result.file.AddUint32(key, FileType(type));
    } else {
      result.file.CopyMetadata(model, key);
    }
  }
  double squared_error = 0;
  int64_t numbers = 0;
  const int total = static_cast<int>(model.tensors().size());
  for (int i = 0; i < total; ++i) {
    const GgufTensor& tensor = model.tensors()[i];
    const bool matrix = tensor.shape.size() >= 2 && tensor.rows() > 1;
    const bool fits = tensor.row_length() % TraitsOf(type).block_elements == 0;
    if (!matrix || !fits) {
      result.file.AddTensor(tensor.name, tensor.type, tensor.shape, tensor.data);
      result.tensors_kept += matrix;
    } else {
      const Rounded rounded = RoundTensor(tensor, type, pool);
      if (!rounded.finite) {
        return absl::InvalidArgumentError(absl::StrCat(model.path(), ": ", ToAbsl(tensor.name),
                                                       " holds values that are not finite"));
      }
      result.file.AddTensor(tensor.name, type, tensor.shape, rounded.data);
      squared_error += rounded.squared_error;
      numbers += tensor.elements();
      ++result.tensors_changed;
    }
    if (progress) progress(i + 1, total);
  }
  result.rmse = numbers > 0 ? std::sqrt(squared_error / static_cast<double>(numbers)) : 0;
  return result;
}

}  // namespace lorikeet
