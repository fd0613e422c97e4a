// Low-rank adapters: what a persona, a personal residual and a blend of personas are made of.
//
// For a weight W [out, in] an adapter adds  y += s * B (A x)         (kind lora)
//                                      or   y += s * B (R (A x))     (kind core: A, B fixed and
//                                      orthonormal, R trained)
// with A [rank, in], B [out, rank], R [rank, rank], s = user scale * alpha / rank.
// Files: llama.cpp's GGUF adapter format plus our keys, see gguf_io.h.
#ifndef LORIKEET_COMMON_ADAPTER_ADAPTER_H_
#define LORIKEET_COMMON_ADAPTER_ADAPTER_H_

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lorikeet {

enum class Module : uint8_t { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr int kModuleCount = 7;

// "q", "k", ... as in --modules.
std::string_view ModuleName(Module module);
// GGUF weight name, e.g. (3, kQ) -> "blk.3.attn_q.weight".
std::string WeightName(int layer_index, Module module);
// Inverse of WeightName.
struct AdapterTarget {
  int layer_index = 0;
  Module module = Module::kQ;
  friend auto operator<=>(const AdapterTarget&, const AdapterTarget&) = default;
};
std::optional<AdapterTarget> ParseWeightName(std::string_view name);
// "all" or "q,k,v,o,gate,up,down"; INVALID_ARGUMENT names the unknown word.
absl::StatusOr<std::vector<Module>> ParseModules(std::string_view list);

enum class AdapterKind : uint8_t { kLora, kCore };

struct AdapterMatrix {
  AdapterTarget target;
  int rank = 0;
  int in_features = 0;
  int out_features = 0;
  std::vector<float> a;     // [rank, in]
  std::vector<float> b;     // [out, rank]
  std::vector<float> core;  // [rank, rank] for kCore, else empty
  // Of a personal adapter: how many of the ranks, the last ones, were learned from the owner's text
  // on top of a persona.  nullopt: nobody says.
  std::optional<int> residual_rank = std::nullopt;

  // The second factor as a runtime uses it: B for kLora, B R for kCore; [out, rank].
  std::vector<float> EffectiveB() const;
};

struct AdapterInfo {
  std::string architecture;  // of the base: "llama", "qwen2"
  std::string name;          // free text
  AdapterKind kind = AdapterKind::kLora;
  float alpha = 0;               // 0 means: user scale only (llama.cpp)
  std::string base_fingerprint;  // 64 hex digits, or empty: made elsewhere
  std::string persona_id;        // empty: none
  uint64_t version = 0;
  std::string parent;  // hash (hex) of the adapter or catalog it was trained from, or empty
};

struct Adapter {
  AdapterInfo info;
  std::vector<AdapterMatrix> matrices;  // sorted by target

  // alpha / rank of this matrix, or 1 when alpha is 0.
  float BaseScale(const AdapterMatrix& matrix) const;
  int64_t ParameterCount() const;  // trained numbers: A and B, or cores
};

// INVALID_ARGUMENT: sizes that do not fit rank and shape, a core where there should be none or the
// reverse, values that are not finite, targets out of order or twice.  The message names the
// weight.
absl::Status CheckAdapterShape(const Adapter& adapter);

// The adapter that adds sum_k weights[k] * (what adapters[k] adds), for adapters of kind core with
// identical factors A and B.  Takes info of the first, without persona id and parent.
// INVALID_ARGUMENT: another kind, other factors, not one weight per adapter; FAILED_PRECONDITION:
// different bases (names both).
absl::StatusOr<Adapter> BlendCores(const std::vector<const Adapter*>& adapters,
                                   const std::vector<float>& weights);

// Adds `factor` times what `adapter` adds: scales the cores (kCore) or B (kLora).
Adapter ScaleAdapter(Adapter adapter, float factor);

// An adapter in use, with the user's scale.  Borrows.
struct AdapterRef {
  const Adapter* adapter = nullptr;
  float scale = 1.0f;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_ADAPTER_H_
