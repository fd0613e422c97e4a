#include "device/runtime/kv_cache.h"

#include <sys/mman.h>

#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

AttentionShape ShapeOf(const ModelConfig& config) {
  return {.heads = config.head_count,
          .kv_heads = config.kv_head_count,
          .head_size = config.head_size,
          .scale = 1.0f / std::sqrt(static_cast<float>(config.head_size))};
}

}  // namespace

absl::Status KvCache::CheckType(TensorType type, const ModelConfig& config) {
  if (CanCache(type, config.head_size)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("cache type: expected F32, F16, or Q8_0 with a head size that is a multiple of "
                   "32, got ",
                   TraitsOf(type).name, " with head size ", config.head_size));
}

int64_t KvCache::PositionBytes(TensorType type, const ModelConfig& config) {
  return 2 * int64_t{config.layer_count} * config.kv_head_count *
         CacheRowBytes(type, config.head_size);
}

int64_t KvCache::ScratchBytes(const ModelConfig& config, int64_t rows, int64_t context_length) {
  return CachedAttentionScratchBytes(rows, context_length, ShapeOf(config));
}

KvCache::KvCache(const ModelConfig& config, const KvCacheOptions& options)
    : type_(options.type),
      shape_(ShapeOf(config)),
      row_bytes_(CacheRowBytes(options.type, config.head_size)),
      stretch_bytes_(row_bytes_ * options.context_length),
      stretches_(2 * int64_t{config.layer_count} * config.kv_head_count) {}

absl::StatusOr<std::unique_ptr<KvCache>> KvCache::Create(const ModelConfig& config,
                                                         const KvCacheOptions& options) {
  LORIKEET_CHECK(options.context_length >= 1);
  RETURN_IF_ERROR(CheckType(options.type, config));
  std::unique_ptr<KvCache> cache(new KvCache(config, options));
  int64_t bytes = 0;
  void* memory = MAP_FAILED;
  if (!__builtin_mul_overflow(cache->stretches_, cache->stretch_bytes_, &bytes)) {
    memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  }
  if (memory == MAP_FAILED) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cache of ", options.context_length, " positions of ",
                     PositionBytes(options.type, config), " bytes: the system has no room for it"));
  }
  // A huge page would make one position cost what thousands do.
  madvise(memory, bytes, MADV_NOHUGEPAGE);
  cache->data_ = static_cast<uint8_t*>(memory);
  return cache;
}

KvCache::~KvCache() {
  if (data_ != nullptr) munmap(data_, stretches_ * stretch_bytes_);
}

CacheView KvCache::View(int layer, bool values) const {
  const int64_t first = (2 * int64_t{layer} + (values ? 1 : 0)) * shape_.kv_heads;
  return {.type = type_,
          .data = data_ + first * stretch_bytes_,
          .row_bytes = row_bytes_,
          .head_bytes = stretch_bytes_};
}

void KvCache::Store(int layer, int64_t position, ConstMatrix keys, ConstMatrix values,
                    ThreadPool* pool) {
  StoreInCache(keys, View(layer, false), shape_.kv_heads, position, pool);
  StoreInCache(values, View(layer, true), shape_.kv_heads, position, pool);
}

void KvCache::Attend(int layer, int64_t position, ConstMatrix queries, Matrix attended,
                     ThreadPool* pool) {
  AttentionShape shape = shape_;
  shape.query_offset = position;
  const int64_t bytes = CachedAttentionScratchBytes(queries.rows, position + queries.rows, shape);
  CachedAttention(queries, View(layer, false), View(layer, true), shape, attended,
                  scratch_.Need(bytes), pool);
}

}  // namespace lorikeet
