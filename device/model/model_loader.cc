#include "device/model/model_loader.h"

#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "kernels/attention.h"
#include "kernels/quant.h"

namespace lorikeet {
namespace {

constexpr ArchitectureTraits kArchitectures[] = {
    {.name = "llama",
     .rope_half_split = false,
     .requires_qkv_bias = false,
     .allows_rope_factors = true,
     .normalizes_heads = false},
    {.name = "qwen2",
     .rope_half_split = true,
     .requires_qkv_bias = true,
     .allows_rope_factors = false,
     .normalizes_heads = false},
    {.name = "qwen3",
     .rope_half_split = true,
     .requires_qkv_bias = false,
     .allows_rope_factors = false,
     .normalizes_heads = true},
};

// No dimension of a model that fits a device comes near this; keeps products of two inside 64 bit.
constexpr int64_t kMaxDimension = int64_t{1} << 24;

std::string SupportedArchitectures() {
  std::string names;
  for (const ArchitectureTraits& traits : kArchitectures) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", ToAbsl(traits.name));
  }
  return names;
}

std::string ShapeText(const GgufTensor& tensor) {
  std::string text = "[";
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    absl::StrAppend(&text, tensor.shape[i], i > 0 ? ", " : "");
  }
  return text + "]";
}

std::string BlockName(int layer_index, std::string_view suffix) {
  return absl::StrCat("blk.", layer_index, ".", ToAbsl(suffix));
}

}  // namespace

ModelLoader::ModelLoader(std::shared_ptr<const GgufFile> file, Model& model)
    : file_(std::move(file)), model_(model), config_(model.config_) {}

absl::Status ModelLoader::Load() {
  RETURN_IF_ERROR(LoadWeights());
  RETURN_IF_ERROR(LoadTokenizer());
  model_.file_ = std::move(file_);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const Model>> ModelLoader::LoadWeightsOnly(
    std::shared_ptr<const GgufFile> file) {
  const std::string path = file->path();
  std::shared_ptr<Model> model(new Model());
  ModelLoader loader(std::move(file), *model);
  RETURN_IF_ERROR(Annotate(loader.LoadWeights(), path));
  model->file_ = std::move(loader.file_);
  return std::shared_ptr<const Model>(std::move(model));
}

absl::Status ModelLoader::LoadWeights() {
  RETURN_IF_ERROR(FindArchitecture());
  RETURN_IF_ERROR(LoadConfig());
  RETURN_IF_ERROR(LoadHeads());
  RETURN_IF_ERROR(LoadEmbeddings());
  model_.layers_.resize(config_.layer_count);
  for (int i = 0; i < config_.layer_count; ++i) RETURN_IF_ERROR(LoadLayer(i));
  RETURN_IF_ERROR(LoadRope());
  return CheckNoUnusedTensor();
}

absl::Status ModelLoader::LoadTokenizer() {
  ASSIGN_OR_RETURN(model_.tokenizer_, Tokenizer::Create(file_));
  if (model_.tokenizer_->vocabulary_size() != config_.vocabulary_size) {
    return absl::InvalidArgumentError(
        absl::StrCat("token_embd.weight has ", config_.vocabulary_size, " rows, the tokenizer has ",
                     model_.tokenizer_->vocabulary_size(), " tokens"));
  }
  return absl::OkStatus();
}

absl::Status ModelLoader::FindArchitecture() {
  ASSIGN_OR_RETURN(const std::string_view type, file_->GetString("general.type", "model"));
  if (type != "model") {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a model, got general.type = \"", ToAbsl(type), "\""));
  }
  ASSIGN_OR_RETURN(const std::string_view name, file_->GetString("general.architecture"));
  for (const ArchitectureTraits& traits : kArchitectures) {
    if (traits.name == name) traits_ = &traits;
  }
  if (traits_ == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("unsupported architecture \"", ToAbsl(name),
                                                   "\"; supported: ", SupportedArchitectures()));
  }
  config_.architecture = std::string(name);
  ASSIGN_OR_RETURN(const std::string_view title, file_->GetString("general.name", ""));
  config_.name = std::string(title);
  return absl::OkStatus();
}

absl::Status ModelLoader::LoadConfig() {
  ASSIGN_OR_RETURN(config_.layer_count, Size("block_count"));
  ASSIGN_OR_RETURN(config_.embedding_length, Size("embedding_length"));
  ASSIGN_OR_RETURN(config_.feed_forward_length, Size("feed_forward_length"));
  ASSIGN_OR_RETURN(config_.context_length, Size("context_length"));
  if (config_.layer_count > static_cast<int64_t>(file_->tensors().size())) {
    return absl::InvalidArgumentError(absl::StrCat(Key("block_count"), " is ", config_.layer_count,
                                                   ", the file has only ", file_->tensors().size(),
                                                   " tensors"));
  }
  ASSIGN_OR_RETURN(const double epsilon,
                   file_->GetFloat(Key("attention.layer_norm_rms_epsilon"), 1e-5));
  if (!(epsilon > 0 && epsilon < 1)) {
    return absl::InvalidArgumentError(absl::StrCat(Key("attention.layer_norm_rms_epsilon"),
                                                   ": expected a number in (0, 1), got ", epsilon));
  }
  config_.rms_epsilon = static_cast<float>(epsilon);
  ASSIGN_OR_RETURN(const int64_t experts, file_->GetInt(Key("expert_count"), 0));
  if (experts != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected a dense model, got ", Key("expert_count"), " = ", experts));
  }
  return absl::OkStatus();
}

absl::Status ModelLoader::LoadHeads() {
  ASSIGN_OR_RETURN(config_.head_count, Size("attention.head_count"));
  ASSIGN_OR_RETURN(config_.kv_head_count, Size("attention.head_count_kv", config_.head_count));
  if (config_.head_count % config_.kv_head_count != 0) {
    return absl::InvalidArgumentError(absl::StrCat(config_.head_count, " heads do not divide by ",
                                                   config_.kv_head_count, " key/value heads"));
  }
  const int64_t natural_size = config_.embedding_length / config_.head_count;
  if (!file_->Has(Key("attention.key_length")) &&
      natural_size * config_.head_count != config_.embedding_length) {
    return absl::InvalidArgumentError(absl::StrCat("embedding length ", config_.embedding_length,
                                                   " does not divide by ", config_.head_count,
                                                   " heads"));
  }
  ASSIGN_OR_RETURN(config_.head_size, Size("attention.key_length", natural_size));
  if (config_.head_size > kMaxHeadSize) {
    return absl::InvalidArgumentError(
        absl::StrCat("head size: expected at most ", kMaxHeadSize, ", got ", config_.head_size));
  }
  ASSIGN_OR_RETURN(const int value_size, Size("attention.value_length", config_.head_size));
  if (value_size != config_.head_size) {
    return absl::InvalidArgumentError(absl::StrCat("expected values as long as keys (",
                                                   config_.head_size, "), got ", value_size));
  }
  ASSIGN_OR_RETURN(config_.rope_dimensions, Size("rope.dimension_count", config_.head_size));
  if (config_.rope_dimensions > config_.head_size || config_.rope_dimensions % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(Key("rope.dimension_count"), ": expected an even number up to the head size ",
                     config_.head_size, ", got ", config_.rope_dimensions));
  }
  config_.rope_half_split = traits_->rope_half_split;
  return absl::OkStatus();
}

absl::Status ModelLoader::LoadEmbeddings() {
  const GgufTensor* embedding = file_->FindTensor("token_embd.weight");
  if (embedding == nullptr) return absl::InvalidArgumentError("no tensor token_embd.weight");
  if (embedding->rows() > kMaxDimension) {
    return absl::InvalidArgumentError(
        absl::StrCat("token_embd.weight: too many rows, ", embedding->rows()));
  }
  config_.vocabulary_size = static_cast<int>(embedding->rows());
  const int64_t channels = config_.embedding_length;
  ASSIGN_OR_RETURN(model_.token_embedding_,
                   Weight("token_embd.weight", config_.vocabulary_size, channels));
  config_.tied_output = file_->FindTensor("output.weight") == nullptr;
  model_.output_ = model_.token_embedding_;
  if (!config_.tied_output) {
    ASSIGN_OR_RETURN(model_.output_, Weight("output.weight", config_.vocabulary_size, channels));
  }
  ASSIGN_OR_RETURN(model_.output_norm_, Vector("output_norm.weight", channels));
  return absl::OkStatus();
}

absl::Status ModelLoader::LoadLayer(int index) {
  LayerWeights& layer = model_.layers_[index];
  const int64_t channels = config_.embedding_length;
  const int64_t hidden = config_.feed_forward_length;
  const int64_t queries = int64_t{config_.head_count} * config_.head_size;
  const int64_t keys = int64_t{config_.kv_head_count} * config_.head_size;
  const struct {
    Module module;
    int64_t rows, cols;
  } shapes[] = {{Module::kQ, queries, channels},   {Module::kK, keys, channels},
                {Module::kV, keys, channels},      {Module::kO, channels, queries},
                {Module::kGate, hidden, channels}, {Module::kUp, hidden, channels},
                {Module::kDown, channels, hidden}};
  for (const auto& shape : shapes) {
    ASSIGN_OR_RETURN(layer.weights[static_cast<int>(shape.module)],
                     Weight(WeightName(index, shape.module), shape.rows, shape.cols));
  }
  ASSIGN_OR_RETURN(layer.attention_norm, Vector(BlockName(index, "attn_norm.weight"), channels));
  ASSIGN_OR_RETURN(layer.ffn_norm, Vector(BlockName(index, "ffn_norm.weight"), channels));
  const bool required = traits_->requires_qkv_bias;
  ASSIGN_OR_RETURN(layer.bias_q, Vector(BlockName(index, "attn_q.bias"), queries, required));
  ASSIGN_OR_RETURN(layer.bias_k, Vector(BlockName(index, "attn_k.bias"), keys, required));
  ASSIGN_OR_RETURN(layer.bias_v, Vector(BlockName(index, "attn_v.bias"), keys, required));
  if (traits_->normalizes_heads) {
    const int64_t head = config_.head_size;
    ASSIGN_OR_RETURN(layer.query_norm, Vector(BlockName(index, "attn_q_norm.weight"), head));
    ASSIGN_OR_RETURN(layer.key_norm, Vector(BlockName(index, "attn_k_norm.weight"), head));
  }
  return absl::OkStatus();
}

// A tensor that we would ignore changes what the model computes: better to refuse than to be
// silently wrong.
absl::Status ModelLoader::CheckNoUnusedTensor() const {
  for (const GgufTensor& tensor : file_->tensors()) {
    if (used_tensors_.contains(tensor.name)) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor ", ToAbsl(tensor.name), " is not part of architecture ", config_.architecture));
  }
  return absl::OkStatus();
}

std::string ModelLoader::Key(std::string_view suffix) const {
  return absl::StrCat(config_.architecture, ".", ToAbsl(suffix));
}

absl::StatusOr<int> ModelLoader::Size(std::string_view suffix, int64_t missing) const {
  const std::string key = Key(suffix);
  const bool required = missing < 0;
  ASSIGN_OR_RETURN(const int64_t value,
                   required ? file_->GetInt(key) : file_->GetInt(key, missing));
  if (value < 1 || value > kMaxDimension) {
    return absl::InvalidArgumentError(
        absl::StrCat(key, ": expected 1 to ", kMaxDimension, ", got ", value));
  }
  return static_cast<int>(value);
}

absl::StatusOr<WeightView> ModelLoader::Weight(const std::string& name, int64_t rows,
                                               int64_t cols) {
  const GgufTensor* tensor = file_->FindTensor(name);
  if (tensor == nullptr) return absl::InvalidArgumentError(absl::StrCat("no tensor ", name));
  if (tensor->shape.size() > 2 || tensor->row_length() != cols || tensor->rows() != rows) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": expected shape [", rows, ", ", cols, "], got ", ShapeText(*tensor)));
  }
  if (tensor->type == TensorType::kI32) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": expected a weight type, got I32"));
  }
  used_tensors_.insert(name);
  return WeightView{.type = tensor->type,
                    .data = tensor->data.data(),
                    .rows = rows,
                    .cols = cols,
                    .row_bytes = RowBytes(tensor->type, cols)};
}

absl::StatusOr<const float*> ModelLoader::Vector(const std::string& name, int64_t size,
                                                 bool required) {
  const GgufTensor* tensor = file_->FindTensor(name);
  if (tensor == nullptr) {
    if (!required) return nullptr;
    return absl::InvalidArgumentError(absl::StrCat("no tensor ", name));
  }
  if (tensor->elements() != size || tensor->rows() != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": expected shape [", size, "], got ", ShapeText(*tensor)));
  }
  if (tensor->type == TensorType::kI32) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": expected a float type, got I32"));
  }
  used_tensors_.insert(name);
  const uint8_t* data = tensor->data.data();
  // A file may ask for an alignment of less than four bytes.
  const bool aligned = reinterpret_cast<uintptr_t>(data) % alignof(float) == 0;
  if (tensor->type == TensorType::kF32 && aligned) return reinterpret_cast<const float*>(data);
  std::vector<float>& values = model_.owned_vectors_.emplace_back(size);
  DequantizeRow(tensor->type, data, size, values.data());
  return values.data();
}

}  // namespace lorikeet
