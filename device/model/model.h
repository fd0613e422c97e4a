// A base model: a GGUF file of a supported architecture, its weights as views into the mapping, its
// tokenizer.
//
// Architectures: "llama" (adjacent rotary pairs (2i, 2i+1), optional rope_freqs.weight), "qwen2"
// (half-split rotary pairs (i, i + d/2), QKV bias) and "qwen3" (half-split pairs, every head of
// queries and keys normalized before it turns).  Output may be tied to the token embedding.
#ifndef LORIKEET_DEVICE_MODEL_MODEL_H_
#define LORIKEET_DEVICE_MODEL_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/gguf/reader.h"
#include "common/tokenizer/tokenizer.h"
#include "kernels/views.h"

namespace lorikeet {

struct ModelConfig {
  std::string architecture;
  std::string name;
  int vocabulary_size = 0;
  int layer_count = 0;
  int embedding_length = 0;  // C
  int head_count = 0;        // H
  int kv_head_count = 0;
  int head_size = 0;  // query and key
  int feed_forward_length = 0;
  int context_length = 0;   // as trained
  int rope_dimensions = 0;  // leading dimensions of a head that rotate
  float rope_base = 10000.0f;
  float rms_epsilon = 1e-5f;
  bool rope_half_split = false;  // pairs (i, i + d/2) instead of (2i, 2i + 1)
  bool tied_output = false;
};

struct LayerWeights {
  const float* attention_norm = nullptr;  // [C]
  const float* ffn_norm = nullptr;        // [C]
  WeightView weights[kModuleCount];       // by Module
  const float* bias_q = nullptr;          // [H * head_size] or null
  const float* bias_k = nullptr;
  const float* bias_v = nullptr;
  const float* query_norm = nullptr;  // [head_size] or null: RMSNorm of each head before rotation
  const float* key_norm = nullptr;

  const WeightView& weight(Module module) const { return weights[static_cast<int>(module)]; }
};

// Immutable; thread-safe.  Weights, and norms and biases that are F32, stay in the mapped file.
class Model {
 public:
  // INVALID_ARGUMENT: missing or misshapen tensors, unsupported architecture (named, with the
  // supported ones).
  static absl::StatusOr<std::shared_ptr<const Model>> Load(const std::string& path);
  static absl::StatusOr<std::shared_ptr<const Model>> FromFile(
      std::shared_ptr<const GgufFile> file);

  const ModelConfig& config() const { return config_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const WeightView& token_embedding() const { return token_embedding_; }  // [vocabulary, C]
  const WeightView& output() const { return output_; }                    // [vocabulary, C]
  const float* output_norm() const { return output_norm_; }               // [C]
  const LayerWeights& layer(int index) const { return layers_[index]; }
  // Inverse frequencies of the rotary pairs, rope_freqs.weight and the file's scaling (linear,
  // YaRN) included; [rope_dimensions / 2].
  const std::vector<float>& rope_inverse_frequencies() const { return rope_inverse_frequencies_; }
  // What Rope wants for rows at `positions`; table [T, rope_dimensions].
  void FillRopeTable(const int32_t* positions, Matrix table) const;
  const GgufFile& file() const { return *file_; }
  // Base fingerprint, 64 hex digits; computed at first use (reads the whole file once).
  const std::string& fingerprint() const;

  // OK if `adapter` fits this base.  FAILED_PRECONDITION names both fingerprints when they differ;
  // INVALID_ARGUMENT names the matrix whose shape does not fit.  An adapter without fingerprint is
  // checked by shapes only.
  absl::Status CheckAdapter(const Adapter& adapter) const;

 private:
  Model();
  friend class ModelLoader;
  struct LazyFingerprint;

  std::shared_ptr<const GgufFile> file_;
  ModelConfig config_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  WeightView token_embedding_;
  WeightView output_;
  const float* output_norm_ = nullptr;
  std::vector<LayerWeights> layers_;
  // Norms and biases that are not f32 in the file, converted.
  std::vector<std::vector<float>> owned_vectors_;
  std::vector<float> rope_inverse_frequencies_;
  float rope_magnitude_ = 1.0f;  // of the rotated vectors: YaRN lengthens them
  std::shared_ptr<LazyFingerprint> fingerprint_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_MODEL_MODEL_H_
