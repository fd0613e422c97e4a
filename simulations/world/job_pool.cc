#include "simulations/world/job_pool.h"

#include <utility>

namespace lorikeet {

JobPool::JobPool(int threads) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Work(); });
}

JobPool::~JobPool() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
    jobs_.clear();
  }
  for (std::thread& thread : threads_) thread.join();
}

void JobPool::Submit(std::function<void()> job) {
  absl::MutexLock lock(&mutex_);
  jobs_.push_back(std::move(job));
}

void JobPool::Work() {
  while (true) {
    std::function<void()> job;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(this, &JobPool::Ready));
      if (stop_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

}  // namespace lorikeet
