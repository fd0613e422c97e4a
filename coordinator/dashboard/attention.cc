#include "coordinator/dashboard/attention.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_format.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

constexpr int kManyAborts = 3;
constexpr absl::Duration kExpiresUrgently = absl::Hours(24 * 3);
// A serving coordinator ends a step within a second of its deadline.
constexpr absl::Duration kDeadlineSlack = absl::Seconds(30);

void AddAborts(const TaskView& task, const FleetView& view, std::vector<Attention>* list) {
  int aborts = 0;
  const RoundView* newest = nullptr;
  for (const RoundView& round : view.recent) {
    if (round.task != task.name) continue;
    if (round.status != RoundStatus::kAborted) break;
    if (newest == nullptr) newest = &round;
    ++aborts;
  }
  if (newest == nullptr || task.state == TaskState::kEnded) return;
  const std::string which =
      aborts == 1 ? "its newest round was" : absl::StrFormat("its newest %d rounds were", aborts);
  list->push_back({aborts >= kManyAborts,
                   absl::StrFormat("Task %s: %s aborted: %s", task.name, which, newest->message)});
}

void AddBudget(const TaskView& task, std::vector<Attention>* list) {
  if (!task.epsilon_budget || task.state == TaskState::kEnded || task.done >= task.rounds) return;
  const double budget = *task.epsilon_budget;
  if (task.epsilon_next && *task.epsilon_next > budget) {
    list->push_back(
        {true, absl::StrFormat("Task %s: its privacy budget is used up: epsilon %.3f of %g is "
                               "spent, one more round would make it %.3f",
                               task.name, task.epsilon_spent, budget, *task.epsilon_next)});
  } else if (task.epsilon_spent >= kNearlySpent * budget) {
    list->push_back({false, absl::StrFormat("Task %s: epsilon %.3f of %g is spent", task.name,
                                            task.epsilon_spent, budget)});
  }
}

void AddRelease(const ReleaseView& release, absl::Time now, std::vector<Attention>* list) {
  const absl::Duration left = release.expires - now;
  if (!release.newest || left > kExpiresSoon) return;
  const std::string what =
      absl::StrFormat("The newest %s (%s, version %d)", ToAbsl(ReleaseKindName(release.kind)),
                      release.name, release.version);
  if (left <= absl::ZeroDuration()) {
    list->push_back({true, what + " has expired: devices refuse it; publish it again"});
    return;
  }
  // Whole days, so that the text does not change all the time.
  list->push_back(
      {left <= kExpiresUrgently, absl::StrFormat("%s expires in %d days: publish it again", what,
                                                 static_cast<int64_t>(left / absl::Hours(24)))});
}

}  // namespace

std::vector<Attention> WhatNeedsAttention(const FleetView& view, absl::Time now) {
  std::vector<Attention> list;
  for (const RoundView& round : view.open) {
    if (round.deadline + kDeadlineSlack > now) continue;
    list.push_back({true, absl::StrFormat("Task %s: round %d is past its deadline: no coordinator "
                                          "is serving its rounds",
                                          round.task, round.number)});
  }
  for (const TaskView& task : view.tasks) {
    AddAborts(task, view, &list);
    AddBudget(task, &list);
  }
  for (const RoundView& round : view.recent) {
    if (round.blamed == 0) continue;
    list.push_back({false, absl::StrFormat("Task %s: %d devices sent wrong shares in round %d",
                                           round.task, round.blamed, round.number)});
    break;  // the newest says enough
  }
  for (const ReleaseView& release : view.releases) AddRelease(release, now, &list);
  std::stable_sort(list.begin(), list.end(),
                   [](const Attention& a, const Attention& b) { return a.urgent > b.urgent; });
  return list;
}

}  // namespace lorikeet
