// A fixed set of threads for loops over independent ranges.
//
// Workers spin for a bounded time, then sleep, so that busy machines are not made busier.  The
// calling thread works too: a pool of one thread starts none.
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

  // Calls body(begin, end) for consecutive ranges that cover [0, count), at least `grain` long but
  // the last; returns when all are done.  The split depends only on (count, grain, threads).  Not
  // reentrant; one caller at a time.
  void ParallelFor(int64_t count, int64_t grain,
                   const std::function<void(int64_t begin, int64_t end)>& body);

 private:
  struct Shared;
  int threads_;
  std::unique_ptr<Shared> shared_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COMMON_BASE_THREAD_POOL_H_
