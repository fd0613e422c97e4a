// Threads for computations whose results are fetched later: the order of results is the caller's.
#ifndef LORIKEET_SIMULATIONS_WORLD_JOB_POOL_H_
#define LORIKEET_SIMULATIONS_WORLD_JOB_POOL_H_

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace lorikeet {

class JobPool {
 public:
  explicit JobPool(int threads);
  ~JobPool();  // drops jobs that have not started
  void Submit(std::function<void()> job);

 private:
  void Work();
  bool Ready() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return stop_ || !jobs_.empty(); }

  absl::Mutex mutex_;
  std::deque<std::function<void()>> jobs_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_JOB_POOL_H_
