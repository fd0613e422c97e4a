#include "common/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>

namespace lorikeet {
namespace {

spdlog::level::level_enum FromEnvironment() {
  const char* value = std::getenv("LORIKEET_LOG");
  return value ? spdlog::level::from_str(value) : spdlog::level::warn;
}

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("lorikeet",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_level(FromEnvironment());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
    return made;
  }();
  return *logger;
}

}  // namespace

void SetLogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return Logger().set_level(spdlog::level::debug);
    case LogLevel::kInfo:
      return Logger().set_level(spdlog::level::info);
    case LogLevel::kWarning:
      return Logger().set_level(spdlog::level::warn);
    case LogLevel::kError:
      return Logger().set_level(spdlog::level::err);
    case LogLevel::kOff:
      return Logger().set_level(spdlog::level::off);
  }
}

void LogDebug(std::string_view line) { Logger().debug("{}", line); }
void LogInfo(std::string_view line) { Logger().info("{}", line); }
void LogWarning(std::string_view line) { Logger().warn("{}", line); }
void LogError(std::string_view line) { Logger().error("{}", line); }

}  // namespace lorikeet
