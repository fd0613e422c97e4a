// Small checked conversions that the proto converters share.  Not an interface.
#ifndef LORIKEET_COMMON_WIRE_WIRE_CHECKS_H_
#define LORIKEET_COMMON_WIRE_WIRE_CHECKS_H_

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace lorikeet::wire_internal {

inline std::string BytesToString(std::span<const uint8_t> bytes) {
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

template <size_t N>
absl::StatusOr<std::array<uint8_t, N>> FixedBytes(const std::string& from, const char* field) {
  if (from.size() != N) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected %d bytes, got %d", field, N, from.size()));
  }
  std::array<uint8_t, N> to;
  std::copy(from.begin(), from.end(), to.begin());
  return to;
}

inline absl::StatusOr<std::vector<uint8_t>> SizedBytes(const std::string& from, size_t max,
                                                       const char* field) {
  if (from.empty() || from.size() > max) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected 1 to %d bytes, got %d", field, max, from.size()));
  }
  return std::vector<uint8_t>(from.begin(), from.end());
}

inline absl::Status CheckCount(int64_t count, int64_t max, const char* field) {
  if (count >= 0 && count <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: expected at most %d entries, got %d", field, max, count));
}

inline absl::Status CheckRange(uint64_t value, uint64_t min, uint64_t max, const char* field) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: expected %d to %d, got %d", field, min, max, value));
}

// A finite number in [min, max].
inline absl::Status CheckReal(double value, double min, double max, const char* field) {
  if (std::isfinite(value) && value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: expected %g to %g, got %g", field, min, max, value));
}

inline absl::Status CheckText(const std::string& text, size_t min, size_t max, const char* field) {
  if (text.size() >= min && text.size() <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s: expected %d to %d bytes, got %d", field, min, max, text.size()));
}

// A hash as 64 lower-case hex digits.
inline absl::Status CheckHexHash(const std::string& text, const char* field) {
  const bool digits = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
  });
  if (text.size() == 64 && digits) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrFormat(
      "%s: expected 64 lower-case hex digits, got %d characters", field, text.size()));
}

// Milliseconds since the epoch between the years 1970 and 2200: survives the way there and back
// exactly.
inline absl::StatusOr<absl::Time> TimeFromMillis(int64_t millis, const char* field) {
  constexpr int64_t kYear2200 = int64_t{7258118400} * 1000;
  if (millis < 0 || millis > kYear2200) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: expected 0 to %d ms, got %d", field, kYear2200, millis));
  }
  return absl::FromUnixMillis(millis);
}

}  // namespace lorikeet::wire_internal

#endif  // LORIKEET_COMMON_WIRE_WIRE_CHECKS_H_
