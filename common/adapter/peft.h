// LoRA adapters as Hugging Face's PEFT library stores them: a directory of
// adapter_model.safetensors and adapter_config.json.
//
// Tensors: base_model.model.model.layers.<N>.self_attn.{q,k,v,o}_proj.lora_{A,B}.weight and
// ...mlp.{gate,up,down}_proj..., A [rank, in], B [out, rank], as in adapter.h.  GGUF files of
// architecture llama hold the rows of attn_q and attn_k in another order than Hugging Face (the two
// numbers that rotate together lie side by side instead of half a head apart), so B's rows of these
// two change places both ways; those of qwen2 and qwen3 do not.
// Our keys (gguf_io.h) travel as "lorikeet.*" in the safetensors metadata.  An adapter of kind core
// leaves as plain LoRA with B R and comes back as such: PEFT has no place for a core.
// Not here: GGUF (gguf_io.h), other methods than LoRA, pickled .bin files.
// Sources: peft_config.h; convert_lora_to_gguf.py of llama.cpp for the order of rows.
#ifndef LORIKEET_COMMON_ADAPTER_PEFT_H_
#define LORIKEET_COMMON_ADAPTER_PEFT_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/adapter/safetensors.h"
#include "common/base/tensor_type.h"
#include "common/gguf/reader.h"

namespace lorikeet {

inline constexpr char kPeftWeightsName[] = "adapter_model.safetensors";
inline constexpr char kPeftConfigName[] = "adapter_config.json";

// What an exchange needs to know of the base model.
struct PeftBase {
  std::string architecture;  // llama, qwen2 or qwen3
  std::string name;          // general.name
  int layer_count = 0;
  int head_count = 0;
  int kv_head_count = 0;
};
// INVALID_ARGUMENT: not a model, another architecture (named, with the supported ones), counts that
// no model has.
absl::StatusOr<PeftBase> ReadPeftBase(const GgufFile& model);

struct PeftOptions {
  TensorType type = TensorType::kF32;  // or F16, BF16
  std::string base_model;              // what PEFT calls the base; empty: the base's own name
};

// The contents of the two files.
struct PeftFiles {
  std::string weights;
  std::string config;
};

// Factors in F32 survive the way there and back to the bit, and so does alpha.
// INVALID_ARGUMENT: an adapter that is broken, empty or for another architecture, heads that do not
// divide a matrix, values that do not fit options.type.
absl::StatusOr<PeftFiles> ToPeft(const Adapter& adapter, const PeftBase& base,
                                 const PeftOptions& options);
// Kind lora; alpha is lora_alpha (times sqrt(rank) with use_rslora).  Where modules have alphas of
// their own that no single one expresses, each scale is multiplied into B and alpha is 0.
// INVALID_ARGUMENT: as ParsePeftConfig; tensors that are no such LoRA (named), half a pair, ranks
// that are not the config's, layers that the base does not have, values that are not finite.
absl::StatusOr<Adapter> FromPeft(std::string_view config, const SafetensorsFile& weights,
                                 const PeftBase& base);

// The same with a directory.  Export makes it where it is missing and puts both files in place only
// when both are written and synced.
absl::Status ExportPeft(const Adapter& adapter, const PeftBase& base, const PeftOptions& options,
                        const std::string& directory);
// Without a name in the metadata the adapter is called as the directory.
absl::StatusOr<Adapter> ImportPeft(const std::string& directory, const PeftBase& base);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_PEFT_H_
