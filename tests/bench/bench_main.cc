#include "tests/bench/bench_main.h"

#include <benchmark/benchmark.h>

#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>

#include "kernels/isa.h"

namespace lorikeet {
namespace {

bool ParseThreads(std::string_view text, int* threads) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, *threads);
  return error == std::errc() && rest == end && *threads >= 0;
}

// One argument that is not of the library's.
bool Understand(std::string_view argument, int* threads) {
  constexpr std::string_view kThreads = "--threads=", kIsa = "--isa=";
  if (argument.starts_with(kThreads))
    return ParseThreads(argument.substr(kThreads.size()), threads);
  if (!argument.starts_with(kIsa)) return false;
  const auto isa = ParseIsa(argument.substr(kIsa.size()));
  return isa && SetIsa(*isa);
}

}  // namespace

int BenchMain(int argc, char** argv, int default_threads,
              void (*register_benchmarks)(ThreadPool* pool)) {
  benchmark::Initialize(&argc, argv);
  int threads = default_threads;
  for (int i = 1; i < argc; ++i) {
    if (Understand(argv[i], &threads)) continue;
    std::fprintf(
        stderr,
        "expected --threads=N, --isa=NAME (%s; as the machine has) or --benchmark_*, got %s\n",
        IsaNames().c_str(), argv[i]);
    return 1;
  }
  ThreadPool pool(threads);
  benchmark::AddCustomContext("isa", std::string(IsaName()));
  benchmark::AddCustomContext("threads", std::to_string(pool.threads()));
  register_benchmarks(&pool);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace lorikeet
