#include "device/runtime/memory_estimate.h"

#include <unistd.h>

#include <algorithm>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "device/runtime/forward.h"
#include "device/runtime/kv_cache.h"

namespace lorikeet {
namespace {

// Version 2 and version 1 of control groups; the second says a huge number for "none".
constexpr const char* kLimitFiles[] = {"/sys/fs/cgroup/memory.max",
                                       "/sys/fs/cgroup/memory/memory.limit_in_bytes"};

}  // namespace

MemoryEstimate EstimateMemory(const Model& model, const MemoryQuestion& question) {
  const ModelConfig& config = model.config();
  const int64_t rows = std::min(question.context_length, kChunkPositions);
  return {.file = static_cast<int64_t>(model.file().size_bytes()),
          .cache = question.context_length * KvCache::PositionBytes(question.kv_type, config),
          .activations = ForwardPass::ScratchBytes(config, question.exact, rows) +
                         KvCache::ScratchBytes(config, rows, question.context_length) +
                         int64_t{config.vocabulary_size} * int64_t{sizeof(float)}};
}

int64_t MemoryLimitBytes() {
  int64_t limit = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  for (const char* path : kLimitFiles) {
    const absl::StatusOr<std::string> text = ReadFile(path);
    int64_t value = 0;
    if (text.ok() && absl::SimpleAtoi(absl::StripSuffix(*text, "\n"), &value) && value > 0) {
      limit = std::min(limit, value);
    }
  }
  return limit;
}

absl::Status CheckMemory(const MemoryEstimate& estimate, int context_length, int64_t limit_bytes) {
  if (estimate.anonymous() <= limit_bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "context of %d positions: expected to fit %.1f MB of memory, needs %.1f MB of cache and %.1f "
      "MB of activations; a shorter context or a smaller cache type needs less",
      context_length, limit_bytes / 1e6, estimate.cache / 1e6, estimate.activations / 1e6));
}

}  // namespace lorikeet
