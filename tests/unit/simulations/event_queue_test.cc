#include "simulations/world/event_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>

#include "simulations/world/job_pool.h"

namespace lorikeet {
namespace {

TEST(EventQueueTest, RunsInOrderOfTimeThenOfScheduling) {
  const absl::Time start = absl::FromUnixSeconds(1000);
  EventQueue queue(start);
  std::string order;
  queue.After(absl::Seconds(2), [&] { order += 'c'; });
  queue.After(absl::Seconds(1), [&] { order += 'a'; });
  queue.After(absl::Seconds(1), [&] { order += 'b'; });
  EXPECT_EQ(queue.Now(), start);
  while (queue.RunNext()) {
  }
  EXPECT_EQ(order, "abc");
  EXPECT_EQ(queue.Now(), start + absl::Seconds(2));
  EXPECT_EQ(queue.events_run(), 3);
}

TEST(EventQueueTest, EventsMayScheduleOthers) {
  EventQueue queue(absl::UnixEpoch());
  int left = 5;
  std::function<void()> again = [&] {
    if (--left > 0) queue.After(absl::Seconds(1), again);
  };
  queue.After(absl::Seconds(1), again);
  while (queue.RunNext()) {
  }
  EXPECT_EQ(left, 0);
  EXPECT_EQ(queue.Now(), absl::UnixEpoch() + absl::Seconds(5));
}

TEST(EventQueueTest, TimeNeverGoesBack) {
  EventQueue queue(absl::UnixEpoch());
  queue.After(absl::Seconds(10), [&] {
    queue.At(absl::UnixEpoch(),
             [&] { EXPECT_EQ(queue.Now(), absl::UnixEpoch() + absl::Seconds(10)); });
  });
  EXPECT_TRUE(queue.RunNext());
  EXPECT_TRUE(queue.RunNext());
  EXPECT_FALSE(queue.RunNext());
}

TEST(JobPoolTest, RunsEveryJob) {
  JobPool pool(2);
  std::atomic<int> sum = 0;
  std::vector<std::promise<void>> done(20);
  for (int i = 0; i < 20; ++i) {
    pool.Submit([&sum, &done, i] {
      sum += i;
      done[static_cast<size_t>(i)].set_value();
    });
  }
  for (auto& job : done) job.get_future().wait();
  EXPECT_EQ(sum, 190);
}

}  // namespace
}  // namespace lorikeet
