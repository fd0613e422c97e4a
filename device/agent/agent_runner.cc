#include "device/agent/agent_runner.h"

#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace lorikeet {
namespace {

constexpr absl::Duration kStopCheck = absl::Milliseconds(200);

// Events from the worker, and the wish to wake up.
class EventQueue {
 public:
  void Push(AgentEvent event) {
    absl::MutexLock lock(&mutex_);
    events_.push_back(std::move(event));
  }
  // Waits until there is an event or `until`; nullopt on the latter.
  std::optional<AgentEvent> Pop(absl::Time until) {
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithDeadline(absl::Condition(this, &EventQueue::NotEmpty), until);
    if (events_.empty()) return std::nullopt;
    AgentEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  bool NotEmpty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !events_.empty(); }
  absl::Mutex mutex_;
  std::deque<AgentEvent> events_ ABSL_GUARDED_BY(mutex_);
};

class Runner {
 public:
  Runner(Agent* agent, const AgentServices& services, AgentWork* work, const Clock& clock,
         const AgentRunnerHooks& hooks)
      : agent_(agent), services_(services), work_(work), clock_(clock), hooks_(hooks) {}
  ~Runner() { JoinWorker(); }

  absl::Status Run() {
    Handle(agent_->Step(StartEvent{}));
    while (!final_) {
      if (hooks_.stop_requested && hooks_.stop_requested()) return absl::OkStatus();
      if (auto event = NextEvent()) Handle(agent_->Step(std::move(*event)));
    }
    return *final_;
  }

 private:
  std::optional<AgentEvent> NextEvent() {
    if (call_) {  // blocks for at most the service's own timeout
      const CallAction call = *std::exchange(call_, std::nullopt);
      return CallDone{call.id, Execute(services_, call.member, call.request)};
    }
    const absl::Time now = clock_.Now();
    if (wake_ && *wake_ <= now) {
      wake_.reset();
      return WakeEvent{};
    }
    // The queue waits by the system clock.
    const absl::Duration wait =
        std::min(kStopCheck, wake_ ? *wake_ - now : absl::InfiniteDuration());
    return queue_.Pop(absl::Now() + wait);
  }

  void Handle(AgentActions actions) {
    for (AgentAction& action : actions)
      std::visit([this](auto&& a) { Do(std::forward<decltype(a)>(a)); }, std::move(action));
  }
  void Do(CallAction action) { call_ = std::move(action); }
  void Do(WaitAction action) { wake_ = action.until; }
  void Do(ReportAction action) {
    if (hooks_.report) hooks_.report(action);
  }
  void Do(StopAction action) { final_ = std::move(action.status); }
  void Do(CheckBaseAction action) {
    StartWorker([this, action = std::move(action)] {
      queue_.Push(BaseChecked{work_->CheckBase(action)});
    });
  }
  void Do(PersonalizeAction action) {
    StartWorker([this, action = std::move(action)] {
      queue_.Push(PersonalizeDone{work_->Personalize(action)});
    });
  }
  void Do(ContributeAction action) {
    StartWorker([this, action = std::move(action)] {
      queue_.Push(ContributionDone{action.round.secagg.session, work_->Contribute(action)});
    });
  }

  void StartWorker(std::function<void()> body) {
    JoinWorker();  // a contribution to a round that was given up may still be training
    worker_ = std::thread(std::move(body));
  }
  void JoinWorker() {
    if (worker_.joinable()) worker_.join();
  }

  Agent* agent_;
  const AgentServices services_;
  AgentWork* work_;
  const Clock& clock_;
  const AgentRunnerHooks& hooks_;
  EventQueue queue_;
  std::thread worker_;
  std::optional<CallAction> call_;
  std::optional<absl::Time> wake_;
  std::optional<absl::Status> final_;
};

}  // namespace

absl::Status RunAgent(Agent* agent, const AgentServices& services, AgentWork* work,
                      const Clock& clock, const AgentRunnerHooks& hooks) {
  return Runner(agent, services, work, clock, hooks).Run();
}

}  // namespace lorikeet
