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

// How one tensor is rewritten.
struct RowRounding {
  const GgufTensor& tensor;
  TensorType type;
  const WeightEdit* edit = nullptr;  // null: not edited
};

// Rows [first, first + count).
Rounded RoundRows(const RowRounding& rounding, int64_t first, int64_t count, ThreadPool* pool) {
  const GgufTensor& tensor = rounding.tensor;
  const TensorType type = rounding.type;
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
      if (rounding.edit != nullptr) rounding.edit->apply(tensor.name, first + r, before);
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

void CopyMetadata(const GgufFile& model, std::optional<FileType> type, GgufWriter& head) {
  for (const auto& [key, value] : model.metadata()) {
    // The alignment is the writer's own.
    if (key == kAlignmentKey || (type && (key == kFileTypeKey || key == kVersionKey))) continue;
    head.CopyMetadata(model, key);
  }
  if (!type) return;
  head.AddUint32(kFileTypeKey, static_cast<uint32_t>(*type));
  if (TraitsOf(MainTensorType(*type)).block_elements > 1) {
    head.AddUint32(kVersionKey, kQuantizationVersion);
  }
}

// One run of RewriteWeights.
class Rewriter {
 public:
  Rewriter(const GgufFile& model, const RewriteOptions& options, ThreadPool* pool,
           const std::function<void(int64_t, int64_t)>& progress)
      : model_(model), options_(options), pool_(pool), progress_(progress) {}

  absl::StatusOr<Requantized> Run(const std::string& path) {
    ASSIGN_OR_RETURN(const ModelOutline outline, Outline(model_));
    GgufWriter head;
    CopyMetadata(model_, options_.type, head);
    std::vector<TensorType> types;
    for (const GgufTensor& tensor : model_.tensors()) {
      const TensorType chosen =
          options_.type
              ? ChooseTensorType(*options_.type, outline, tensor.name, tensor.shape, tensor.type)
              : tensor.type;
      types.push_back(chosen);
      head.DeclareTensor(tensor.name, chosen, tensor.shape);
      if (tensor.rows() > 1) ++result_.matrices[chosen];
      if (chosen != tensor.type || Edited(tensor)) total_ += tensor.elements();
      if (Edited(tensor) && !CanQuantize(chosen)) {
        return absl::InvalidArgumentError(absl::StrCat(ToAbsl(tensor.name), ": cannot write ",
                                                       TraitsOf(chosen).name, "; expected one of ",
                                                       FileTypeNames()));
      }
    }
    ASSIGN_OR_RETURN(writer_, GgufStreamWriter::Create(path, head));
    for (size_t i = 0; i < types.size(); ++i) {
      const GgufTensor& tensor = model_.tensors()[i];
      if (types[i] == tensor.type && !Edited(tensor)) {
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
  bool Edited(const GgufTensor& tensor) const {
    return options_.edit.applies && options_.edit.applies(tensor.name);
  }

  absl::Status Round(const GgufTensor& tensor, TensorType type) {
    const RowRounding rounding{tensor, type, Edited(tensor) ? &options_.edit : nullptr};
    const int64_t rows = tensor.rows();
    const int64_t step = std::max<int64_t>(1, kSlabNumbers / tensor.row_length());
    for (int64_t r = 0; r < rows; r += step) {
      const int64_t count = std::min(step, rows - r);
      const Rounded rounded = RoundRows(rounding, r, count, pool_);
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
  const RewriteOptions& options_;
  ThreadPool* pool_;
  const std::function<void(int64_t, int64_t)>& progress_;
  std::unique_ptr<GgufStreamWriter> writer_;
  Requantized result_;
  double squared_error_ = 0;
  int64_t done_ = 0, total_ = 0;
};

}  // namespace

absl::StatusOr<Requantized> RewriteWeights(const GgufFile& model, const RewriteOptions& options,
                                           const std::string& path, ThreadPool* pool,
                                           const std::function<void(int64_t, int64_t)>& progress) {
  absl::StatusOr<Requantized> result = Rewriter(model, options, pool, progress).Run(path);
  if (!result.ok()) return Annotate(result.status(), model.path());
  return result;
}

absl::StatusOr<Requantized> Requantize(const GgufFile& model, FileType type,
                                       const std::string& path, ThreadPool* pool,
                                       const std::function<void(int64_t, int64_t)>& progress) {
  return RewriteWeights(model, {.type = type, .edit = {}}, path, pool, progress);
}

}  // namespace lorikeet
