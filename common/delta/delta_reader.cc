#include "common/delta/delta_reader.h"

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {

absl::StatusOr<std::span<const uint8_t>> DeltaReader::Bytes(uint64_t count) {
  if (count > bytes_.size()) {
    return absl::DataLossError(
        absl::StrFormat("delta: expected %d more bytes, got %d", count, bytes_.size()));
  }
  const auto taken = bytes_.first(count);
  bytes_ = bytes_.subspan(count);
  return taken;
}

absl::StatusOr<uint8_t> DeltaReader::Byte() {
  ASSIGN_OR_RETURN(const auto bytes, Bytes(1));
  return bytes[0];
}

absl::StatusOr<uint64_t> DeltaReader::Number(int width) {
  ASSIGN_OR_RETURN(const auto bytes, Bytes(static_cast<uint64_t>(width)));
  uint64_t value = 0;
  for (int i = 0; i < width; ++i) value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
  return value;
}

absl::StatusOr<uint64_t> DeltaReader::Varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    ASSIGN_OR_RETURN(const uint8_t byte, Byte());
    const uint64_t part = byte & 0x7F;
    if (shift == 63 && part > 1) break;
    value |= part << shift;
    if ((byte & 0x80) == 0) return value;
  }
  return absl::DataLossError("delta: expected a number of at most 64 bits, got a longer one");
}

absl::StatusOr<int64_t> DeltaReader::SignedVarint() {
  ASSIGN_OR_RETURN(const uint64_t folded, Varint());
  return static_cast<int64_t>((folded >> 1) ^ (~(folded & 1) + 1));
}

void AppendNumber(uint64_t value, int width, std::string* out) {
  for (int i = 0; i < width; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

void AppendSignedVarint(int64_t value, std::string* out) {
  const uint64_t bits = static_cast<uint64_t>(value);
  AppendVarint((bits << 1) ^ (value < 0 ? ~uint64_t{0} : 0), out);
}

}  // namespace lorikeet
