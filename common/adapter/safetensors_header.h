// The JSON header of a safetensors file, as it stands there.  See safetensors.h, which checks what
// the numbers mean.
#ifndef LORIKEET_COMMON_ADAPTER_SAFETENSORS_HEADER_H_
#define LORIKEET_COMMON_ADAPTER_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace lorikeet {

inline constexpr char kSafetensorsMetadataKey[] = "__metadata__";

struct SafetensorsEntry {
  std::string name;
  std::string dtype;
  std::vector<uint64_t> shape;
  uint64_t begin = 0;  // data_offsets
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
};

// Costs no more memory than a few times `text`, whatever it holds.  INVALID_ARGUMENT: not JSON, not
// of this form, a name or field twice or missing.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(std::string_view text);

// Bytes from a file, quoted, fit for a line of an error message.
std::string ShownBytes(std::string_view text);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_ADAPTER_SAFETENSORS_HEADER_H_
