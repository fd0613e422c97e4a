// Bridges between std::string_view, which our interfaces take, and absl::string_view, a different
// type in Debian.
#ifndef LORIKEET_COMMON_BASE_STRINGS_H_
#define LORIKEET_COMMON_BASE_STRINGS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace lorikeet {

inline absl::string_view ToAbsl(std::string_view s) { return {s.data(), s.size()}; }
inline std::string_view ToStd(absl::string_view s) { return {s.data(), s.size()}; }

inline std::span<const uint8_t> AsBytes(std::string_view s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}
inline std::string_view AsChars(std::span<const uint8_t> b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

// The message of a status as std::string_view (absl's own accessor returns absl::string_view).
inline std::string_view Message(const absl::Status& status) { return ToStd(status.message()); }

// The status with "context: " put before its message; OK stays OK.
inline absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  std::string message(context);
  message.append(": ").append(Message(status));
  return absl::Status(status.code(), message);
}

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_STRINGS_H_
