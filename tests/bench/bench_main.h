// The main function of benchmarks that run on one instruction set and one pool of threads.  Not for
// programs with arguments of their own.
#ifndef LORIKEET_TESTS_BENCH_BENCH_MAIN_H_
#define LORIKEET_TESTS_BENCH_BENCH_MAIN_H_

#include "common/base/thread_pool.h"

namespace lorikeet {

// Understands --isa=NAME, --threads=N (0: as many as the machine has) and --benchmark_*; prints
// what else comes and returns 1.  `register_benchmarks` gets the pool that the benchmarks run on,
// which lives until they have run.
int BenchMain(int argc, char** argv, int default_threads,
              void (*register_benchmarks)(ThreadPool* pool));

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_BENCH_BENCH_MAIN_H_
