// Speed of kernels/: products in GFLOP/s, decoding and dequantization in GB/s of weights.  Not part
// of ctest.
//
// Run: kernels_bench [--isa=avx2] [--threads=1] --benchmark_repetitions=5 (medians and spreads are
// printed).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "common/base/thread_pool.h"
#include "kernels/fast_matmul.h"
#include "kernels/isa.h"
#include "kernels/matmul.h"
#include "kernels/quant.h"
#include "kernels/softmax_xent.h"
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

// Random bytes; the half-float scales among them may be anything, which costs no time.
struct RandomWeights {
  RandomWeights(TensorType type, int64_t rows, int64_t cols)
      : bytes(static_cast<size_t>(rows * RowBytes(type, cols))),
        view{type, bytes.data(), rows, cols, RowBytes(type, cols)} {
    const Buffer values(1, cols);
    std::mt19937 generator(2);
    uint8_t* first = bytes.data();
    if (CanQuantize(type)) {
      QuantizeRow(type, values.data.data(), cols, first);
    } else {
      for (int64_t i = 0; i < view.row_bytes; ++i) {
        first[i] = static_cast<uint8_t>(generator() & 0x3f);
      }
    }
    for (int64_t r = 1; r < rows; ++r) std::copy_n(first, view.row_bytes, RowAt(r));
  }
  uint8_t* RowAt(int64_t r) { return bytes.data() + r * view.row_bytes; }

  std::vector<uint8_t> bytes;
  WeightView view;
};

void SetGflops(benchmark::State& state, double operations) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(operations * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void SetGbytes(benchmark::State& state, double bytes) {
  state.counters["GB/s"] =
      benchmark::Counter(bytes * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void BM_MatMul(benchmark::State& state, TensorType type, int64_t t, int64_t oc, int64_t c) {
  const RandomWeights w(type, oc, c);
  const Buffer x(t, c);
  Buffer y(t, oc);
  for (auto _ : state) MatMul(x.matrix, w.view, y.matrix, pool);
  SetGflops(state, 2.0 * static_cast<double>(t * oc * c));
}

void BM_MatMulFast(benchmark::State& state, TensorType type, int64_t t, int64_t oc, int64_t c) {
  const RandomWeights w(type, oc, c);
  const Buffer x(t, c);
  Buffer y(t, oc);
  std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(t, c)));
  const FastProduct product{.w = w.view, .y = y.matrix};
  for (auto _ : state) {
    MatMulFast(RoundActivations(x.matrix, scratch.data(), pool), {&product, 1}, pool);
  }
  SetGflops(state, 2.0 * static_cast<double>(t * oc * c));
}

void BM_MatMulBackwardInput(benchmark::State& state, TensorType type, int64_t t, int64_t oc,
                            int64_t c) {
  const RandomWeights w(type, oc, c);
  const Buffer d_y(t, oc);
  Buffer d_x(t, c);
  for (auto _ : state) MatMulBackwardInput(d_y.matrix, w.view, d_x.matrix, pool);
  SetGflops(state, 2.0 * static_cast<double>(t * oc * c));
}

// A product and the gradient of its input with the same weights, turn about: the best of each.
void BM_ForwardBackward(benchmark::State& state, TensorType type, int64_t t, int64_t oc,
                        int64_t c) {
  const RandomWeights w(type, oc, c);
  const Buffer x(t, c), d_y(t, oc);
  Buffer y(t, oc), d_x(t, c);
  std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(t, std::max(c, oc))));
  const auto seconds = [](const auto& body) {
    const auto start = std::chrono::steady_clock::now();
    body();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  double forward = 1e9, backward = 1e9;
  for (auto _ : state) {
    forward = std::min(forward, seconds([&] {
                         const FastProduct product{.w = w.view, .y = y.matrix};
                         MatMulFast(RoundActivations(x.matrix, scratch.data(), pool), {&product, 1},
                                    pool);
                       }));
    backward = std::min(backward, seconds([&] {
                          const FastBackwardProduct product{
                              RoundActivations(d_y.matrix, scratch.data(), pool), w.view};
                          MatMulFastBackward({&product, 1}, d_x.matrix, false, pool);
                        }));
  }
  const double gflop = 2e-9 * static_cast<double>(t * oc * c);
  state.counters["forward_GFLOP/s"] = gflop / forward;
  state.counters["backward_GFLOP/s"] = gflop / backward;
  state.counters["ratio"] = forward / backward;  // of the rates
}

constexpr int64_t kMemoryBytes = 96 << 20;  // larger than the caches
constexpr int64_t kCacheBytes = 256 << 10;  // within a core's own

// [as many rows as fill `bytes`, c]; kept, since making them takes longer than measuring.
const RandomWeights& DecodeWeights(TensorType type, int64_t c, int64_t bytes) {
  static std::map<std::tuple<TensorType, int64_t, int64_t>, std::unique_ptr<RandomWeights>> all;
  auto& weights = all[{type, c, bytes}];
  if (weights == nullptr) {
    weights = std::make_unique<RandomWeights>(type, bytes / RowBytes(type, c) / 64 * 64, c);
  }
  return *weights;
}

// One step of decoding t positions.
void BM_Decode(benchmark::State& state, TensorType type, int64_t c, int64_t t, int64_t bytes) {
  const RandomWeights& w = DecodeWeights(type, c, bytes);
  const Buffer x(t, c);
  Buffer y(t, w.view.rows);
  std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(t, c)));
  for (auto _ : state) {
    const FastProduct product{.w = w.view, .y = y.matrix};
    MatMulFast(RoundActivations(x.matrix, scratch.data(), pool), {&product, 1}, pool);
  }
  SetGbytes(state, static_cast<double>(w.bytes.size()));
}

// As BM_Decode, in f32.
void BM_DecodeExact(benchmark::State& state, TensorType type) {
  const RandomWeights& w = DecodeWeights(type, 2048, kMemoryBytes);
  const Buffer x(1, 2048);
  Buffer y(1, w.view.rows);
  for (auto _ : state) MatMul(x.matrix, w.view, y.matrix, pool);
  SetGbytes(state, static_cast<double>(w.bytes.size()));
}

// What decoding is measured against: sums of the same number of bytes, read in order.
__attribute__((target("avx2"))) void SumBytes(const uint8_t* begin, const uint8_t* end) {
  typedef int64_t V4 __attribute__((vector_size(32)));
  V4 sums[4] = {};
  for (const uint8_t* p = begin; p < end; p += 128) {
    __builtin_prefetch(p + 4096);
    __builtin_prefetch(p + 4096 + 64);
    for (int j = 0; j < 4; ++j) sums[j] += *reinterpret_cast<const V4*>(p + 32 * j);
  }
  V4 sum = sums[0] + sums[1] + sums[2] + sums[3];
  asm volatile("" : "+x"(sum));
}

void BM_ReadMemory(benchmark::State& state) {
  void* memory = std::aligned_alloc(64, kMemoryBytes);
  auto* bytes = static_cast<uint8_t*>(memory);
  std::fill_n(bytes, kMemoryBytes, static_cast<uint8_t>(1));
  constexpr int64_t kPart = 64 * 1024;
  for (auto _ : state) {
    pool->ParallelFor(kMemoryBytes / kPart, 1, [&](int64_t begin, int64_t end) {
      SumBytes(bytes + begin * kPart, bytes + end * kPart);
    });
  }
  SetGbytes(state, static_cast<double>(kMemoryBytes));
  std::free(memory);
}

void BM_Dequantize(benchmark::State& state, TensorType type) {
  const int64_t c = 8192;
  const RandomWeights w(type, 1, c);
  Buffer y(1, c);
  for (auto _ : state) {
    DequantizeRow(type, w.bytes.data(), c, y.data.data());
    benchmark::DoNotOptimize(y.data.data());
    benchmark::ClobberMemory();
  }
  state.counters["Gvalue/s"] = benchmark::Counter(static_cast<double>(c) * 1e-9,
                                                  benchmark::Counter::kIsIterationInvariantRate);
}

void BM_GemmLora(benchmark::State& state, int variant) {
  const int64_t t = 512, c = 896, r = 8;
  const Buffer x(t, c), a(r, c), h(t, r);
  Buffer out_h(t, r), d_a(r, c), d_x(t, c);
  for (auto _ : state) {
    if (variant == 0) GemmNT(x.matrix, a.matrix, out_h.matrix, 1.0f, false, pool);
    if (variant == 1) GemmTN(h.matrix, x.matrix, d_a.matrix, 1.0f, false, pool);
    if (variant == 2) GemmNN(h.matrix, a.matrix, d_x.matrix, 1.0f, false, pool);
  }
  SetGflops(state, 2.0 * static_cast<double>(t * c * r));
}

void BM_CrossEntropy(benchmark::State& state) {
  const int64_t t = 16, v = 151936;
  Buffer logits(t, v);
  const std::vector<int32_t> targets(static_cast<size_t>(t), 5);
  const std::vector<float> weights(static_cast<size_t>(t), 1.0f);
  std::vector<float> nll(static_cast<size_t>(t));
  for (auto _ : state) {
    CrossEntropyBackward(logits.matrix, targets.data(), weights.data(), nll.data(), pool);
  }
  SetGbytes(state, 4.0 * static_cast<double>(t * v));
}

// What the machine can do: independent products and sums, in registers, on one thread.
__attribute__((target("avx2,fma"))) void BM_Peak256(benchmark::State& state) {
  typedef float V8 __attribute__((vector_size(32)));
  V8 sums[12] = {};
  V8 x = {1, 2, 3};
  constexpr int kSteps = 1000;
  for (auto _ : state) {
    for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
      for (V8& sum : sums) {
        sum = sum * x + x;
        asm volatile("" : "+x"(sum));
      }
    }
  }
  SetGflops(state, 2.0 * 8 * 12 * kSteps);
}

// The same for sums of four products of bytes, which bounds what rounded activations can do.
__attribute__((target("avx512f,avx512vnni"))) void BM_PeakVnni(benchmark::State& state) {
  typedef int32_t V16 __attribute__((vector_size(64)));
  V16 a = {}, b = {}, c = {}, d = {}, e = {}, f = {}, g = {}, h = {};
  const V16 x = {1, 2, 3};
  constexpr int kSteps = 1000;
  for (auto _ : state) {
    for (int step = 0; step < kSteps; ++step) {
      asm volatile(
          "vpdpbusd %8, %8, %0\n vpdpbusd %8, %8, %1\n vpdpbusd %8, %8, %2\n"
          "vpdpbusd %8, %8, %3\n vpdpbusd %8, %8, %4\n vpdpbusd %8, %8, %5\n"
          "vpdpbusd %8, %8, %6\n vpdpbusd %8, %8, %7"
          : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h)
          : "v"(x));
    }
  }
  SetGflops(state, 2.0 * 64 * 8 * kSteps);
}

void BM_RoundActivations(benchmark::State& state, int64_t t) {
  const Buffer x(t, 896);
  std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(t, 896)));
  for (auto _ : state) RoundActivations(x.matrix, scratch.data(), pool);
  SetGbytes(state, 4.0 * static_cast<double>(t * 896));
}

// What a low-rank update adds to MatMulFast's product of the same shape.
void BM_MatMulFastLowRank(benchmark::State& state, int64_t t, int64_t rank) {
  const int64_t c = 896, oc = 4864;
  const RandomWeights w(TensorType::kQ4_0, oc, c);
  const Buffer x(t, c), h(t, rank);
  Buffer y(t, oc);
  const std::vector<uint16_t> b(static_cast<size_t>(oc * rank), FloatToHalf(0.5f));
  std::vector<uint8_t> scratch(static_cast<size_t>(RoundedBytes(t, c)));
  const FastProduct product{.w = w.view, .y = y.matrix, .h = h.matrix, .b = {b.data(), oc, rank}};
  for (auto _ : state) {
    MatMulFast(RoundActivations(x.matrix, scratch.data(), pool), {&product, 1}, pool);
  }
  SetGflops(state, 2.0 * static_cast<double>(t * oc * c));
}

void RegisterFast() {
  using benchmark::RegisterBenchmark;
  if (AvailableIsas().back() >= Isa::kAvx512) RegisterBenchmark("PeakVnni", BM_PeakVnni);
  for (const TensorType type :
       {TensorType::kQ4_0, TensorType::kQ8_0, TensorType::kQ5_0, TensorType::kQ4_1,
        TensorType::kQ5_1, TensorType::kIQ4_NL, TensorType::kQ4_K, TensorType::kQ5_K,
        TensorType::kQ6_K, TensorType::kQ2_K, TensorType::kQ3_K, TensorType::kF16,
        TensorType::kF32}) {
    const std::string name = TraitsOf(type).name;
    const int64_t c = TraitsOf(type).block_elements == 256 ? 1024 : 896;
    for (const int64_t t : {1, 2, 4, 6, 8, 16, 64, 512}) {
      RegisterBenchmark(("MatMulFast/" + name + "/T" + std::to_string(t)).c_str(), BM_MatMulFast,
                        type, t, 4864, c);
    }
  }
  for (const int64_t t : {1, 512}) {
    const std::string end = "/T" + std::to_string(t);
    RegisterBenchmark(("RoundActivations" + end).c_str(), BM_RoundActivations, t);
    RegisterBenchmark(("MatMulFastLowRank8" + end).c_str(), BM_MatMulFastLowRank, t, 8);
  }
}

// The shapes of Qwen2.5-0.5B, and of all formats.
void RegisterBackward() {
  const auto add = [](TensorType type, int64_t t, int64_t oc, int64_t c) {
    const std::string name = std::string(TraitsOf(type).name) + "/" + std::to_string(oc) + "x" +
                             std::to_string(c) + "/T" + std::to_string(t);
    benchmark::RegisterBenchmark(("ForwardBackward/" + name).c_str(), BM_ForwardBackward, type, t,
                                 oc, c)
        ->UseRealTime();
  };
  for (const TensorType type : {TensorType::kQ4_0, TensorType::kQ8_0}) {
    for (const int64_t t : {128, 256, 1024}) add(type, t, 4864, 896);
    add(type, 256, 896, 4864);
    add(type, 256, 896, 896);
    add(type, 256, 128, 896);
    add(type, 256, 151936, 896);
  }
  for (const TensorType type : {TensorType::kQ5_0, TensorType::kQ4_1, TensorType::kQ5_1,
                                TensorType::kIQ4_NL, TensorType::kQ4_K, TensorType::kQ5_K,
                                TensorType::kQ6_K, TensorType::kQ2_K, TensorType::kQ3_K}) {
    add(type, 256, 4864, 1024);
  }
}

void RegisterDecode() {
  using benchmark::RegisterBenchmark;
  RegisterBenchmark("ReadMemory", BM_ReadMemory)->UseRealTime();
  for (const TensorType type :
       {TensorType::kQ4_0, TensorType::kQ8_0, TensorType::kQ4_K, TensorType::kQ6_K,
        TensorType::kQ5_0, TensorType::kQ5_K, TensorType::kQ4_1, TensorType::kQ5_1,
        TensorType::kIQ4_NL, TensorType::kQ2_K, TensorType::kQ3_K, TensorType::kF16,
        TensorType::kBF16, TensorType::kF32}) {
    const std::string name = TraitsOf(type).name;
    for (const int64_t t : {1, 2, 4, 8}) {
      const std::string end = name + "/T" + std::to_string(t);
      RegisterBenchmark(("Decode/" + end).c_str(), BM_Decode, type, 2048, t, kMemoryBytes)
          ->UseRealTime();
      RegisterBenchmark(("DecodeCached/" + end).c_str(), BM_Decode, type, 2048, t, kCacheBytes);
    }
    if (TraitsOf(type).block_elements < 256) {
      RegisterBenchmark(("Decode896/" + name + "/T1").c_str(), BM_Decode, type, 896, 1,
                        kMemoryBytes)
          ->UseRealTime();
      RegisterBenchmark(("DecodeCached896/" + name + "/T1").c_str(), BM_Decode, type, 896, 1,
                        kCacheBytes);
    }
    RegisterBenchmark(("DecodeExact/" + name).c_str(), BM_DecodeExact, type);
  }
}

void Register(ThreadPool* of_main) {
  pool = of_main;
  using benchmark::RegisterBenchmark;
  RegisterBenchmark("Peak256", BM_Peak256);
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kQ8_0,
                                TensorType::kQ4_0, TensorType::kQ4_K, TensorType::kQ6_K}) {
    const std::string name = TraitsOf(type).name;
    const int64_t c = TraitsOf(type).block_elements == 256 ? 1024 : 896;
    for (const int64_t t : {2, 8, 64, 512}) {
      RegisterBenchmark(("MatMul/" + name + "/T" + std::to_string(t)).c_str(), BM_MatMul, type, t,
                        4864, c);
    }
    RegisterBenchmark(("MatMulBackwardInput/" + name + "/T512").c_str(), BM_MatMulBackwardInput,
                      type, 512, 4864, c);
    RegisterBenchmark(("Dequantize/" + name).c_str(), BM_Dequantize, type);
  }
  RegisterFast();
  RegisterBackward();
  RegisterDecode();
  for (int variant = 0; variant < 3; ++variant) {
    RegisterBenchmark(("GemmLora/" + std::string(variant == 0   ? "NT"
                                                 : variant == 1 ? "TN"
                                                                : "NN"))
                          .c_str(),
                      BM_GemmLora, variant);
  }
  RegisterBenchmark("CrossEntropyBackward", BM_CrossEntropy);
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) { return lorikeet::BenchMain(argc, argv, 1, lorikeet::Register); }
