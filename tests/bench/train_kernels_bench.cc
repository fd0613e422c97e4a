// Speed of what only training does: attention with its backward pass, and low-rank updates with
// theirs.  Not part of ctest.
//
// Run: train_kernels_bench [--isa=avx2] [--threads=1].  GFLOP/s count what causality leaves to do:
// 4 numbers of the head size per seen pair forward, 10 backward.
#include <benchmark/benchmark.h>

#include <random>
#include <string>
#include <vector>

#include "common/base/thread_pool.h"
#include "kernels/attention.h"
#include "kernels/isa.h"
#include "kernels/lora.h"
#include "tests/bench/bench_main.h"

namespace lorikeet {
namespace {

ThreadPool* pool = nullptr;  // of BenchMain

struct Buffer {
  Buffer(int64_t rows, int64_t cols)
      : data(static_cast<size_t>(rows * cols)), matrix(data.data(), rows, cols) {
    std::mt19937 generator(1);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    for (float& x : data) x = uniform(generator);
  }
  std::vector<float> data;
  Matrix matrix;
};

void SetGflops(benchmark::State& state, double operations) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(operations * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

struct Heads {
  int heads;
  int kv_heads;
};

void BM_Attention(benchmark::State& state, Heads heads, int64_t t, bool backward) {
  const AttentionShape shape{
      .heads = heads.heads, .kv_heads = heads.kv_heads, .head_size = 64, .scale = 0.125f};
  const int64_t width = int64_t{heads.heads} * 64;
  const int64_t kv_width = int64_t{heads.kv_heads} * 64;
  const Buffer q(t, width), k(t, kv_width), v(t, kv_width), d_out(t, width);
  Buffer out(t, width), lse(heads.heads, t), delta(heads.heads, t);
  Buffer d_q(t, width), d_k(t, kv_width), d_v(t, kv_width);
  Attention(q.matrix, k.matrix, v.matrix, shape, out.matrix, lse.matrix, pool);
  const AttentionBackwardArgs args{.q = q.matrix,
                                   .k = k.matrix,
                                   .v = v.matrix,
                                   .out = out.matrix,
                                   .log_sum_exp = lse.matrix,
                                   .d_out = d_out.matrix,
                                   .d_q = d_q.matrix,
                                   .d_k = d_k.matrix,
                                   .d_v = d_v.matrix,
                                   .delta = delta.matrix};
  for (auto _ : state) {
    if (backward) {
      AttentionBackward(args, shape, pool);
    } else {
      Attention(q.matrix, k.matrix, v.matrix, shape, out.matrix, lse.matrix, pool);
    }
  }
  const double pairs = static_cast<double>(t) * static_cast<double>(t + 1) / 2;
  SetGflops(state, (backward ? 10.0 : 4.0) * static_cast<double>(width) * pairs);
}

struct Update {
  int64_t t, c, oc, rank;
};

void BM_LowRank(benchmark::State& state, Update u, bool backward) {
  const Buffer x(u.t, u.c), a(u.rank, u.c), b(u.oc, u.rank), d_y(u.t, u.oc);
  Buffer h(u.t, u.rank), d_h(u.t, u.rank), y(u.t, u.oc);
  Buffer d_a(u.rank, u.c), d_b(u.oc, u.rank), d_x(u.t, u.c);
  for (auto _ : state) {
    if (backward) {
      LoraBackward({.x = x.matrix,
                    .a = a.matrix,
                    .b = b.matrix,
                    .h = h.matrix,
                    .d_y = d_y.matrix,
                    .scale = 0.5f,
                    .d_h = d_h.matrix,
                    .d_a = d_a.matrix,
                    .d_b = d_b.matrix,
                    .d_x = d_x.matrix},
                   pool);
    } else {
      LoraForward(x.matrix, a.matrix, b.matrix, 0.5f, h.matrix, y.matrix, pool);
    }
  }
  SetGflops(state, (backward ? 4.0 : 2.0) * static_cast<double>(u.t * u.rank * (u.c + u.oc)));
}

// What the machine can do: independent products and sums, in registers, on one thread.
__attribute__((target("avx512f"))) void BM_Peak512(benchmark::State& state) {
  typedef float V16 __attribute__((vector_size(64)));
  V16 sums[24] = {};
  V16 x = {1, 2, 3};
  constexpr int kSteps = 1000;
  for (auto _ : state) {
    for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 24
      for (V16& sum : sums) {
        sum = sum * x + x;
        asm volatile("" : "+v"(sum));
      }
    }
  }
  SetGflops(state, 2.0 * 16 * 24 * kSteps);
}

// One thread is measured by its own time, which other programs disturb least.
template <typename Function, typename... Args>
void RegisterBenchmark(const std::string& name, Function function, Args... args) {
  auto* registered = benchmark::RegisterBenchmark(name.c_str(), function, args...);
  if (pool->threads() > 1) registered->UseRealTime();
}

void Register(ThreadPool* of_main) {
  pool = of_main;
  if (AvailableIsas().back() >= Isa::kAvx512) RegisterBenchmark("Peak512", BM_Peak512);
  for (const Heads heads : {Heads{14, 2}, Heads{32, 8}}) {
    for (const int64_t t : {64, 256, 1024}) {
      const std::string name = std::to_string(heads.heads) + "of" + std::to_string(heads.kv_heads) +
                               "/T" + std::to_string(t);
      RegisterBenchmark("Attention/" + name, BM_Attention, heads, t, false);
      RegisterBenchmark("AttentionBackward/" + name, BM_Attention, heads, t, true);
    }
  }
  for (const Update u :
       {Update{256, 896, 4864, 8}, Update{256, 4864, 896, 8}, Update{256, 896, 896, 8},
        Update{256, 896, 128, 8}, Update{256, 896, 4864, 4}, Update{256, 896, 4864, 16},
        Update{256, 896, 4864, 64}, Update{256, 2048, 8192, 8}, Update{32, 896, 4864, 8}}) {
    const std::string name = "T" + std::to_string(u.t) + "/C" + std::to_string(u.c) + "/OC" +
                             std::to_string(u.oc) + "/R" + std::to_string(u.rank);
    RegisterBenchmark("Lora/" + name, BM_LowRank, u, false);
    RegisterBenchmark("LoraBackward/" + name, BM_LowRank, u, true);
  }
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) { return lorikeet::BenchMain(argc, argv, 1, lorikeet::Register); }
