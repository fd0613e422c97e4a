#include "simulations/report/fleet_data.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"

namespace lorikeet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uint64_t kMaxFileBytes = 64 << 20;

// Parses the file and gives it to `use`; what the library throws there becomes a status.
absl::Status WithJson(const std::string& path, const std::function<void(const json&)>& use) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  try {
    use(json::parse(text));
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.what()));
  }
  return absl::OkStatus();
}

// The same for each line of a .jsonl file.
absl::Status WithJsonLines(const std::string& path, const std::function<void(const json&)>& use) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
  try {
    for (const auto line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      use(json::parse(line.begin(), line.end()));
    }
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", error.what()));
  }
  return absl::OkStatus();
}

// Names in a directory, sorted; none if there is no such directory.
std::vector<std::string> NamesIn(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<PlotPoint> PointsFrom(const json& list) {
  std::vector<PlotPoint> points;
  for (const auto& point : list) {
    points.push_back({point.at("step").get<double>(), point.at("loss").get<double>()});
  }
  return points;
}

FleetChoice ChoiceFrom(const json& document) {
  FleetChoice choice;
  choice.catalog_version = document.at("catalog_version").get<uint64_t>();
  choice.chosen = document.at("chosen").get<std::string>();
  std::vector<std::string> parts;
  double most = 0;
  for (const auto& [id, weight] : document.at("weights").items()) {
    parts.push_back(id);
    if (weight.get<double>() > most) {
      most = weight.get<double>();
      choice.heaviest = id;
    }
  }
  if (parts.size() > 1) choice.chosen = absl::StrJoin(parts, " + ");
  choice.reason = document.at("reason").get<std::string>();
  choice.style = document.at("sentence").get<std::string>();
  choice.outcome = document.at("outcome").get<std::string>();
  choice.loss_base = document.at("loss_base").get<double>();
  choice.loss_persona = document.at("loss_persona").get<double>();
  choice.loss_personalized = document.at("loss_after").get<double>();
  choice.train_loss = PointsFrom(document.at("train_loss"));
  choice.eval_loss = PointsFrom(document.at("eval_loss"));
  for (const auto& candidate : document.at("ranked")) {
    const json& distance = candidate.at("style_distance");
    if (distance.is_number()) {
      choice.style_distance[candidate.at("id").get<std::string>()] = distance.get<double>();
    }
  }
  return choice;
}

// "... installed, 123 bytes fetched" -> 123.
uint64_t BytesFetched(const std::string& message) {
  const size_t comma = message.rfind(", ");
  return comma == std::string::npos ? 0 : std::strtoull(message.c_str() + comma + 2, nullptr, 10);
}

absl::StatusOr<FleetDevice> ReadDevice(const std::string& name, const std::string& state) {
  FleetDevice device;
  device.name = name;
  for (const std::string& file : NamesIn(state)) {
    if (!file.starts_with("personalize-") || !file.ends_with(".json")) continue;
    RETURN_IF_ERROR(WithJson(absl::StrCat(state, "/", file), [&](const json& document) {
      device.choices.push_back(ChoiceFrom(document));
      // A later choice is judged against the adapter of the one before.
      const double before = document.at("loss_before").get<double>();
      device.choices.back().loss_existing = before;
    }));
  }
  if (device.choices.empty()) {
    return absl::NotFoundError(absl::StrCat(state, ": expected personalize-N.json, found none"));
  }
  std::sort(device.choices.begin(), device.choices.end(),
            [](const auto& a, const auto& b) { return a.catalog_version < b.catalog_version; });
  device.choices.front().loss_existing.reset();
  RETURN_IF_ERROR(WithJsonLines(absl::StrCat(state, "/events.jsonl"), [&](const json& event) {
    const auto kind = event.at("kind").get<std::string>();
    if (kind == "release") {
      device.bytes_fetched += BytesFetched(event.at("message").get<std::string>());
    }
    device.rounds_done += kind == "round_done" ? 1 : 0;
  }));
  return device;
}

FleetRound RoundFrom(const json& document) {
  FleetRound round;
  round.number = document.at("number").get<uint64_t>();
  round.status = document.at("status").get<std::string>();
  round.survivors = document.at("survivors").get<int>();
  round.seconds = document.at("seconds").get<double>();
  round.epsilon = document.at("epsilon").get<double>();
  round.delta = document.at("delta").get<double>();
  round.catalog_version = document.at("catalog_version").get<uint64_t>();
  round.dimension = document.at("dimension").get<uint64_t>();
  round.modulus_bits = document.at("modulus_bits").get<int>();
  double begin = 0;
  for (const auto& entry : document.at("report").at("steps")) {
    FleetStep step;
    step.name = entry.at("step").get<std::string>();
    step.messages = entry.at("messages").get<int>();
    step.bytes = entry.at("bytes").get<uint64_t>();
    const json& ended = entry.at("ended_seconds");
    const double end = ended.is_number() ? ended.get<double>() : round.seconds;
    step.seconds = end - begin;
    begin = end;
    round.steps.push_back(std::move(step));
  }
  if (!round.steps.empty()) round.admitted = round.steps.front().messages;
  return round;
}

absl::Status ReadLedger(const std::string& path, FleetRun* run) {
  return WithJson(path, [run](const json& document) {
    for (const auto& task : document.at("tasks")) {
      run->epsilon_spent += task.at("epsilon_spent").get<double>();
      run->delta = std::max(run->delta, task.at("delta").get<double>());
      run->demonstration |= task.at("demonstration").get<bool>();
    }
  });
}

absl::Status ReadSamples(const std::string& directory, FleetRun* run) {
  constexpr std::string_view kPrompt = ".prompt";
  for (const std::string& file : NamesIn(directory)) {
    if (!file.ends_with(kPrompt)) continue;
    FleetSample sample;
    sample.device = file.substr(0, file.size() - kPrompt.size());
    const std::string stem = absl::StrCat(directory, "/", sample.device);
    ASSIGN_OR_RETURN(sample.prompt, ReadFile(absl::StrCat(stem, ".prompt"), kMaxFileBytes));
    RETURN_IF_ERROR(WithJson(absl::StrCat(stem, ".base.json"), [&](const json& document) {
      sample.base = document.at("text").get<std::string>();
    }));
    if (const std::string path = absl::StrCat(stem, ".personalized.json"); FileExists(path)) {
      RETURN_IF_ERROR(WithJson(path, [&](const json& document) {
        sample.personalized = document.at("text").get<std::string>();
      }));
    }
    run->samples.push_back(std::move(sample));
  }
  return absl::OkStatus();
}

}  // namespace

double FleetChoice::LossInUse() const {
  if (outcome == "kept") return loss_personalized;
  if (outcome == "persona") return loss_persona;
  return std::min(loss_base, loss_existing.value_or(loss_base));
}

absl::StatusOr<FleetRun> ReadFleetRun(const std::string& directory) {
  FleetRun run;
  ASSIGN_OR_RETURN(run.catalog, ReadCatalog(directory + "/catalog.gguf"));
  for (const std::string& name : NamesIn(directory + "/devices")) {
    ASSIGN_OR_RETURN(FleetDevice device,
                     ReadDevice(name, absl::StrCat(directory, "/devices/", name, "/state")));
    run.devices.push_back(std::move(device));
  }
  if (run.devices.empty()) {
    return absl::NotFoundError(absl::StrCat(directory, "/devices: expected devices, found none"));
  }
  for (const std::string& file : NamesIn(directory + "/rounds")) {
    RETURN_IF_ERROR(WithJson(absl::StrCat(directory, "/rounds/", file), [&](const json& document) {
      run.rounds.push_back(RoundFrom(document));
    }));
  }
  std::sort(run.rounds.begin(), run.rounds.end(),
            [](const auto& a, const auto& b) { return a.number < b.number; });
  RETURN_IF_ERROR(ReadLedger(directory + "/ledger.json", &run));
  RETURN_IF_ERROR(WithJsonLines(directory + "/stages.jsonl", [&](const json& stage) {
    run.stages.push_back({stage.at("stage").get<std::string>(), stage.at("seconds").get<double>()});
  }));
  RETURN_IF_ERROR(ReadSamples(directory + "/samples", &run));
  if (FileExists(directory + "/killed")) {
    ASSIGN_OR_RETURN(run.killed, ReadFile(directory + "/killed", kMaxFileBytes));
    while (!run.killed.empty() && run.killed.back() == '\n') run.killed.pop_back();
  }
  return run;
}

}  // namespace lorikeet
