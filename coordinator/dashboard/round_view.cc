#include "coordinator/dashboard/round_view.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"

namespace lorikeet {
namespace {

using nlohmann::json;

// Clocks tick a few times a second: a step that ends within this of its deadline waited for it.
constexpr absl::Duration kTickSlack = absl::Milliseconds(50);

double NumberOr(const json& object, const char* key, double other) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number() ? it->get<double>() : other;
}

std::optional<double> Number(const json& object, const char* key) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_number()) return std::nullopt;
  return it->get<double>();
}

// Why somebody who had come to the step before did not come to this one.
std::string WhyLost(size_t step) {
  switch (static_cast<SecAggStep>(step)) {
    case SecAggStep::kShare:
      return "joined, then sent no key shares by the deadline";
    case SecAggStep::kMask:
      return "shared keys, then sent no update by the deadline";
    case SecAggStep::kAcknowledge:
      return "left after their update was in; it counts";
    case SecAggStep::kUnmask:
      return "not waited for: enough shares had come";
    default:
      return "";
  }
}

// `reached` and `arrived` of the steps are set, and whether they ended.
void FillExpectedAndLosses(const std::array<bool, kStepCount>& ended, RoundView* view) {
  for (size_t k = 0; k < kStepCount; ++k) {
    StepView& step = view->steps[k];
    step.expected = k == 0 ? view->cohort_max : view->steps[k - 1].arrived;
    if (k == 0 || !ended[k] || !step.reached) continue;
    const int missing = step.expected - step.arrived;
    if (missing <= 0) continue;
    const bool counted = k > static_cast<size_t>(SecAggStep::kMask);
    view->losses.push_back({.step = static_cast<SecAggStep>(k),
                            .devices = missing,
                            .counted = counted,
                            .aborted = false,
                            .why = WhyLost(k)});
  }
}

// A round that was aborted lost everybody who was still in it.
void AddAbort(RoundView* view) {
  const StepView& last = view->steps[static_cast<size_t>(view->step)];
  for (DeviceLoss& loss : view->losses) loss.counted = false;
  const int left = last.arrived;
  if (left == 0) return;
  view->losses.push_back({.step = view->step,
                          .devices = left,
                          .counted = false,
                          .aborted = true,
                          .why = absl::StrCat("the round was aborted: ", view->message)});
}

void ReadPersonas(const json& report, RoundView* view) {
  const auto personas = report.find("personas");
  if (personas == report.end() || !personas->is_array()) return;
  for (const json& persona : *personas) {
    if (!persona.is_object()) continue;
    view->personas.push_back({.id = persona.value("id", ""),
                              .noisy_count = NumberOr(persona, "noisy_count", 0),
                              .applied = persona.value("applied", false),
                              .noise_ratio = NumberOr(persona, "noise_ratio", 0)});
  }
}

void ReadSteps(const json& report, const RoundDescription& description, RoundView* view) {
  std::array<bool, kStepCount> ended = {};
  const auto steps = report.find("steps");
  if (steps == report.end() || !steps->is_array()) return;
  double begin = 0;
  for (size_t k = 0; k < std::min(steps->size(), kStepCount); ++k) {
    const json& entry = (*steps)[k];
    if (!entry.is_object()) return;
    StepView& step = view->steps[k];
    step.arrived = static_cast<int>(NumberOr(entry, "messages", 0));
    const std::optional<double> end = Number(entry, "ended_seconds");
    // An abort ends the step it happens in, and no other is reached.
    step.reached =
        k == 0 || (view->status == RoundStatus::kAborted ? end.has_value() : ended[k - 1]);
    if (step.reached) view->step = static_cast<SecAggStep>(k);
    if (!end) continue;
    ended[k] = true;
    step.seconds = std::max(0.0, *end - begin);
    const absl::Time at = view->opened + absl::Seconds(*end);
    step.waited = at >= StepDeadline(description, k) - kTickSlack;
    begin = *end;
  }
  FillExpectedAndLosses(ended, view);
}

}  // namespace

absl::Time StepDeadline(const RoundDescription& round, size_t step) {
  const std::array<absl::Time, kStepCount> deadlines = {round.advertise_until, round.share_until,
                                                        round.mask_until, round.acknowledge_until,
                                                        round.unmask_until};
  return deadlines[step];
}

RoundView ViewOfRound(const RoundRecord& record, const RoundDescription& description) {
  RoundView view;
  view.id = record.id;
  view.task = record.task;
  view.number = record.number;
  view.status = record.status;
  view.opened = record.opened;
  view.finished = record.finished;
  view.cohort_min = description.secagg.cohort_min;
  view.cohort_max = description.secagg.cohort_max;
  view.dimension = description.secagg.dimension;
  view.demonstration = description.demonstration;
  view.by_token = description.token.has_value();
  view.epsilon = description.epsilon;
  view.catalog_version = description.catalog_version;
  view.survivors = static_cast<int>(record.survivor_count);
  view.message = record.message;
  if (record.status == RoundStatus::kOpen) return view;
  const json report = json::parse(record.report, nullptr, false);
  if (!report.is_object()) return view;
  ReadSteps(report, description, &view);
  ReadPersonas(report, &view);
  view.mean_loss_before = Number(report, "mean_loss_before");
  view.mean_loss_after = Number(report, "mean_loss_after");
  if (const auto made = Number(report, "catalog_version")) {
    view.made_version = static_cast<uint64_t>(*made);
  }
  if (const auto offered = Number(report, "checked_in")) {
    view.checked_in = static_cast<int>(*offered);
  }
  const auto blamed = report.find("blamed");
  if (blamed != report.end() && blamed->is_array()) view.blamed = static_cast<int>(blamed->size());
  if (record.status == RoundStatus::kAborted) AddAbort(&view);
  return view;
}

void CountSteps(const RoundDescription& description, const std::vector<RoundEventCount>& counts,
                RoundView* view) {
  std::array<absl::Time, kStepCount> last;
  last.fill(absl::InfinitePast());
  absl::Time last_tick = absl::InfinitePast();
  size_t furthest = 0;  // step that a message of is stored
  for (const RoundEventCount& count : counts) {
    if (count.kind == RoundEventKind::kTick) {
      last_tick = count.last;
      continue;
    }
    const size_t k = static_cast<size_t>(count.kind) - 1;
    if (k >= kStepCount) continue;
    view->steps[k].arrived = static_cast<int>(count.messages);
    last[k] = count.last;
    furthest = std::max(furthest, k);
  }
  std::array<bool, kStepCount> ended = {};
  absl::Time begin = view->opened;
  for (size_t k = 0; k < kStepCount; ++k) {
    StepView& step = view->steps[k];
    step.reached = true;
    view->step = static_cast<SecAggStep>(k);
    view->deadline = StepDeadline(description, k);
    step.expected = k == 0 ? view->cohort_max : view->steps[k - 1].arrived;
    // Unmasking ends with the round; of the others a full one ends at once.
    const bool full = k + 1 < kStepCount && step.expected > 0 && step.arrived >= step.expected;
    step.waited = !full && last_tick >= view->deadline - kTickSlack;
    ended[k] = full || step.waited || furthest > k;
    if (!ended[k]) break;
    const absl::Time end = step.waited ? view->deadline : last[k];
    step.seconds = std::max(0.0, absl::ToDoubleSeconds(end - begin));
    begin = std::max(begin, end);
  }
  FillExpectedAndLosses(ended, view);
}

}  // namespace lorikeet
