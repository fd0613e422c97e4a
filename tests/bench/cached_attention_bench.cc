// Time that attention over the cache adds to a token, for the shapes of real models.  Not part of
// ctest.
//
// Run: cached_attention_bench [--isa=avx2] [--threads=1] --benchmark_repetitions=5.  "per token" is
// for all layers; each layer has a cache of its own, and several sequences take turns, so that
// decoding reads from memory as it does behind the weights.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "common/base/thread_pool.h"
#include "kernels/cached_attention.h"
#include "tests/bench/bench_main.h"

namespace lorikeet {
namespace {

ThreadPool* pool = nullptr;  // of BenchMain

struct Model {
  const char* name;
  int layers, heads, kv_heads, head_size;
};
constexpr Model kModels[] = {{"Qwen2.5-0.5B", 24, 14, 2, 64}, {"Llama-3.2-1B", 16, 32, 8, 64}};

// Keys and values of every layer of some sequences.
class Caches {
 public:
  Caches(const Model& model, TensorType type, int64_t capacity, int sequences) {
    const int64_t row_bytes = CacheRowBytes(type, model.head_size);
    const int64_t bytes = model.kv_heads * capacity * row_bytes;
    const int64_t views = static_cast<int64_t>(2) * model.layers * sequences;
    data_.resize(static_cast<size_t>(views * bytes));
    std::mt19937 generator(1);
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(capacity * model.kv_heads * model.head_size));
    for (float& x : values) x = normal(generator);
    const ConstMatrix rows(values.data(), capacity, model.kv_heads * model.head_size);
    for (int64_t i = 0; i < views; ++i) {
      views_.push_back({type, data_.data() + i * bytes, row_bytes, capacity * row_bytes});
      StoreInCache(rows, views_.back(), model.kv_heads, 0, pool);
    }
  }
  const CacheView& at(size_t i) const { return views_[i]; }
  size_t count() const { return views_.size(); }

 private:
  std::vector<uint8_t> data_;
  std::vector<CacheView> views_;
};

void BM_CachedAttention(benchmark::State& state, Model model, TensorType type, int64_t t,
                        int64_t offset) {
  const Caches caches(model, type, offset + t, t > 8 ? 1 : 4);
  const AttentionShape shape{.heads = model.heads,
                             .kv_heads = model.kv_heads,
                             .head_size = model.head_size,
                             .scale = 0.125f,
                             .query_offset = offset};
  const int64_t width = model.heads * model.head_size;
  std::vector<float> q(static_cast<size_t>(t * width), 0.01f), out(q.size());
  std::vector<uint8_t> scratch(
      static_cast<size_t>(CachedAttentionScratchBytes(t, offset + t, shape)));
  size_t next = 0;
  for (auto _ : state) {
    for (int layer = 0; layer < model.layers; ++layer) {
      CachedAttention({q.data(), t, width}, caches.at(next), caches.at(next + 1), shape,
                      {out.data(), t, width}, scratch.data(), pool);
      next = (next + 2) % caches.count();
    }
  }
  const double keys = static_cast<double>(offset) + static_cast<double>(t + 1) / 2;
  state.counters["per token"] =
      benchmark::Counter(static_cast<double>(t), benchmark::Counter::kIsIterationInvariantRate |
                                                     benchmark::Counter::kInvert);
  state.counters["GFLOP/s"] =
      benchmark::Counter(4e-9 * static_cast<double>(model.layers * t * width) * keys,
                         benchmark::Counter::kIsIterationInvariantRate);
}

void Register(ThreadPool* of_main) {
  pool = of_main;
  const auto add = [](const Model& model, TensorType type, int64_t t, int64_t offset) {
    const std::string name = std::string(model.name) + "/" + TraitsOf(type).name + "/T" +
                             std::to_string(t) + "/depth" + std::to_string(offset);
    benchmark::RegisterBenchmark(name.c_str(), BM_CachedAttention, model, type, t, offset)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  };
  for (const Model& model : kModels) {
    for (const TensorType type : {TensorType::kF16, TensorType::kQ8_0, TensorType::kF32}) {
      add(model, type, 1, 128);
      add(model, type, 1, 2048);
      add(model, type, 8, 2048);
      add(model, type, 512, 0);
      add(model, type, 512, 2048);
    }
  }
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) { return lorikeet::BenchMain(argc, argv, 0, lorikeet::Register); }
