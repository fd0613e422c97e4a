// Logging facade over spdlog.  Lines go to stderr.  Never pass text, tokens, gradients or keys.
#ifndef LORIKEET_COMMON_BASE_LOG_H_
#define LORIKEET_COMMON_BASE_LOG_H_

#include <string_view>

namespace lorikeet {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

// Lines under this level are dropped.  Default kWarning, or $LORIKEET_LOG (debug, info, warning,
// error, off).
void SetLogLevel(LogLevel level);

// Thread-safe.  Format with absl::StrFormat or absl::StrCat.
void LogDebug(std::string_view line);
void LogInfo(std::string_view line);
void LogWarning(std::string_view line);
void LogError(std::string_view line);

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_LOG_H_
