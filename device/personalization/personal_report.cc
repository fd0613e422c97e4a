#include "device/personalization/personal_report.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/encoder.h"
#include "common/report/html_page.h"
#include "common/report/persona_map.h"
#include "common/report/svg_plot.h"
#include "common/wire/round.h"
#include "device/trainer/train_report.h"

namespace lorikeet {
namespace {

constexpr size_t kShownCandidates = 12;
constexpr size_t kMappedPersonas = 40;  // more cannot be told apart
constexpr size_t kFewSteps = 10;        // of which a running mean hides more than it shows
constexpr size_t kWrittenBytes = 240;   // of how the owner went on
constexpr int kRoundDevices = 100;      // of the round whose update is sized
// Colour classes of a plot.
constexpr int kChosenColor = 0, kYouColor = 1, kOtherColor = 7;

std::string Loss(double loss) { return absl::StrFormat("%.3f", loss); }

std::string OrDash(const std::optional<double>& value) { return value ? Loss(*value) : "–"; }

std::string Bytes(double bytes) {
  if (bytes < 1e3) return absl::StrFormat("%.0f bytes", bytes);
  if (bytes < 1e6) return absl::StrFormat("%.1f kB", bytes / 1e3);
  return absl::StrFormat("%.1f MB", bytes / 1e6);
}

// The same plot for a screen and for a phone.
void AddPlot(PlotAxes axes, std::string_view caption,
             const std::function<std::string(const PlotAxes&)>& draw, HtmlPage* page) {
  axes.width = 760;
  const std::string wide = draw(axes);
  axes.width = kNarrowPlotWidth;
  page->Figure(wide, draw(axes), caption);
}

const RankedCandidate* FindCandidate(const Selection& selection, std::string_view id) {
  const auto it = std::ranges::find(selection.ranked, id, &RankedCandidate::id);
  return it == selection.ranked.end() ? nullptr : &*it;
}

bool IsPartOf(const Selection& selection, int persona) {
  return std::ranges::any_of(selection.weights, [&](const PersonaWeight& part) {
    return part.index == persona && part.weight != 0;
  });
}

// Personas with a known distance to the owner, nearest first, at most kMappedPersonas, those that
// were chosen among them.
std::vector<int> MappedPersonas(const Catalog& catalog, const Selection& selection) {
  std::vector<std::pair<double, int>> near;
  for (size_t i = 0; i < catalog.personas.size(); ++i) {
    const RankedCandidate* candidate = FindCandidate(selection, catalog.personas[i].id);
    if (candidate == nullptr || !candidate->style_distance) continue;
    const bool chosen = IsPartOf(selection, static_cast<int>(i));
    near.emplace_back(chosen ? -1.0 : *candidate->style_distance, static_cast<int>(i));
  }
  std::ranges::sort(near);
  near.resize(std::min(near.size(), kMappedPersonas));
  std::vector<int> personas;
  for (const auto& [distance, index] : near) personas.push_back(index);
  return personas;
}

std::vector<ScatterPoint> PersonaMap(const Catalog& catalog, const Selection& selection) {
  const std::vector<int> personas = MappedPersonas(catalog, selection);
  const size_t n = personas.size();
  if (n == 0) return {};
  std::vector<double> distances(n * n, 0.0), to;
  for (size_t i = 0; i < n; ++i) {
    const Persona& a = catalog.personas[static_cast<size_t>(personas[i])];
    to.push_back(*FindCandidate(selection, a.id)->style_distance);
    for (size_t j = 0; j < i; ++j) {
      const Persona& b = catalog.personas[static_cast<size_t>(personas[j])];
      distances[i * n + j] = distances[j * n + i] =
          StyleDistance(a.card.statistics, b.card.statistics, catalog.background);
    }
  }
  const std::vector<PlotPoint> places = ScaleToPlane(distances, n);
  const PlotPoint you = PlaceAmong(places, to);
  std::vector<ScatterPoint> points = {{"you", you.x, you.y, kYouColor, true}};
  for (size_t i = 0; i < n; ++i) {
    const bool chosen = IsPartOf(selection, personas[i]);
    points.push_back({catalog.personas[static_cast<size_t>(personas[i])].id, places[i].x,
                      places[i].y, chosen ? kChosenColor : kOtherColor, chosen});
  }
  return points;
}

void AddChoice(const PersonalReport& report, HtmlPage* page) {
  const Selection& selection = report.result->selection;
  page->Heading("Whose writing is like yours");
  const std::vector<ScatterPoint> points = PersonaMap(*report.catalog, selection);
  if (!points.empty()) {
    AddPlot(
        {.height = 380},
        "You among the personas of the catalog (of many, those nearest to you). Near means "
        "alike in style; a plane shows such distances only roughly. Coloured: the persona that "
        "was chosen.",
        [&](const PlotAxes& axes) { return ScatterPlot(points, axes); }, page);
  }
  std::vector<std::vector<std::string>> rows;
  for (const RankedCandidate& candidate : selection.ranked) {
    if (rows.size() == kShownCandidates) break;
    rows.push_back({absl::StrCat(candidate.id, candidate.id == selection.chosen ? " (chosen)" : ""),
                    OrDash(candidate.style_distance), OrDash(candidate.explanation_distance),
                    OrDash(candidate.held_out_loss)});
  }
  page->Table({"candidate", "style", "traits", "loss"}, rows);
  if (selection.ranked.size() > rows.size()) {
    page->Paragraph(
        absl::StrFormat("and %d more, further away.", selection.ranked.size() - rows.size()));
  }
  page->Paragraph(absl::StrFormat(
      "Style and traits are distances: 0 is the same. Loss is how badly text of yours is foreseen "
      "that nothing was trained on, in nats a token, where it was measured: lower is better. "
      "Confidence of this choice: %.0f%%.",
      100 * selection.confidence));
}

// At most kWrittenBytes, cut at a space.
std::string Shortened(const std::string& text) {
  if (text.size() <= kWrittenBytes) return text;
  const size_t cut = text.rfind(' ', kWrittenBytes);
  // A text without spaces may be cut inside a character only where bytes are not UTF-8's tail.
  size_t end = cut == std::string::npos || cut == 0 ? kWrittenBytes : cut;
  while (end > 1 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return absl::StrCat(text.substr(0, end), " …");
}

void AddSamples(const PersonalReport& report, HtmlPage* page) {
  if (report.samples.empty()) return;
  const Selection& selection = report.result->selection;
  std::vector<std::string> names = {"plain model"};
  if (!selection.weights.empty()) names.push_back(absl::StrCat("persona ", selection.chosen));
  names.push_back("trained on your text");
  page->Heading("Before and after")
      .Paragraph(
          "The same beginning, the same random seed, three writers. Beginnings of yours come from "
          "text that nothing was trained on. A small model does not make much sense; listen for "
          "the "
          "voice.");
  for (const WritingSample& sample : report.samples) {
    std::vector<std::pair<std::string, std::string>> quotes;
    if (!sample.written.empty()) {
      quotes.emplace_back("you wrote", absl::StrCat(sample.beginning, Shortened(sample.written)));
    }
    for (size_t i = 0; i < std::min(names.size(), sample.sides.size()); ++i) {
      quotes.emplace_back(names[i], absl::StrCat(sample.beginning, sample.sides[i]));
    }
    page->Quotes(quotes);
  }
}

void AddJudgement(const PersonalizeResult& result, HtmlPage* page) {
  BarGroup bars;
  std::vector<std::string> names;
  const auto add = [&](std::string_view name, double loss) {
    names.push_back(absl::StrCat(ToAbsl(name), ": ", Loss(loss)));
    bars.values.push_back(loss);
  };
  add("plain model", result.loss_base);
  if (!result.selection.weights.empty()) add("persona", result.loss_persona);
  add("trained on your text", result.loss_personalized);
  if (result.loss_existing) add("in use before", *result.loss_existing);
  AddPlot(
      {.x_label = "", .y_label = "nats a token", .height = 240},
      absl::StrFormat("Loss on %d tokens of your text that were held back to judge by: lower "
                      "is better. The axis does not begin at zero.",
                      result.judge_tokens),
      [&](const PlotAxes& axes) { return BarPlot({bars}, names, axes); }, page);
}

std::vector<PlotPoint> PointsOf(const std::vector<LossPoint>& losses) {
  std::vector<PlotPoint> points;
  for (const LossPoint& loss : losses) {
    points.push_back({static_cast<double>(loss.step), loss.loss});
  }
  return points;
}

void AddLearning(const PersonalReport& report, HtmlPage* page) {
  const PersonalizeResult& result = *report.result;
  page->Heading("What was learned").Paragraph(result.verdict);
  AddJudgement(result, page);
  if (result.training.steps == 0) return;
  const auto& losses = result.training.train_loss;
  const bool many = losses.size() > kFewSteps;
  std::vector<LineSeries> lines = {
      {many ? "training, smoothed" : "training",
       PointsOf(many ? Smoothed(losses, std::max(5.0, static_cast<double>(losses.size()) / 20))
                     : losses)}};
  if (!result.training.eval_loss.empty()) {
    lines.push_back({"held out", PointsOf(result.training.eval_loss)});
  }
  AddPlot(
      {.x_label = "step", .y_label = "nats a token", .whole_x = true, .height = 260},
      absl::StrFormat("Loss while learning, on the text learned from and on text held out. What "
                      "was learned was then taken at the strength that foresees held-out text best "
                      "(%.2f times as trained); that is what was judged.",
                      result.residual_scale),
      [&](const PlotAxes& axes) { return LinePlot(lines, axes); }, page);
}

void AddCost(const PersonalReport& report, HtmlPage* page) {
  const bool energy = !report.energy_source.empty();
  std::vector<std::string> header = {"stage", "seconds", "CPU seconds"};
  if (energy) header.push_back("joules");
  StageCost all{.name = "all", .seconds = 0, .cpu_seconds = 0, .joules = 0};
  std::vector<std::vector<std::string>> rows;
  const auto add_row = [&](const StageCost& stage) {
    rows.push_back({stage.name, absl::StrFormat("%.2f", stage.seconds),
                    absl::StrFormat("%.2f", stage.cpu_seconds)});
    if (energy) rows.back().push_back(absl::StrFormat("%.1f", stage.joules));
  };
  for (const StageCost& stage : report.stages) {
    add_row(stage);
    all.seconds += stage.seconds;
    all.cpu_seconds += stage.cpu_seconds;
    all.joules += stage.joules;
  }
  add_row(all);
  const TrainResult& training = report.result->training;
  std::string words =
      absl::StrFormat("%d training steps over %d tokens. ", training.steps, training.tokens);
  absl::StrAppend(&words,
                  report.bytes_written > 0
                      ? absl::StrCat("Written: ", Bytes(static_cast<double>(report.bytes_written)),
                                     " (the adapter).")
                      : "No adapter was written.");
  if (report.energy_source == "model") {
    absl::StrAppend(&words,
                    " Joules are reckoned from CPU seconds; this machine's counters cannot be "
                    "read.");
  }
  page->Heading("What it cost").Table(header, rows).Paragraph(words);
}

// A masked update of the catalog's personas as rounds make them (common/wire/round.h), under this
// assumption: a round of kRoundDevices, with the coordinator's usual 1024 steps to the clip norm.
struct UpdateSize {
  int64_t numbers = 0;
  int bits = 0;  // of each
  double bytes() const { return static_cast<double>(numbers) * bits / 8; }
};
UpdateSize SizeOfUpdate(const Catalog& catalog) {
  const UpdateLayout layout{.persona_count = static_cast<int>(catalog.personas.size()),
                            .block_size = catalog.block_size()};
  const EncodingParameters encoding{.dimension = layout.dimension(), .clip_norm = 1, .scale = 1024};
  const auto bits = RequiredModulusBits(encoding, kRoundDevices);
  return {.numbers = encoding.padded_dimension(), .bits = bits.value_or(32)};
}

void AddPrivacy(const PersonalReport& report, HtmlPage* page) {
  const UpdateSize update = SizeOfUpdate(*report.catalog);
  page->Heading("What leaves this device")
      .Paragraph(
          "Nothing. Your text, the choice of persona, the adapter and this page stay here; the "
          "catalog was read, and nobody was asked anything.")
      .Paragraph(absl::StrFormat(
          "Only if you let this device take part in federated rounds does something leave it, and "
          "then not what was learned here: a masked update, %d numbers that look like noise until "
          "they are added to those of many others. In a round of %d devices each takes %d bits: %s "
          "in all. It is as long whichever persona is yours.",
          update.numbers, kRoundDevices, update.bits, Bytes(update.bytes())));
}

void AddUndo(const PersonalReport& report, HtmlPage* page) {
  page->Heading("How to undo it");
  if (report.undo_command.empty()) {
    page->Paragraph("There is nothing to undo: what was in use before is in use now.");
  } else {
    page->Paragraph("Back to what was in use before:").Command(report.undo_command);
  }
}

}  // namespace

std::string PersonalReportPage(const PersonalReport& report) {
  LORIKEET_CHECK(report.catalog != nullptr && report.result != nullptr);
  HtmlPage page("What was learned from your writing");
  page.Note(
      "This page holds words of yours. Only you can read its file; think before you pass it on.");
  if (!report.result->notice.empty())
    page.Note(absl::StrCat("Of your text, we ", report.result->notice, "."));
  page.Paragraph(report.result->selection.reason);
  AddChoice(report, &page);
  AddSamples(report, &page);
  AddLearning(report, &page);
  AddCost(report, &page);
  AddPrivacy(report, &page);
  AddUndo(report, &page);
  page.Heading("Made from")
      .Table({"what", "file"},
             {{"model", report.model_path},
              {"catalog", report.catalog_path},
              {"adapter", report.adapter_path},
              {"on", absl::FormatTime("%Y-%m-%d %H:%M UTC", report.time, absl::UTCTimeZone())}});
  return page.Render();
}

absl::Status WritePersonalReport(const PersonalReport& report, const std::string& path) {
  return WriteFileAtomic(path, PersonalReportPage(report), 0600);
}

}  // namespace lorikeet
