// Adapters on disk: llama.cpp's GGUF LoRA format, which llama.cpp loads unchanged, plus our keys.
//
// general.type="adapter", general.architecture, adapter.type="lora", adapter.lora.alpha (f32),
// tensors <weight>.lora_a (ne = [in, rank]) and <weight>.lora_b (ne = [rank, out]).  Ours, optional
// for reading:
//   lorikeet.adapter.kind "lora"|"core" · lorikeet.base_fingerprint (hex) · lorikeet.persona_id ·
//   lorikeet.version (u64) · lorikeet.parent (hex) · kind core: lorikeet.core.r and lorikeet.core.b
//   (f32 arrays, matrices by layer, then q k v o gate up down), while lora_b holds B R so that any
//   runtime computes the same · lorikeet.adapter.residual_rank (i32 array in the same order): how
//   many ranks of each matrix, the last ones, are the personal residual on top of a persona.
#ifndef LORIKEET_COMMON_ADAPTER_GGUF_IO_H_
#define LORIKEET_COMMON_ADAPTER_GGUF_IO_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/adapter.h"
#include "common/gguf/reader.h"

namespace lorikeet {

// What we read at most.
inline constexpr int kMaxAdapterRank = 1024;
inline constexpr int kMaxAdapterFeatures = 1 << 24;

// INVALID_ARGUMENT: not an adapter, half of a pair missing, unknown suffix, inconsistent ranks,
// non-finite values.
absl::StatusOr<Adapter> ReadAdapter(const std::string& path);
absl::StatusOr<Adapter> ReadAdapter(const GgufFile& file);
absl::Status WriteAdapter(const Adapter& adapter, const std::string& path);
// REQUIRES: CheckAdapterShape(adapter).ok(); WriteAdapter returns its error instead.
std::string SerializeAdapter(const Adapter& adapter);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_GGUF_IO_H_
