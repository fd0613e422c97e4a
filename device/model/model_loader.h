// Fills a Model from a GGUF file: configuration from the metadata, weights from the tensors, all
// shapes checked.
//
// Not an interface: only model.cc includes this.  Key and tensor names: llama.cpp's
// gguf-py/gguf/constants.py.
#ifndef LORIKEET_DEVICE_MODEL_MODEL_LOADER_H_
#define LORIKEET_DEVICE_MODEL_MODEL_LOADER_H_

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/gguf/reader.h"
#include "device/model/model.h"

namespace lorikeet {

// What differs between architectures.  A new one is a row of these plus whatever columns it needs.
struct ArchitectureTraits {
  std::string_view name;
  bool rope_half_split;      // rotary pairs (i, i + d/2) instead of (2i, 2i + 1)
  bool requires_qkv_bias;    // otherwise biases are optional
  bool allows_rope_factors;  // rope_freqs.weight
  bool normalizes_heads;     // attn_q_norm.weight, attn_k_norm.weight
};

// Used once: construct, Load.
class ModelLoader {
 public:
  ModelLoader(std::shared_ptr<const GgufFile> file, Model& model);
  // Errors as Model::FromFile.
  absl::Status Load();
  // The same without a tokenizer (weights_only_model.h).
  static absl::StatusOr<std::shared_ptr<const Model>> LoadWeightsOnly(
      std::shared_ptr<const GgufFile> file);

 private:
  absl::Status LoadWeights();
  absl::Status LoadTokenizer();
  absl::Status FindArchitecture();
  absl::Status LoadConfig();
  absl::Status LoadHeads();
  absl::Status LoadEmbeddings();
  absl::Status LoadLayer(int index);
  absl::Status LoadRope();
  // Multiplies the inverse frequencies by what the file's scaling asks for.
  absl::Status ScaleRope(std::vector<double>& frequencies);
  absl::Status ScaleRopeYarn(double factor, std::vector<double>& frequencies);
  absl::StatusOr<double> RopeScalingFactor() const;
  absl::Status CheckNoUnusedTensor() const;

  // "<architecture>.<suffix>"
  std::string Key(std::string_view suffix) const;
  // A positive size; `missing` < 0 makes the key required.
  absl::StatusOr<int> Size(std::string_view suffix, int64_t missing = -1) const;
  // A required weight matrix [rows, cols].
  absl::StatusOr<WeightView> Weight(const std::string& name, int64_t rows, int64_t cols);
  // A vector of `size` (any float type): where the file has it if it is F32 there, else converted
  // and owned by the model; null if optional and absent.
  absl::StatusOr<const float*> Vector(const std::string& name, int64_t size, bool required = true);

  std::shared_ptr<const GgufFile> file_;
  Model& model_;
  ModelConfig& config_;
  const ArchitectureTraits* traits_ = nullptr;
  std::set<std::string, std::less<>> used_tensors_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_MODEL_MODEL_LOADER_H_
