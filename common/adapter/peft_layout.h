// What import and export of PEFT directories share: names, and the order of rows.  See peft.h.
#ifndef LORIKEET_COMMON_ADAPTER_PEFT_LAYOUT_H_
#define LORIKEET_COMMON_ADAPTER_PEFT_LAYOUT_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/adapter/adapter.h"
#include "common/adapter/peft.h"

namespace lorikeet {

// A tensor's name: prefix, path of the module in the base model, suffix.
inline constexpr std::string_view kPeftPrefix = "base_model.model.";
inline constexpr std::string_view kPeftSuffixA = ".lora_A.weight";
inline constexpr std::string_view kPeftSuffixB = ".lora_B.weight";
// By Module; behind "model.layers.<N>.".
inline constexpr std::array<std::string_view, kModuleCount> kPeftModules = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
// (3, kQ) -> "model.layers.3.self_attn.q_proj".
std::string PeftModulePath(const AdapterTarget& target);

// Keys of our own in the metadata of the weights.
inline constexpr char kPeftNameKey[] = "lorikeet.name";
inline constexpr char kPeftKindKey[] = "lorikeet.adapter.kind";
inline constexpr char kPeftNoteKey[] = "lorikeet.note";
inline constexpr char kPeftFingerprintKey[] = "lorikeet.base_fingerprint";
inline constexpr char kPeftPersonaKey[] = "lorikeet.persona_id";
inline constexpr char kPeftVersionKey[] = "lorikeet.version";
inline constexpr char kPeftParentKey[] = "lorikeet.parent";

enum class RowOrder : uint8_t { kToGguf, kToPeft };
// Puts B's rows where the other format has them: for queries and keys of architecture llama, each
// head's rows interleaved (first, half + first, second, half + second, ...) in GGUF, laid out as
// halves in PEFT.  INVALID_ARGUMENT: rows that are not heads of an even size.
absl::Status ReorderRows(const PeftBase& base, RowOrder order, AdapterMatrix& matrix);

// INVALID_ARGUMENT for a layer that the base does not have.
absl::Status CheckPeftLayer(const AdapterTarget& target, const PeftBase& base);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_PEFT_LAYOUT_H_
