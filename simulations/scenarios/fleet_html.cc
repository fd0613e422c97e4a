#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/report/html_page.h"
#include "common/report/svg_plot.h"
#include "simulations/scenarios/fleet_run.h"

namespace lorikeet {
namespace {

std::string LossPlot(const FleetResult& result) {
  LineSeries base{"base", {}}, persona{"persona", {}}, personalized{"personalized", {}};
  double x = 0;
  for (const DeviceResult& device : result.devices) {
    x += 1;
    if (device.persona.empty()) continue;
    base.points.push_back({x, device.loss_base});
    persona.points.push_back({x, device.loss_persona});
    personalized.points.push_back({x, device.loss_personalized});
  }
  return LinePlot({base, persona, personalized}, {.x_label = "device", .y_label = "held-out loss"});
}

std::string PersonaPlot(const FleetResult& result) {
  std::map<std::string, LineSeries> series;
  for (const RoundResult& round : result.rounds) {
    if (!round.done || !round.report.contains("personas")) continue;
    for (const auto& persona : round.report["personas"]) {
      const std::string id = persona.value("id", "");
      series[id].name = id;
      series[id].points.push_back(
          {static_cast<double>(round.number), persona.value("noisy_count", 0.0)});
    }
  }
  std::vector<LineSeries> list;
  for (auto& [id, line] : series) list.push_back(line);
  return LinePlot(list, {.x_label = "round", .y_label = "noisy count", .y_from_zero = true});
}

std::string RoundPlot(const FleetResult& result, const char* label,
                      double (*value)(const RoundResult&)) {
  LineSeries line{label, {}};
  for (const RoundResult& round : result.rounds) {
    line.points.push_back({static_cast<double>(round.number), value(round)});
  }
  return LinePlot({line}, {.x_label = "round", .y_label = label, .y_from_zero = true});
}

void AddRoundTable(const FleetResult& result, HtmlPage* page) {
  std::vector<std::vector<std::string>> rows;
  for (const RoundResult& round : result.rounds) {
    rows.push_back({absl::StrCat(round.number),
                    round.message.empty() ? round.status : round.message,
                    absl::StrCat(round.survivors), absl::StrCat(round.sum_error),
                    absl::StrFormat("%.3f", round.epsilon_total), absl::StrCat(round.bytes_up),
                    absl::StrCat(round.bytes_down), absl::StrFormat("%.1f", round.seconds)});
  }
  page->Table({"round", "end", "survivors", "sum error", "epsilon so far", "bytes up", "bytes down",
               "seconds"},
              rows);
}

void AddDeviceTable(const FleetResult& result, HtmlPage* page) {
  std::vector<std::vector<std::string>> rows;
  for (const DeviceResult& device : result.devices) {
    rows.push_back({device.id, device.persona, absl::StrFormat("%.4f", device.loss_base),
                    absl::StrFormat("%.4f", device.loss_persona),
                    absl::StrFormat("%.4f", device.loss_personalized), device.kept ? "yes" : "no",
                    absl::StrCat(device.rounds_done), absl::StrCat(device.crashes)});
  }
  page->Table(
      {"device", "persona", "loss: base", "persona", "personalized", "kept", "rounds", "crashes"},
      rows);
}

}  // namespace

std::string FleetResultToHtml(const FleetResult& result) {
  HtmlPage page("A simulated fleet");
  page.Paragraph(absl::StrFormat(
      "%d devices with %s work, seed %d, dropout %g, faults %s: %d of %d rounds in %.0f seconds of "
      "virtual time.",
      result.options.devices, result.options.synthetic ? "synthetic" : "a language model's",
      result.options.seed, result.options.dropout, FaultsToString(result.options.faults),
      result.rounds_done(), result.options.rounds, result.seconds));
  if (result.demonstration) {
    page.Note("A fleet this small cannot have strong privacy: its rounds are demonstrations.");
  }
  if (result.violations.empty()) {
    page.Note("No promise was broken.");
  } else {
    page.Heading("Broken promises");
    for (const std::string& violation : result.violations) page.Note(violation);
  }
  page.Heading("Rounds");
  AddRoundTable(result, &page);
  page.Figure(RoundPlot(result, "survivors",
                        [](const RoundResult& r) { return static_cast<double>(r.survivors); }),
              "Devices in the sum of each round");
  page.Figure(RoundPlot(result, "epsilon", [](const RoundResult& r) { return r.epsilon_total; }),
              "Privacy spent after each round");
  page.Figure(PersonaPlot(result), "Devices a persona, as the coordinator sees them: with noise");
  page.Heading("Devices");
  page.Figure(LossPlot(result), "Held-out loss of each device with the last catalog");
  AddDeviceTable(result, &page);
  return page.Render();
}

}  // namespace lorikeet
