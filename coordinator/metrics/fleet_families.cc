#include "coordinator/metrics/fleet_families.h"

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lorikeet {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

constexpr size_t kHashDigits = 12;  // of a base's fingerprint, as it is shown elsewhere

MetricFamily Family(const char* name, const char* help, MetricType type = MetricType::Gauge) {
  return {.name = name, .help = help, .type = type, .metric = {}};
}

void Add(MetricFamily* family, Labels labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  (family->type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  family->metric.push_back(std::move(metric));
}

void AddTasks(const FleetView& view, std::vector<MetricFamily>* families) {
  MetricFamily active = Family("lorikeet_task_active", "1 while an operator lets its rounds open");
  MetricFamily wanted = Family("lorikeet_task_rounds", "Rounds that the task is to complete");
  MetricFamily ended = Family("lorikeet_rounds_total", "Rounds that ended", MetricType::Counter);
  MetricFamily spent = Family("lorikeet_epsilon_spent", "Privacy spent, at the task's delta");
  MetricFamily next = Family("lorikeet_epsilon_next", "Privacy spent after one more round");
  MetricFamily budget = Family("lorikeet_epsilon_budget", "Absent: no budget");
  for (const TaskView& task : view.tasks) {
    const ClientMetric::Label name = {"task", task.name};
    Add(&active, {name}, task.state == TaskState::kActive ? 1 : 0);
    Add(&wanted, {name}, task.rounds);
    Add(&ended, {name, {"outcome", "done"}}, task.done);
    Add(&ended, {name, {"outcome", "aborted"}}, task.aborted);
    Add(&spent, {name}, task.epsilon_spent);
    if (task.epsilon_next) Add(&next, {name}, *task.epsilon_next);
    if (task.epsilon_budget) Add(&budget, {name}, *task.epsilon_budget);
  }
  for (MetricFamily* family : {&active, &wanted, &ended, &spent, &next, &budget}) {
    families->push_back(std::move(*family));
  }
}

void AddOpenRounds(const FleetView& view, std::vector<MetricFamily>* families) {
  // Every task and step has a number, so that zero is not the same as unknown.
  std::map<std::pair<std::string, size_t>, int> open;
  std::map<std::string, std::pair<int, int>> people;  // arrived, expected
  for (const TaskView& task : view.tasks) {
    for (size_t k = 0; k < kStepCount; ++k) open[{task.name, k}] = 0;
    people[task.name] = {0, 0};
  }
  for (const RoundView& round : view.open) {
    const size_t step = static_cast<size_t>(round.step);
    ++open[{round.task, step}];
    people[round.task].first += round.steps[step].arrived;
    people[round.task].second += round.steps[step].expected;
  }
  MetricFamily rounds = Family("lorikeet_rounds_open", "Open rounds by the step they are in");
  MetricFamily arrived = Family("lorikeet_round_arrived", "Devices that came to the current step");
  MetricFamily expected = Family("lorikeet_round_expected", "Devices that may come to it");
  for (const auto& [key, count] : open) {
    const SecAggStep step = static_cast<SecAggStep>(key.second);
    Add(&rounds, {{"task", key.first}, {"step", std::string(SecAggStepName(step))}}, count);
  }
  for (const auto& [task, count] : people) {
    Add(&arrived, {{"task", task}}, count.first);
    Add(&expected, {{"task", task}}, count.second);
  }
  for (MetricFamily* family : {&rounds, &arrived, &expected}) {
    families->push_back(std::move(*family));
  }
}

void AddLastRounds(const FleetView& view, std::vector<MetricFamily>* families) {
  MetricFamily joined = Family("lorikeet_last_round_joined", "Devices, in the newest done round");
  MetricFamily kept = Family("lorikeet_last_round_survivors", "Devices in its sum");
  MetricFamily took = Family("lorikeet_last_round_seconds", "How long it took");
  MetricFamily at = Family("lorikeet_last_round_done_timestamp_seconds",
                           "When the newest done round ended; 0: there was none");
  std::map<std::string, const RoundView*> newest;
  for (const TaskView& task : view.tasks) newest[task.name] = nullptr;
  for (const RoundView& round : view.recent) {
    const RoundView*& known = newest[round.task];
    if (known == nullptr && round.status == RoundStatus::kDone) known = &round;
  }
  for (const auto& [task, round] : newest) {
    const Labels labels = {{"task", task}};
    Add(&at, labels,
        round == nullptr ? 0 : absl::ToDoubleSeconds(round->finished - absl::UnixEpoch()));
    if (round == nullptr) continue;
    Add(&joined, labels, round->steps[0].arrived);
    Add(&kept, labels, round->survivors);
    Add(&took, labels, absl::ToDoubleSeconds(round->finished - round->opened));
  }
  for (MetricFamily* family : {&joined, &kept, &took, &at}) families->push_back(std::move(*family));
}

void AddRest(const FleetView& view, std::vector<MetricFamily>* families) {
  MetricFamily devices = Family("lorikeet_devices", "Enrolled (and not revoked), revoked");
  Add(&devices, {{"state", "enrolled"}}, static_cast<double>(view.devices.enrolled));
  Add(&devices, {{"state", "revoked"}}, static_cast<double>(view.devices.revoked));
  MetricFamily expires = Family("lorikeet_release_expires_timestamp_seconds",
                                "When devices begin to refuse the newest release of a kind");
  MetricFamily version = Family("lorikeet_release_version", "Of the newest release of a kind");
  for (const ReleaseView& release : view.releases) {
    if (!release.newest) continue;
    const Labels labels = {{"kind", std::string(ReleaseKindName(release.kind))},
                           {"base", release.base_fingerprint.substr(0, kHashDigits)}};
    Add(&expires, labels, absl::ToDoubleSeconds(release.expires - absl::UnixEpoch()));
    Add(&version, labels, static_cast<double>(release.version));
  }
  MetricFamily attention = Family("lorikeet_attention", "What the dashboard asks an operator for");
  int urgent = 0;
  for (const Attention& item : view.attention) urgent += item.urgent ? 1 : 0;
  Add(&attention, {{"urgency", "act"}}, urgent);
  Add(&attention, {{"urgency", "look"}}, static_cast<double>(view.attention.size()) - urgent);
  for (MetricFamily* family : {&devices, &expires, &version, &attention}) {
    families->push_back(std::move(*family));
  }
}

}  // namespace

std::vector<MetricFamily> FleetFamilies(const FleetView& view) {
  std::vector<MetricFamily> families;
  AddTasks(view, &families);
  AddOpenRounds(view, &families);
  AddLastRounds(view, &families);
  AddRest(view, &families);
  return families;
}

}  // namespace lorikeet
