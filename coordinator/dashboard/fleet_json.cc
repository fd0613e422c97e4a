// A view as JSON.  Keys are the fields' names.
#include <nlohmann/json.hpp>

#include "coordinator/dashboard/fleet_view.h"

namespace lorikeet {
namespace {

using nlohmann::json;

json Instant(absl::Time time) {
  if (time == absl::InfinitePast() || time == absl::InfiniteFuture()) return nullptr;
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", time, absl::UTCTimeZone());
}

template <typename T>
json OrNull(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}

json StepsToJson(const RoundView& round) {
  json list = json::array();
  for (size_t k = 0; k < kStepCount; ++k) {
    const StepView& step = round.steps[k];
    list.push_back({{"step", std::string(SecAggStepName(static_cast<SecAggStep>(k)))},
                    {"reached", step.reached},
                    {"expected", step.expected},
                    {"arrived", step.arrived},
                    {"seconds", OrNull(step.seconds)},
                    {"waited", step.waited}});
  }
  return list;
}

json LossesToJson(const RoundView& round) {
  json list = json::array();
  for (const DeviceLoss& loss : round.losses) {
    list.push_back({{"step", std::string(SecAggStepName(loss.step))},
                    {"devices", loss.devices},
                    {"counted", loss.counted},
                    {"aborted", loss.aborted},
                    {"why", loss.why}});
  }
  return list;
}

json RoundToJson(const RoundView& round) {
  json personas = json::array();
  for (const PersonaView& persona : round.personas) {
    personas.push_back({{"id", persona.id},
                        {"noisy_count", persona.noisy_count},
                        {"applied", persona.applied},
                        {"noise_ratio", persona.noise_ratio}});
  }
  return {{"id", round.id},
          {"task", round.task},
          {"number", round.number},
          {"status", std::string(RoundStatusName(round.status))},
          {"step", std::string(SecAggStepName(round.step))},
          {"opened", Instant(round.opened)},
          {"finished", Instant(round.finished)},
          {"deadline", Instant(round.deadline)},
          {"cohort_min", round.cohort_min},
          {"cohort_max", round.cohort_max},
          {"dimension", round.dimension},
          {"demonstration", round.demonstration},
          {"by_token", round.by_token},
          {"epsilon", round.epsilon},
          {"checked_in", OrNull(round.checked_in)},
          {"steps", StepsToJson(round)},
          {"losses", LossesToJson(round)},
          {"survivors", round.survivors},
          {"blamed", round.blamed},
          {"message", round.message},
          {"catalog_version", round.catalog_version},
          {"made_version", OrNull(round.made_version)},
          {"mean_loss_before", OrNull(round.mean_loss_before)},
          {"mean_loss_after", OrNull(round.mean_loss_after)},
          {"personas", std::move(personas)}};
}

json TaskToJson(const TaskView& task) {
  return {{"name", task.name},
          {"state", std::string(TaskStateName(task.state))},
          {"created", Instant(task.created)},
          {"base_fingerprint", task.base_fingerprint},
          {"rounds", task.rounds},
          {"done", task.done},
          {"aborted", task.aborted},
          {"open", task.open},
          {"cohort_min", task.cohort_min},
          {"cohort_max", task.cohort_max},
          {"demonstration", task.demonstration},
          {"by_token", task.by_token},
          {"routed", task.routed},
          {"waiting", task.waiting},
          {"spent_rounds", task.spent_rounds},
          {"epsilon_spent", task.epsilon_spent},
          {"epsilon_next", OrNull(task.epsilon_next)},
          {"epsilon_budget", OrNull(task.epsilon_budget)},
          {"delta", task.delta},
          {"noise", task.noise},
          {"noise_multiplier", task.noise_multiplier},
          {"honest_survivors", task.honest_survivors},
          {"corrupt_fraction", task.corrupt_fraction},
          {"noise_ratio", OrNull(task.noise_ratio)},
          {"largest_noise_ratio", task.largest_noise_ratio},
          {"modulus_bits", OrNull(task.modulus_bits)},
          {"overflow", OrNull(task.overflow)}};
}

json ReleaseToJson(const ReleaseView& release) {
  return {{"kind", std::string(ReleaseKindName(release.kind))},
          {"name", release.name},
          {"version", release.version},
          {"base_fingerprint", release.base_fingerprint},
          {"published", Instant(release.published)},
          {"expires", Instant(release.expires)},
          {"bytes", release.bytes},
          {"newest", release.newest}};
}

template <typename Item>
json ListToJson(const std::vector<Item>& items, json (*to_json)(const Item&)) {
  json list = json::array();
  for (const Item& item : items) list.push_back(to_json(item));
  return list;
}

}  // namespace

std::string FleetViewToJson(const FleetView& view) {
  json attention = json::array();
  for (const Attention& item : view.attention) {
    attention.push_back({{"urgent", item.urgent}, {"text", item.text}});
  }
  const json document = {
      {"attention", std::move(attention)},
      {"devices", {{"enrolled", view.devices.enrolled}, {"revoked", view.devices.revoked}}},
      {"rounds", {{"done", view.rounds_done}, {"aborted", view.rounds_aborted}}},
      {"tasks", ListToJson(view.tasks, TaskToJson)},
      {"open", ListToJson(view.open, RoundToJson)},
      {"recent", ListToJson(view.recent, RoundToJson)},
      {"releases", ListToJson(view.releases, ReleaseToJson)},
      {"releases_total", view.releases_total}};
  return document.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace lorikeet
