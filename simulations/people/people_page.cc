// The page of real people: each person's losses side by side, and what follows for all.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/report/html_page.h"
#include "common/report/svg_plot.h"
#include "device/personalization/history_entry.h"
#include "simulations/people/people_report.h"

namespace lorikeet {
namespace {

std::string Text(const Share& share) {
  return absl::StrFormat("%d of %d, %.0f %% [%.0f, %.0f]", share.count, share.of,
                         share.of > 0 ? 100.0 * share.count / share.of : 0.0,
                         100 * share.interval.low, 100 * share.interval.high);
}

double Gain(const PersonResult& person) { return MeanLoss(person.base) - MeanLoss(person.in_use); }

// People by what they gained, least first.
std::vector<PersonResult> Sorted(std::vector<PersonResult> people) {
  std::stable_sort(people.begin(), people.end(),
                   [](const PersonResult& a, const PersonResult& b) { return Gain(a) < Gain(b); });
  return people;
}

std::string GainPlot(const std::vector<PersonResult>& people) {
  LineSeries persona{.name = "persona alone", .points = {}, .dots = true},
      scratch{.name = "scratch", .points = {}, .dots = true},
      personalized{.name = "personalized", .points = {}, .dots = true},
      in_use{.name = "in use", .points = {}};
  double x = 0;
  for (const PersonResult& person : people) {
    x += 1;
    const double base = MeanLoss(person.base);
    persona.points.push_back({x, base - MeanLoss(person.persona)});
    scratch.points.push_back({x, base - MeanLoss(person.scratch)});
    personalized.points.push_back({x, base - MeanLoss(person.personalized)});
    const PairedGain gain = ComparePaired(person.base, person.in_use);
    in_use.points.push_back({x, gain.gain});
    in_use.ranges.push_back(
        {x, gain.gain - 1.96 * gain.standard_error, gain.gain + 1.96 * gain.standard_error});
  }
  return LinePlot({persona, scratch, personalized, in_use},
                  {.x_label = "person, by gain",
                   .y_label = "loss lower than the base's by, nats",
                   .y_from_zero = true,
                   .whole_x = true});
}

std::string ForgettingPlot(const std::vector<PersonResult>& people) {
  LineSeries rise{.name = "general text", .points = {}, .dots = true};
  LineSeries limit{.name = "target", .points = {}, .faint = true};
  double x = 0;
  for (const PersonResult& person : people) {
    x += 1;
    rise.points.push_back({x, 100 * (person.general_after / person.general_before - 1)});
    limit.points.push_back({x, 3});
  }
  return LinePlot({rise, limit}, {.x_label = "person, by gain",
                                  .y_label = "loss on general text, change in %",
                                  .y_from_zero = true,
                                  .whole_x = true,
                                  .height = 240});
}

void AddPeople(const std::vector<PersonResult>& people, HtmlPage* page) {
  std::vector<std::vector<std::string>> rows;
  for (const PersonResult& person : people) {
    rows.push_back(
        {person.user, absl::StrCat(person.train_bytes), person.chosen,
         absl::StrFormat("%.3f", MeanLoss(person.base)),
         absl::StrFormat("%.3f", MeanLoss(person.persona)),
         absl::StrFormat("%.3f", MeanLoss(person.scratch)),
         absl::StrFormat("%.3f", MeanLoss(person.personalized)),
         absl::StrFormat("%.3f", MeanLoss(person.in_use)),
         absl::StrFormat("%+.2f %%", 100 * (person.general_after / person.general_before - 1)),
         absl::StrFormat("%.1f", person.cpu), std::string(OutcomeName(person.outcome))});
  }
  page->Heading("Everybody")
      .Table({"person", "bytes", "persona", "base", "persona alone", "scratch", "personalized",
              "in use", "general text", "CPU s", "end"},
             rows);
}

}  // namespace

std::string PeoplePage(const PeopleReport& report) {
  const PeopleSummary& summary = report.summary;
  const std::vector<PersonResult> people = Sorted(report.people);
  HtmlPage page("Does personalizing help real people?");
  page.Paragraph(absl::StrFormat(
      "%s: %d people; personas come from other people. Train lines train and choose, the first "
      "half of the test lines judges, and the second half, which nothing has seen, is measured "
      "here, in nats a token. Intervals are 95 %%.",
      report.data, report.people.size()));
  page.Note(absl::StrFormat(
      "Mean loss: base %.3f, persona alone %.3f, scratch %.3f, personalized %.3f, in use after the "
      "verdict %.3f: a gain of %.3f [%.3f, %.3f].",
      summary.base.mean, summary.persona.mean, summary.scratch.mean, summary.personalized.mean,
      summary.in_use.mean, summary.gain.mean, summary.gain.mean_interval.low,
      summary.gain.mean_interval.high));
  page.Heading("In short")
      .Table({"", "answer"},
             {{"beats base", Text(summary.beats_base)},
              {"beats persona", Text(summary.beats_persona)},
              {"beats both", Text(summary.beats_both)},
              {"beats scratch", Text(summary.beats_scratch)},
              {"in use",
               absl::StrFormat("%d better than the base, %d the same, %d worse; sign test: chance "
                               "of so many worse by luck %.2g",
                               summary.better, summary.same, summary.worse, summary.sign_test)},
              {"clearly worse",
               absl::StrFormat("%d by more than noise (by chance alone %.1f)",
                               summary.clearly_worse, 0.05 * static_cast<double>(people.size()))},
              {"verdicts", absl::StrFormat("%d kept, %d persona only, %d rolled back", summary.kept,
                                           summary.persona_only, summary.rolled_back)},
              {"general text", absl::StrFormat("%+.2f %% [%+.2f, %+.2f], at most %+.2f %%",
                                               100 * summary.general_rise.mean,
                                               100 * summary.general_rise.mean_interval.low,
                                               100 * summary.general_rise.mean_interval.high,
                                               100 * summary.general_rise_most)},
              {"CPU seconds", absl::StrFormat("%.1f a person, of them %.2f selection; scratch %.1f",
                                              summary.cpu.mean, summary.selection_cpu.mean,
                                              summary.scratch_cpu.mean)}});
  page.Paragraph(absl::StrFormat(
      "The first four rows are of the personalized model, over people with %d bytes or more, the "
      "fourth over those of them for whom a persona was chosen.",
      kEnoughBytes));
  page.Heading("Gains, person by person")
      .Figure(GainPlot(people),
              "Higher is better, 0 is the bare base. The bars are 95 % intervals of what is in "
              "use, over the person's documents.");
  page.Heading("Forgetting")
      .Figure(ForgettingPlot(people), "Loss on neutral text with what is in use.");
  AddPeople(people, &page);
  return page.Render();
}

}  // namespace lorikeet
