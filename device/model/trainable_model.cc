#include "device/model/trainable_model.h"

#include <algorithm>
#include <utility>

#include "common/base/status_macros.h"
#include "common/gguf/format.h"
#include "common/gguf/reader.h"
#include "common/gguf/stream_writer.h"
#include "common/gguf/writer.h"
#include "device/model/file_type.h"
#include "kernels/quant.h"

namespace lorikeet {
namespace {

constexpr char kRopeFactors[] = "rope_freqs.weight";

// Metadata and shapes of `file` with every tensor F32.
GgufWriter Head(const GgufFile& file) {
  constexpr char kFileTypeKey[] = "general.file_type";
  GgufWriter head;
  for (const auto& [key, value] : file.metadata()) {
    const bool about_types = key == kFileTypeKey || key == "general.quantization_version";
    // The alignment is the writer's own.
    if (!about_types && key != "general.alignment") head.CopyMetadata(file, key);
  }
  head.AddUint32(kFileTypeKey, static_cast<uint32_t>(FileType::kF32));
  for (const GgufTensor& tensor : file.tensors()) {
    head.DeclareTensor(tensor.name, TensorType::kF32, tensor.shape);
  }
  return head;
}

}  // namespace

struct TrainableModel::Image {
  std::vector<float> memory;  // floats, so that they are aligned
  std::shared_ptr<const GgufFile> file;
  std::shared_ptr<const Model> model;
};

absl::StatusOr<std::unique_ptr<TrainableModel>> TrainableModel::Create(const Model& base) {
  const GgufFile& file = base.file();
  const GgufWriter head = Head(file);
  const std::string start = head.SerializeHead();
  uint64_t bytes = start.size();
  for (const uint64_t size : head.TensorSizes()) bytes += GgufAligned(size);

  auto image = std::make_shared<Image>();
  image->memory.resize(bytes / sizeof(float));
  float* const memory = image->memory.data();
  std::copy(start.begin(), start.end(), reinterpret_cast<char*>(memory));
  std::unique_ptr<TrainableModel> result(new TrainableModel());
  float* values = memory + start.size() / sizeof(float);
  for (const GgufTensor& tensor : file.tensors()) {
    const int64_t columns = tensor.row_length();
    const int64_t row_bytes = RowBytes(tensor.type, columns);
    for (int64_t r = 0; r < tensor.rows(); ++r) {
      DequantizeRow(tensor.type, tensor.data.data() + r * row_bytes, columns, values + r * columns);
    }
    if (tensor.type != TensorType::kF32) ++result->dequantized_;
    if (tensor.name != kRopeFactors) {
      result->tensors_.push_back({std::string(tensor.name),
                                  tensor.rows(),
                                  columns,
                                  {values, static_cast<size_t>(tensor.elements())}});
    }
    values += GgufAligned(tensor.elements() * sizeof(float)) / sizeof(float);
  }
  ASSIGN_OR_RETURN(image->file,
                   GgufFile::Parse({reinterpret_cast<const uint8_t*>(memory), bytes}, file.path()));
  ASSIGN_OR_RETURN(image->model, Model::FromFile(image->file));
  result->image_ = std::move(image);
  return result;
}

std::shared_ptr<const Model> TrainableModel::model() const { return {image_, image_->model.get()}; }

absl::Status TrainableModel::Write(const std::string& path) const {
  const GgufFile& file = *image_->file;
  ASSIGN_OR_RETURN(const std::unique_ptr<GgufStreamWriter> writer,
                   GgufStreamWriter::Create(path, Head(file)));
  for (const GgufTensor& tensor : file.tensors()) RETURN_IF_ERROR(writer->Append(tensor.data));
  return writer->Finish();
}

}  // namespace lorikeet
