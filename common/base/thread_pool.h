// A fixed set of threads for loops over independent ranges.
//
// Each thread has a share of the loop that it takes piece by piece; who is through takes pieces
// from the ends of the others' shares.  So a thread that the system has taken off its core holds up
// nothing but the piece in its hands, and one that sleeps holds up nothing.  Waiting threads spin
// for a bounded time, less where spinning has not paid, then sleep, so that busy machines are not
// made busier.  The calling thread works too: a pool of one thread starts none.
#ifndef LORIKEET_COMMON_BASE_THREAD_POOL_H_
#define LORIKEET_COMMON_BASE_THREAD_POOL_H_

#include <cstdint>
#include <functional>
#include <memory>

namespace lorikeet {

class ThreadPool {
 public:
  // `threads` >= 1 counts the calling thread; 0 = as many as the process may run on.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls body(begin, end) for ranges that cover [0, count) once, all beginning at a multiple of
  // `grain` and, but the last, a multiple of it long; returns when all are done.  How the ranges
  // fall and who runs them differs from call to call: what comes out must not depend on it (sums
  // over ranges: one per grain, added up afterwards).  body does not throw.  Not reentrant; one
  // caller at a time.
  void ParallelFor(int64_t count, int64_t grain,
                   const std::function<void(int64_t begin, int64_t end)>& body);

 private:
  class Team;
  int threads_;
  std::unique_ptr<Team> team_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_THREAD_POOL_H_
