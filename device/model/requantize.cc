#include "device/model/requantize.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/stream_writer.h"
#include "common/gguf/writer.h"
#include "kernels/quant.h"

namespace lorikeet {
namespace {

constexpr char kFileTypeKey[] = "general.file_type";
constexpr char kVersionKey[] = "general.quantization_version";
constexpr char kAlignmentKey[] = "general.alignment";
// Numbers rounded between two writes.
constexpr int64_t kSlabNumbers = int64_t{1} << 22;

struct Rounded {
  std::vector<uint8_t> data;
  double squared_error = 0;
  float largest = 0;  // magnitude; infinite if a value is not finite
};

// Infinite also for NaN.
float Magnitude(float value) { return std::isfinite(value) ? std::fabs(value) : INFINITY; }

// Rows [first, first + count).
Rounded RoundRows(const GgufTensor& tensor, TensorType type, int64_t first, int64_t count,
                  ThreadPool* pool) {
  const int64_t columns = tensor.row_length();
  const int64_t from_bytes = RowBytes(tensor.type, columns), to_bytes = RowBytes(type, columns);
  Rounded rounded;
  rounded.data.resize(count * to_bytes);
  std::vector<double> errors(count);
  std::vector<float> largest(count);
  pool->ParallelFor(count, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> before(columns), after(columns);
    for (int64_t r = begin; r < end; ++r) {
      DequantizeRow(tensor.type, tensor.data.data() + (first + r) * from_bytes, columns,
                    before.data());
      for (const float value : before) largest[r] = std::max(largest[r], Magnitude(value));
      if (!std::isfinite(largest[r])) continue;
      QuantizeRow(type, before.data(), columns, rounded.data.data() + r * to_bytes);
      DequantizeRow(type, rounded.data.data() + r * to_bytes, columns, after.data());
      for (int64_t c = 0; c < columns; ++c) {
        errors[r] += static_cast<double>(after[c] - before[c]) * (after[c] - before[c]);
      }
    }
  });
  for (int64_t r = 0; r < count; ++r) {
    rounded.squared_error += errors[r];
    rounded.largest = std::max(rounded.largest, largest[r]);
  }
  return rounded;
}

absl::Status CheckRange(float largest, TensorType type) {
  if (!std::isfinite(largest)) {
    return absl::InvalidArgumentError("expected finite values, got some that are not");
  }
  constexpr float kLargestHalf = 65504.0f;
  const bool wide = type == TensorType::kF32 || type == TensorType::kBF16;
  if (wide || largest <= kLargestHalf) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("expected values up to ", kLargestHalf, " for ",
                                                 TraitsOf(type).name, ", got ", largest));
}

absl::StatusOr<ModelOutline> Outline(const GgufFile& model) {
  ASSIGN_OR_RETURN(const std::string_view kind, model.GetString("general.type", "model"));
  if (kind != "model") {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a model, got a file of type '", ToAbsl(kind), "'"));
  }
  ASSIGN_OR_RETURN(const std::string_view architecture, model.GetString("general.architecture"));
  const std::string prefix = absl::StrCat(ToAbsl(architecture), ".");
  ModelOutline outline;
  ASSIGN_OR_RETURN(const int64_t layers, model.GetInt(prefix + "block_count"));
  ASSIGN_OR_RETURN(const int64_t heads, model.GetInt(prefix + "attention.head_count"));
  ASSIGN_OR_RETURN(const int64_t kv_heads, model.GetInt(prefix + "attention.head_count_kv", heads));
  if (layers < 1 || layers > static_cast<int64_t>(model.tensors().size())) {
    return absl::InvalidArgumentError(absl::StrCat(prefix, "block_count: expected 1 to ",
                                                   model.tensors().size(), ", got ", layers));
  }
  outline.layer_count = static_cast<int>(layers);
  outline.grouped_heads = kv_heads < heads;
  outline.tied_output = model.FindTensor("output.weight") == nullptr;
  return outline;
}

void CopyMetadata(const GgufFile& model, FileType type, GgufWriter& head) {
  for (const auto& [key, value] : model.metadata()) {
    // The alignment is the writer's own.
    if (key == kAlignmentKey || key == kFileTypeKey || key == kVersionKey) continue;
    head.CopyMetadata(model, key);
  }
  head.AddUint32(kFileTypeKey, static_cast<uint32_t>(type));
  if (TraitsOf(MainTensorType(type)).block_elements > 1) {
    head.AddUint32(kVersionKey, kQuantizationVersion);
  }
}

// One run of Requantize.
class Rewriter {
 public:
  Rewriter(const GgufFile& model, ThreadPool* pool,
           const std::function<void(int64_t, int64_t)>& progress)
      : model_(model), pool_(pool), progress_(progress) {}

  absl::StatusOr<Requantized> Run(FileType type, const std::string& path) {
    ASSIGN_OR_RETURN(const ModelOutline outline, Outline(model_));
    GgufWriter head;
    CopyMetadata(model_, type, head);
    std::vector<TensorType> types;
    for (const GgufTensor& tensor : model_.tensors()) {
      const TensorType chosen =
          ChooseTensorType(type, outline, tensor.name, tensor.shape, tensor.type);
      types.push_back(chosen);
      head.DeclareTensor(tensor.name, chosen, tensor.shape);
      if (tensor.rows() > 1) ++result_.matrices[chosen];
      if (chosen != tensor.type) total_ += tensor.elements();
    }
    ASSIGN_OR_RETURN(writer_, GgufStreamWriter::Create(path, head));
    for (size_t i = 0; i < types.size(); ++i) {
      const GgufTensor& tensor = model_.tensors()[i];
      if (types[i] == tensor.type) {
        RETURN_IF_ERROR(writer_->Append(tensor.data));
      } else {
        RETURN_IF_ERROR(Annotate(Round(tensor, types[i]), tensor.name));
      }
    }
    RETURN_IF_ERROR(writer_->Finish());
    result_.bytes = writer_->bytes_written();
    if (done_ > 0) result_.rmse = std::sqrt(squared_error_ / static_cast<double>(done_));
    return std::move(result_);
  }

 private:
  absl::Status Round(const GgufTensor& tensor, TensorType type) {
    const int64_t rows = tensor.rows();
    const int64_t step = std::max<int64_t>(1, kSlabNumbers / tensor.row_length());
    for (int64_t r = 0; r < rows; r += step) {
      const int64_t count = std::min(step, rows - r);
      const Rounded rounded = RoundRows(tensor, type, r, count, pool_);
      RETURN_IF_ERROR(CheckRange(rounded.largest, type));
      RETURN_IF_ERROR(writer_->Append(rounded.data));
      squared_error_ += rounded.squared_error;
      done_ += count * tensor.row_length();
      if (progress_) progress_(done_, total_);
    }
    ++result_.tensors_changed;
    return absl::OkStatus();
  }

  const GgufFile& model_;
  ThreadPool* pool_;
  const std::function<void(int64_t, int64_t)>& progress_;
  std::unique_ptr<GgufStreamWriter> writer_;
  Requantized result_;
  double squared_error_ = 0;
  int64_t done_ = 0, total_ = 0;
};

}  // namespace

absl::StatusOr<Requantized> Requantize(const GgufFile& model, FileType type,
                                       const std::string& path, ThreadPool* pool,
                                       const std::function<void(int64_t, int64_t)>& progress) {
  absl::StatusOr<Requantized> result = Rewriter(model, pool, progress).Run(type, path);
  if (!result.ok()) return Annotate(result.status(), model.path());
  return result;
}

}  // namespace lorikeet
