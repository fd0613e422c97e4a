#include "device/model/random_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numbers>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/random.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/gguf/stream_writer.h"
#include "common/gguf/writer.h"
#include "device/model/random_vocabulary.h"
#include "kernels/quant.h"

namespace lorikeet {
namespace {

struct NamedShape {
  const char* name;
  ModelShape shape;
};

const NamedShape kShapes[] = {
    {"qwen2.5-0.5b", {"qwen2", 24, 896, 14, 2, 64, 4864, 151936, true, false, 32768, 1e6f}},
    {"qwen2.5-1.5b", {"qwen2", 28, 1536, 12, 2, 128, 8960, 151936, true, false, 32768, 1e6f}},
    {"qwen2.5-3b", {"qwen2", 36, 2048, 16, 2, 128, 11008, 151936, true, false, 32768, 1e6f}},
    {"qwen3-0.6b", {"qwen3", 28, 1024, 16, 8, 128, 3072, 151936, true, false, 40960, 1e6f}},
    {"llama-3.2-1b", {"llama", 16, 2048, 32, 8, 64, 8192, 128256, true, true, 131072, 5e5f}},
    {"llama-3.2-3b", {"llama", 28, 3072, 24, 8, 128, 8192, 128256, true, true, 131072, 5e5f}},
    {"llama-3.1-8b", {"llama", 32, 4096, 32, 8, 128, 14336, 128256, false, true, 131072, 5e5f}},
};

constexpr int kMaxDimension = 1 << 20;
// Numbers of the pool that pieces are drawn from, and of one piece written at once.
constexpr int64_t kPoolValues = int64_t{1} << 20;
constexpr int64_t kSlabBytes = int64_t{1} << 23;

// How a tensor is filled: mean + spread * normal (matrices of spread 0: from the pool), or given.
struct PlannedTensor {
  std::string name;
  TensorType type = TensorType::kF32;
  std::vector<int64_t> shape;
  float mean = 0;
  float spread = 0;
  std::vector<float> given;
};

// What Llama 3.1 and later divide their rotation frequencies by: nothing for wavelengths far below
// the original context of 8192, `factor` for those far above, smooth in between.
std::vector<float> RopeFactors(const ModelShape& shape) {
  constexpr double kFactor = 32, kLow = 1, kHigh = 4, kOriginalContext = 8192;
  std::vector<float> factors;
  for (int i = 0; i < shape.head_size / 2; ++i) {
    const double frequency = std::pow(shape.rope_base, -2.0 * i / shape.head_size);
    const double turns = kOriginalContext * frequency / (2 * std::numbers::pi);
    const double smooth = std::clamp((turns - kLow) / (kHigh - kLow), 0.0, 1.0);
    factors.push_back(static_cast<float>(1 / ((1 - smooth) / kFactor + smooth)));
  }
  return factors;
}

class Plan {
 public:
  explicit Plan(const RandomModelOptions& options)
      : shape_(options.shape),
        type_(options.type),
        init_(options.init),
        outline_{.layer_count = shape_.layers,
                 .tied_output = shape_.tied,
                 .grouped_heads = shape_.heads != shape_.kv_heads} {
    Matrix("token_embd.weight", shape_.embedding, shape_.vocabulary);
    for (int i = 0; i < shape_.layers; ++i) Layer(absl::StrCat("blk.", i, "."));
    Vector("output_norm.weight", shape_.embedding, 1.0f);
    if (!shape_.tied) Matrix("output.weight", shape_.embedding, shape_.vocabulary);
    if (shape_.rope_factors) {
      Vector("rope_freqs.weight", shape_.head_size / 2, 0.0f);
      tensors_.back().given = RopeFactors(shape_);
    }
  }
  const std::vector<PlannedTensor>& tensors() const { return tensors_; }

 private:
  void Layer(const std::string& prefix) {
    const int queries = shape_.heads * shape_.head_size, keys = shape_.kv_heads * shape_.head_size;
    Vector(prefix + "attn_norm.weight", shape_.embedding, 1.0f);
    Matrix(prefix + "attn_q.weight", shape_.embedding, queries);
    Matrix(prefix + "attn_k.weight", shape_.embedding, keys);
    Matrix(prefix + "attn_v.weight", shape_.embedding, keys);
    Matrix(prefix + "attn_output.weight", queries, shape_.embedding);
    if (shape_.architecture == "qwen2") {
      Vector(prefix + "attn_q.bias", queries, 0.0f);
      Vector(prefix + "attn_k.bias", keys, 0.0f);
      Vector(prefix + "attn_v.bias", keys, 0.0f);
    } else if (shape_.architecture == "qwen3") {
      Vector(prefix + "attn_q_norm.weight", shape_.head_size, 1.0f);
      Vector(prefix + "attn_k_norm.weight", shape_.head_size, 1.0f);
    }
    Vector(prefix + "ffn_norm.weight", shape_.embedding, 1.0f);
    Matrix(prefix + "ffn_gate.weight", shape_.embedding, shape_.ffn);
    Matrix(prefix + "ffn_up.weight", shape_.embedding, shape_.ffn);
    Matrix(prefix + "ffn_down.weight", shape_.ffn, shape_.embedding);
  }
  void Matrix(const std::string& name, int64_t columns, int64_t rows) {
    const std::vector<int64_t> shape = {columns, rows};
    tensors_.push_back({.name = name,
                        .type = ChooseTensorType(type_, outline_, name, shape, TensorType::kF32),
                        .shape = shape,
                        .spread = init_ == WeightInit::kTraining ? TrainingSpread(name) : 0.0f,
                        .given = {}});
  }
  float TrainingSpread(const std::string& name) const {
    const bool residual =
        name.ends_with(".attn_output.weight") || name.ends_with(".ffn_down.weight");
    return residual ? 0.02f / std::sqrt(2.0f * static_cast<float>(shape_.layers)) : 0.02f;
  }
  void Vector(const std::string& name, int64_t size, float mean) {
    const float spread = init_ == WeightInit::kTraining ? 0.0f : 0.1f;
    tensors_.push_back(
        {.name = name, .shape = {size}, .mean = mean, .spread = spread, .given = {}});
  }

  const ModelShape& shape_;
  FileType type_;
  WeightInit init_;
  ModelOutline outline_;
  std::vector<PlannedTensor> tensors_;
};

void AddConfig(const RandomModelOptions& options, GgufWriter& writer) {
  const ModelShape& shape = options.shape;
  const auto number = [&](const char* key, int value) {
    writer.AddUint32(absl::StrCat(shape.architecture, ".", key), static_cast<uint32_t>(value));
  };
  writer.AddString("general.architecture", shape.architecture);
  writer.AddString("general.type", "model");
  writer.AddString("general.name", absl::StrCat("random weights, seed ", options.seed));
  number("block_count", shape.layers);
  number("context_length", shape.context);
  number("embedding_length", shape.embedding);
  number("feed_forward_length", shape.ffn);
  number("attention.head_count", shape.heads);
  number("attention.head_count_kv", shape.kv_heads);
  number("attention.key_length", shape.head_size);
  number("attention.value_length", shape.head_size);
  number("rope.dimension_count", shape.head_size);
  number("vocab_size", shape.vocabulary);
  writer.AddFloat32(shape.architecture + ".rope.freq_base", shape.rope_base);
  writer.AddFloat32(shape.architecture + ".attention.layer_norm_rms_epsilon",
                    shape.architecture == "llama" ? 1e-5f : 1e-6f);
  writer.AddUint32("general.file_type", static_cast<uint32_t>(options.type));
  if (TraitsOf(MainTensorType(options.type)).block_elements > 1) {
    writer.AddUint32("general.quantization_version", kQuantizationVersion);
  }
}

// Pieces of rows, rounded once for each type and row length; rows are drawn from them.
class RowSource {
 public:
  RowSource(uint64_t seed, ThreadPool* pool) : seed_(seed), pool_(pool), normals_(kPoolValues) {
    pool_->ParallelFor(kPoolValues, kPieceValues, [&](int64_t begin, int64_t end) {
      // The split depends on the number of threads, the numbers must not.
      for (int64_t i = begin; i < end; i += kPieceValues) {
        Rng rng(seed + static_cast<uint64_t>(i));
        const int64_t stop = std::min(end, i + kPieceValues);
        for (int64_t j = i; j < stop; ++j) normals_[j] = static_cast<float>(rng.Normal());
      }
    });
  }

  // Rows [begin, end) of matrix `index`.
  std::vector<uint8_t> Rows(const PlannedTensor& tensor, uint64_t index, int64_t begin,
                            int64_t end) {
    if (tensor.spread > 0) return NormalRows(tensor, index, begin, end);
    const int64_t columns = tensor.shape[0];
    const int64_t values = columns % kPieceValues == 0 ? kPieceValues : std::gcd(columns, 32);
    const std::vector<uint8_t>& pieces = Pieces(tensor.type, columns);
    const int64_t piece_bytes = RowBytes(tensor.type, values);
    const int64_t row_bytes = RowBytes(tensor.type, columns);
    std::vector<uint8_t> out((end - begin) * row_bytes);
    pool_->ParallelFor(end - begin, 16, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        Rng rng(seed_ ^ (index << 40) ^ static_cast<uint64_t>(begin + r));
        uint8_t* to = out.data() + r * row_bytes;
        for (int64_t c = 0; c < columns; c += values, to += piece_bytes) {
          const int64_t pick = static_cast<int64_t>(rng.Next() >> 32) % (kPoolValues / values);
          std::memcpy(to, pieces.data() + pick * piece_bytes, piece_bytes);
        }
      }
    });
    return out;
  }

  // The same without the pool.
  std::vector<uint8_t> NormalRows(const PlannedTensor& tensor, uint64_t index, int64_t begin,
                                  int64_t end) {
    const int64_t columns = tensor.shape[0], row_bytes = RowBytes(tensor.type, columns);
    std::vector<uint8_t> out((end - begin) * row_bytes);
    pool_->ParallelFor(end - begin, 16, [&](int64_t first, int64_t last) {
      std::vector<float> row(columns);
      for (int64_t r = first; r < last; ++r) {
        Rng rng(seed_ ^ (index << 40) ^ static_cast<uint64_t>(begin + r));
        for (float& x : row) x = tensor.mean + tensor.spread * static_cast<float>(rng.Normal());
        QuantizeRow(tensor.type, row.data(), columns, out.data() + r * row_bytes);
      }
    });
    return out;
  }

  std::vector<float> Vector(const PlannedTensor& tensor, uint64_t index) const {
    if (!tensor.given.empty()) return tensor.given;
    Rng rng(seed_ ^ (index << 40));
    std::vector<float> values(tensor.shape[0]);
    for (float& x : values) x = tensor.mean + tensor.spread * static_cast<float>(rng.Normal());
    return values;
  }

 private:
  static constexpr int64_t kPieceValues = 256;

  const std::vector<uint8_t>& Pieces(TensorType type, int64_t columns) {
    std::vector<uint8_t>& pieces = pieces_[{type, columns}];
    if (!pieces.empty()) return pieces;
    pieces.resize(RowBytes(type, kPoolValues));
    const float scale = 1.0f / std::sqrt(static_cast<float>(columns));
    pool_->ParallelFor(kPoolValues / kPieceValues, 1, [&](int64_t begin, int64_t end) {
      float scaled[kPieceValues];
      for (int64_t i = begin; i < end; ++i) {
        for (int64_t j = 0; j < kPieceValues; ++j) {
          scaled[j] = scale * normals_[i * kPieceValues + j];
        }
        QuantizeRow(type, scaled, kPieceValues, pieces.data() + i * RowBytes(type, kPieceValues));
      }
    });
    return pieces;
  }

  uint64_t seed_;
  ThreadPool* pool_;
  std::vector<float> normals_;
  std::map<std::pair<TensorType, int64_t>, std::vector<uint8_t>> pieces_;
};

absl::Status CheckShape(const ModelShape& shape) {
  if (shape.architecture != "llama" && shape.architecture != "qwen2" &&
      shape.architecture != "qwen3") {
    return absl::InvalidArgumentError(absl::StrCat(
        "architecture: expected llama, qwen2 or qwen3, got '", shape.architecture, "'"));
  }
  const std::pair<const char*, int> sizes[] = {
      {"layers", shape.layers},         {"embedding", shape.embedding}, {"heads", shape.heads},
      {"kv-heads", shape.kv_heads},     {"head-size", shape.head_size}, {"ffn", shape.ffn},
      {"vocabulary", shape.vocabulary}, {"context", shape.context}};
  for (const auto& [name, value] : sizes) {
    if (value < 1 || value > kMaxDimension) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": expected 1 to ", kMaxDimension, ", got ", value));
    }
  }
  if (shape.heads % shape.kv_heads != 0) {
    return absl::InvalidArgumentError(absl::StrCat("kv-heads: expected a divisor of ", shape.heads,
                                                   " heads, got ", shape.kv_heads));
  }
  if (shape.head_size % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("head-size: expected an even number, got ", shape.head_size));
  }
  return absl::OkStatus();
}

absl::Status WriteTensor(const PlannedTensor& tensor, uint64_t index, RowSource& source,
                         GgufStreamWriter& writer) {
  if (tensor.shape.size() == 1) {
    const std::vector<float> values = source.Vector(tensor, index);
    return writer.Append({reinterpret_cast<const uint8_t*>(values.data()), 4 * values.size()});
  }
  const int64_t rows = tensor.shape[1];
  const int64_t step = std::max<int64_t>(1, kSlabBytes / RowBytes(tensor.type, tensor.shape[0]));
  for (int64_t r = 0; r < rows; r += step) {
    RETURN_IF_ERROR(writer.Append(source.Rows(tensor, index, r, std::min(rows, r + step))));
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<ModelShape> FindModelShape(std::string_view name) {
  for (const NamedShape& known : kShapes) {
    if (known.name == name) return known.shape;
  }
  return std::nullopt;
}

std::string ModelShapeNames() {
  std::string names;
  for (const NamedShape& known : kShapes) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", known.name);
  }
  return names;
}

absl::StatusOr<uint64_t> WriteRandomModel(const RandomModelOptions& options,
                                          const std::string& path, ThreadPool* pool,
                                          const std::function<void(int64_t, int64_t)>& progress) {
  RETURN_IF_ERROR(CheckShape(options.shape));
  GgufWriter head;
  AddConfig(options, head);
  RETURN_IF_ERROR(AddRandomVocabulary(options, head));
  const Plan plan(options);
  for (const PlannedTensor& tensor : plan.tensors()) {
    head.DeclareTensor(tensor.name, tensor.type, tensor.shape);
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<GgufStreamWriter> writer,
                   GgufStreamWriter::Create(path, head));
  RowSource source(options.seed, pool);
  const auto total = static_cast<int64_t>(plan.tensors().size());
  for (int64_t i = 0; i < total; ++i) {
    RETURN_IF_ERROR(WriteTensor(plan.tensors()[i], static_cast<uint64_t>(i), source, *writer));
    if (progress) progress(i + 1, total);
  }
  RETURN_IF_ERROR(writer->Finish());
  return writer->bytes_written();
}

}  // namespace lorikeet
