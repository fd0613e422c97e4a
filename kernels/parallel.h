// Splitting a loop over a pool that may be absent, without allocating.  Internal to kernels/.
#ifndef LORIKEET_KERNELS_PARALLEL_H_
#define LORIKEET_KERNELS_PARALLEL_H_

#include <cstdint>
#include <functional>

#include "common/base/thread_pool.h"

namespace lorikeet {

// body(begin, end) over [0, count).  `work` is about how many floating-point operations the whole
// loop takes: loops too small to be worth waking another thread stay on this one.  Ranges begin at
// multiples of `grain`.
template <typename Body>
void Split(ThreadPool* pool, int64_t count, double work, const Body& body, int64_t grain = 1) {
  constexpr double kWorthAThread = 1e5;
  if (pool == nullptr || pool->threads() == 1 || work < kWorthAThread) {
    if (count > 0) body(0, count);
    return;
  }
  pool->ParallelFor(count, grain,
                    std::cref(body));  // a reference fits std::function without allocation
}

}  // namespace lorikeet

#endif  // LORIKEET_KERNELS_PARALLEL_H_
