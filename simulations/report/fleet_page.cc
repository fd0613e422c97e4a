#include "simulations/report/fleet_page.h"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/report/html_page.h"
#include "common/report/persona_map.h"
#include "common/report/svg_plot.h"

namespace lorikeet {
namespace {

constexpr size_t kSmoothing = 5;  // steps in the running mean of training losses

std::string Loss(double loss) { return absl::StrFormat("%.3f", loss); }

std::string Percent(double share) { return absl::StrFormat("%.0f%%", 100 * share); }

std::string Bytes(double bytes) {
  if (bytes < 1e3) return absl::StrFormat("%.0f bytes", bytes);
  if (bytes < 1e6) return absl::StrFormat("%.1f kB", bytes / 1e3);
  return absl::StrFormat("%.1f MB", bytes / 1e6);
}

// "texter", or "texter, then formal" where a later catalog changed the choice.
std::string Personas(const FleetDevice& device) {
  const std::string& first = device.choices.front().chosen;
  const std::string& last = device.choices.back().chosen;
  return first == last ? first : absl::StrCat(first, ", then ", last);
}

std::string Kept(const FleetChoice& choice) {
  if (choice.outcome == "kept") return "kept";
  if (choice.outcome == "persona") return "persona only";
  return choice.loss_existing.value_or(choice.loss_base) < choice.loss_base
             ? "rolled back to the one before"
             : "rolled back to the base";
}

double MeanGain(const FleetRun& run) {
  double base = 0, used = 0;
  for (const FleetDevice& device : run.devices) {
    base += device.choices.back().loss_base;
    used += device.choices.back().LossInUse();
  }
  return 1 - used / base;
}

std::string WhatHappened(const FleetRun& run) {
  size_t with_persona = 0;
  for (const FleetDevice& device : run.devices) {
    with_persona += device.choices.front().chosen != "base" ? 1 : 0;
  }
  std::string text = absl::StrFormat(
      "%d devices, each a process of its own with its own sealed text, fetched a signed base model "
      "and a signed catalog of %d personas. %d of them found a persona that fits, the others kept "
      "to the base; each trained on its owner's text and judged the result on text it had held "
      "back. ",
      run.devices.size(), run.catalog.personas.size(), with_persona);
  absl::StrAppendFormat(&text,
                        "Then they improved the personas together in %d rounds of secure "
                        "aggregation over gRPC",
                        run.rounds.size());
  if (!run.killed.empty()) {
    absl::StrAppend(&text, "; the process of ", run.killed,
                    " was killed in the middle of the last one, which completed without it");
  }
  absl::StrAppendFormat(
      &text,
      ". With the last catalog every device selected, trained and judged again. In the end the "
      "held-out loss is %s lower than the base model's, over the devices.",
      Percent(MeanGain(run)));
  return text;
}

void AddDevices(const FleetRun& run, HtmlPage* page) {
  std::vector<std::vector<std::string>> rows, reasons;
  std::vector<BarGroup> bars;
  for (const FleetDevice& device : run.devices) {
    const FleetChoice& last = device.choices.back();
    rows.push_back({device.name, Personas(device), Loss(last.loss_base), Loss(last.loss_persona),
                    Loss(last.LossInUse()), Percent(1 - last.LossInUse() / last.loss_base),
                    Kept(last)});
    reasons.push_back({device.name, device.choices.front().reason});
    bars.push_back({device.name, {last.loss_base, last.loss_persona, last.LossInUse()}});
  }
  page->Heading("Devices")
      .Paragraph(
          "Losses are nats a token on text that was neither trained on nor used to choose. "
          "\"In use\" is what the device runs with after its last decision.")
      .Table({"device", "persona", "base loss", "persona loss", "loss in use", "lower by",
              "last decision"},
             rows)
      .Figure(
          BarPlot(
              bars, {"base", "persona", "in use"},
              {.x_label = "device", .y_label = "held-out loss", .y_from_zero = true, .width = 760}),
          "Held-out loss of the base model, of the persona each device chose, and of what the "
          "device uses in the end. Lower is better.")
      .Heading("Why these personas")
      .Paragraph("What each device told its owner after looking at its first catalog:")
      .Table({"device", "why"}, reasons);
}

std::vector<PlotPoint> RunningMean(const std::vector<PlotPoint>& points) {
  std::vector<PlotPoint> smooth;
  double sum = 0;
  for (size_t i = 0; i < points.size(); ++i) {
    sum += points[i].y;
    if (i >= kSmoothing) sum -= points[i - kSmoothing].y;
    smooth.push_back({points[i].x, sum / static_cast<double>(std::min(i + 1, kSmoothing))});
  }
  return smooth;
}

void AddCurves(const FleetRun& run, HtmlPage* page) {
  std::vector<LineSeries> held_out, training;
  for (const FleetDevice& device : run.devices) {
    const FleetChoice& first = device.choices.front();
    held_out.push_back({device.name, first.eval_loss});
    training.push_back({device.name, RunningMean(first.train_loss)});
  }
  page->Heading("Learning on the devices")
      .Figure(LinePlot(held_out, {.x_label = "step", .y_label = "held-out loss"}),
              "The first personalization of each device, from its warm start: loss on text held "
              "back. The adapter of the lowest point is used, so a curve that turns up does no "
              "harm.")
      .Figure(LinePlot(training, {.x_label = "step", .y_label = "training loss"}),
              absl::StrFormat("The same trainings on the text trained on (mean of %d steps).",
                              kSmoothing));
}

void AddPersonaMap(const FleetRun& run, HtmlPage* page) {
  const auto& personas = run.catalog.personas;
  const size_t n = personas.size();
  std::vector<double> distances(n * n, 0.0);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      if (i == j) continue;
      distances[i * n + j] = StyleDistance(personas[i].card.statistics, personas[j].card.statistics,
                                           run.catalog.background);
    }
  }
  const std::vector<PlotPoint> places = ScaleToPlane(distances, n);
  std::vector<ScatterPoint> points;
  std::vector<std::vector<std::string>> sentences;
  for (size_t i = 0; i < n; ++i) {
    points.push_back({personas[i].id, places[i].x, places[i].y, static_cast<int>(i), true});
    sentences.push_back({personas[i].id, personas[i].card.sentence});
  }
  for (const FleetDevice& device : run.devices) {
    const FleetChoice& first = device.choices.front();
    std::vector<PlotPoint> landmarks;
    std::vector<double> to;
    int style = 7;
    for (size_t i = 0; i < n; ++i) {
      if (first.heaviest == personas[i].id) style = static_cast<int>(i);
      const auto found = first.style_distance.find(personas[i].id);
      if (found == first.style_distance.end()) continue;
      landmarks.push_back(places[i]);
      to.push_back(found->second);
    }
    if (landmarks.empty()) continue;
    const PlotPoint place = PlaceAmong(landmarks, to);
    points.push_back({device.name, place.x, place.y, style, false});
  }
  page->Heading("Who is like whom")
      .Figure(
          ScatterPlot(points, {.x_label = "", .y_label = "", .height = 400}),
          "Large: personas. Small: devices, in the colour of the persona they chose (grey: none). "
          "Near means alike in style; a plane shows such distances only roughly.")
      .Table({"persona", "style"}, sentences);
}

void AddRounds(const FleetRun& run, HtmlPage* page) {
  page->Heading("Rounds");
  std::vector<BarGroup> seconds, bytes;
  std::vector<std::string> names;
  std::vector<std::vector<std::string>> rows;
  for (const FleetRound& round : run.rounds) {
    names.push_back(absl::StrCat("round ", round.number));
    for (size_t i = 0; i < round.steps.size(); ++i) {
      const FleetStep& step = round.steps[i];
      if (seconds.size() <= i) {
        seconds.push_back({step.name, {}});
        bytes.push_back({step.name, {}});
      }
      seconds[i].values.push_back(step.seconds);
      bytes[i].values.push_back(static_cast<double>(step.bytes) / 1e3 / std::max(1, step.messages));
      rows.push_back({names.back(), step.name, absl::StrCat(step.messages),
                      Bytes(static_cast<double>(step.bytes)),
                      absl::StrFormat("%.1f s", step.seconds)});
    }
  }
  for (const FleetRound& round : run.rounds) {
    page->Paragraph(absl::StrFormat(
        "Round %d: %d devices began, %d are in the sum; %.1f s; catalog version %d became %d. Each "
        "sent a vector of %d numbers of %d bits: the blocks of all personas, so that its choice "
        "does not show.",
        round.number, round.admitted, round.survivors, round.seconds, round.catalog_version,
        round.catalog_version + 1, round.dimension, round.modulus_bits));
  }
  page->Figure(
          BarPlot(seconds, names, {.x_label = "step", .y_label = "seconds", .y_from_zero = true}),
          "Seconds of each step. Training on the devices is part of the third; a device that "
          "is gone is waited for until the step's deadline.")
      .Figure(
          BarPlot(bytes, names, {.x_label = "step", .y_label = "kB a device", .y_from_zero = true}),
          "What one device sends in each step.")
      .Table({"round", "step", "messages", "bytes in all", "time"}, rows);
}

void AddPrivacy(const FleetRun& run, HtmlPage* page) {
  std::vector<std::vector<std::string>> rows;
  for (const FleetRound& round : run.rounds) {
    rows.push_back({absl::StrCat(round.number), absl::StrCat(round.survivors),
                    absl::StrFormat("%.4g", round.epsilon), absl::StrFormat("%g", round.delta)});
  }
  rows.push_back(
      {"all", "", absl::StrFormat("%.4g", run.epsilon_spent), absl::StrFormat("%g", run.delta)});
  page->Heading("Privacy spent");
  if (run.demonstration) {
    page->Note(
        "A demonstration, not real privacy: noise that protects each owner in so small a fleet "
        "would drown what can be learned from it. The epsilon below is computed as in production "
        "and is far too large to promise anything. Tasks that are not labelled so are held to the "
        "strict rule (cohorts and epsilon within the coordinator's policy and each device's own), "
        "and devices refuse demonstrations unless their owner allows them, as here.");
  }
  page->Table({"round", "devices", "epsilon", "delta"}, rows);
}

void AddWhatLeft(const FleetRun& run, HtmlPage* page) {
  uint64_t sent = 0;
  for (const FleetRound& round : run.rounds) {
    for (const FleetStep& step : round.steps) sent += step.bytes;
  }
  std::vector<std::vector<std::string>> rows;
  for (const FleetDevice& device : run.devices) {
    rows.push_back({device.name, Bytes(static_cast<double>(device.bytes_fetched)),
                    absl::StrCat(device.rounds_done)});
  }
  page->Heading("What left the devices")
      .Paragraph(absl::StrFormat(
          "No text, no personal adapter and no choice of persona. In the rounds, all devices "
          "together sent %s: public keys, encrypted shares of secrets, masked vectors that mean "
          "nothing alone, acknowledgements, and the shares that open the sum. Outside of rounds "
          "they sent only questions for releases. What they fetched was checked against its "
          "signature before it was used:",
          Bytes(static_cast<double>(sent))))
      .Table({"device", "fetched", "rounds completed"}, rows);
}

void AddSamples(const FleetRun& run, HtmlPage* page) {
  if (run.samples.empty()) return;
  page->Heading("Before and after")
      .Paragraph(
          "The same opening, the same random seed; a model of 7 million weights does not make much "
          "sense, but whose voice it speaks in can be seen.");
  for (const FleetSample& sample : run.samples) {
    page->Quote(absl::StrCat(sample.device, ", base model"),
                absl::StrCat(sample.prompt, sample.base));
    if (sample.personalized) {
      page->Quote(absl::StrCat(sample.device, ", personalized"),
                  absl::StrCat(sample.prompt, *sample.personalized));
    }
  }
}

void AddStages(const FleetRun& run, HtmlPage* page) {
  std::vector<std::vector<std::string>> rows;
  for (const FleetStage& stage : run.stages) {
    rows.push_back({stage.name, absl::StrFormat("%.1f s", stage.seconds)});
  }
  page->Heading("Where the time went").Table({"stage", "time"}, rows);
}

}  // namespace

std::string FleetPage(const FleetRun& run) {
  HtmlPage page("Lorikeet: a fleet learns its owners' voices");
  page.Paragraph(WhatHappened(run));
  AddDevices(run, &page);
  AddSamples(run, &page);
  AddPersonaMap(run, &page);
  AddCurves(run, &page);
  AddRounds(run, &page);
  AddPrivacy(run, &page);
  AddWhatLeft(run, &page);
  AddStages(run, &page);
  return page.Render();
}

std::string FleetTable(const FleetRun& run) {
  std::string table =
      absl::StrFormat("%-9s %-21s %7s %8s %7s  %-30s %s\n", "device", "persona", "base", "persona",
                      "in use", "last decision", "the owner writes");
  for (const FleetDevice& device : run.devices) {
    const FleetChoice& last = device.choices.back();
    absl::StrAppendFormat(&table, "%-9s %-21s %7.3f %8.3f %7.3f  %-30s %s\n", device.name,
                          last.chosen, last.loss_base, last.loss_persona, last.LossInUse(),
                          Kept(last), last.style);
  }
  absl::StrAppendFormat(&table,
                        "mean held-out loss is %s lower than the base model's; epsilon %.4g at "
                        "delta %g%s\n",
                        Percent(MeanGain(run)), run.epsilon_spent, run.delta,
                        run.demonstration ? " (a demonstration, not real privacy)" : "");
  return table;
}

}  // namespace lorikeet
