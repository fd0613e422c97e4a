#include "simulations/scenarios/fleet_run.h"

namespace lorikeet {
namespace {

using nlohmann::json;

json RoundJson(const RoundResult& round) {
  json document = {{"number", round.number},       {"status", round.status},
                   {"survivors", round.survivors}, {"sum_error", round.sum_error},
                   {"epsilon", round.epsilon},     {"epsilon_total", round.epsilon_total},
                   {"bytes_up", round.bytes_up},   {"bytes_down", round.bytes_down},
                   {"seconds", round.seconds}};
  if (!round.message.empty()) document["message"] = round.message;
  for (const char* key : {"personas", "mean_loss_before", "mean_loss_after", "steps", "blamed"}) {
    if (round.report.contains(key)) document[key] = round.report[key];
  }
  return document;
}

json DeviceJson(const DeviceResult& device) {
  json document = {{"id", device.id},
                   {"persona", device.persona},
                   {"loss_before", device.loss_base},
                   {"loss_persona", device.loss_persona},
                   {"loss_after", device.loss_personalized},
                   {"kept", device.kept},
                   {"catalog_version", device.catalog_version},
                   {"rounds", device.rounds_done},
                   {"crashes", device.crashes},
                   {"epsilon", device.epsilon_spent}};
  if (!device.stopped.empty()) document["stopped"] = device.stopped;
  return document;
}

}  // namespace

json FleetResultToJson(const FleetResult& result) {
  json document = {{"seed", result.options.seed},
                   {"work", result.options.synthetic ? "synthetic" : "model"},
                   {"dropout", result.options.dropout},
                   {"faults", FaultsToString(result.options.faults)},
                   {"requested_rounds", result.options.rounds},
                   {"cohort_min", result.cohort_min},
                   {"noise", result.options.noise},
                   {"separation", result.options.separation},
                   {"noise_multiplier", result.noise_multiplier},
                   {"epsilon_budget", result.options.epsilon_budget},
                   {"demonstration", result.demonstration},
                   {"catalog_version", result.catalog_version},
                   {"other_bytes_up", result.other_bytes_up},
                   {"other_bytes_down", result.other_bytes_down},
                   {"seconds", result.seconds},
                   {"events", result.events},
                   {"coordinator_kills", result.coordinator_kills},
                   {"complete", result.status.ok()},
                   {"violations", result.violations},
                   {"rounds", json::array()},
                   {"devices", json::array()}};
  for (const RoundResult& round : result.rounds) document["rounds"].push_back(RoundJson(round));
  for (const DeviceResult& device : result.devices) {
    document["devices"].push_back(DeviceJson(device));
  }
  return document;
}

}  // namespace lorikeet
