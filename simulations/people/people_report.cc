#include "simulations/people/people_report.h"

#include <algorithm>
#include <functional>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "device/personalization/history_entry.h"

namespace lorikeet {
namespace {

using nlohmann::json;

Share ShareOf(int count, int of) { return {count, of, WilsonInterval(count, of)}; }

std::string Text(const Share& share) {
  return absl::StrFormat("%d of %d, %.0f %% [%.0f, %.0f]", share.count, share.of,
                         share.of > 0 ? 100.0 * share.count / share.of : 0.0,
                         100 * share.interval.low, 100 * share.interval.high);
}

json ToJson(const Share& share) {
  return {{"count", share.count},
          {"of", share.of},
          {"share_95", {share.interval.low, share.interval.high}}};
}

json ToJson(const Summary& summary) {
  return {{"count", summary.count},
          {"mean", summary.mean},
          {"mean_95", {summary.mean_interval.low, summary.mean_interval.high}},
          {"median", summary.median},
          {"median_95", {summary.median_interval.low, summary.median_interval.high}}};
}

json PersonJson(const PersonResult& person) {
  return {{"user", person.user},
          {"train_bytes", person.train_bytes},
          {"own_bytes", person.own_bytes},
          {"chosen", person.chosen},
          {"outcome", OutcomeName(person.outcome)},
          {"verdict", person.verdict},
          {"loss_base", MeanLoss(person.base)},
          {"loss_persona", MeanLoss(person.persona)},
          {"loss_scratch", MeanLoss(person.scratch)},
          {"loss_personalized", MeanLoss(person.personalized)},
          {"loss_in_use", MeanLoss(person.in_use)},
          {"forgetting_on_device", person.forgetting},
          {"general_before", person.general_before},
          {"general_after", person.general_after},
          {"selection_cpu_seconds", person.selection_cpu},
          {"cpu_seconds", person.cpu},
          {"scratch_cpu_seconds", person.scratch_cpu},
          {"steps", person.steps}};
}

// A person is a cluster of one.
Summary SummaryOf(const std::vector<PersonResult>& people, uint64_t seed,
                  const std::function<double(const PersonResult&)>& value) {
  std::vector<double> values;
  for (const PersonResult& person : people) values.push_back(value(person));
  std::vector<int> clusters(values.size());
  std::iota(clusters.begin(), clusters.end(), 0);
  return Summarize(values, clusters, seed);
}

void CountShares(const std::vector<PersonResult>& people, PeopleSummary* summary) {
  int enough = 0, base = 0, persona = 0, both = 0, with_persona = 0, scratch = 0;
  for (const PersonResult& person : people) {
    if (person.train_bytes < kEnoughBytes) continue;
    const double loss = MeanLoss(person.personalized);
    ++enough;
    base += loss < MeanLoss(person.base) ? 1 : 0;
    persona += loss < MeanLoss(person.persona) ? 1 : 0;
    both += loss < std::min(MeanLoss(person.base), MeanLoss(person.persona)) ? 1 : 0;
    if (person.chosen == "base") continue;  // scratch is the very same
    ++with_persona;
    scratch += loss < MeanLoss(person.scratch) ? 1 : 0;
  }
  summary->beats_base = ShareOf(base, enough);
  summary->beats_persona = ShareOf(persona, enough);
  summary->beats_both = ShareOf(both, enough);
  summary->beats_scratch = ShareOf(scratch, with_persona);
}

void CountEnds(const std::vector<PersonResult>& people, PeopleSummary* summary) {
  for (const PersonResult& person : people) {
    const PairedGain gain = ComparePaired(person.base, person.in_use);
    summary->better += gain.gain > 0 ? 1 : 0;
    summary->worse += gain.gain < 0 ? 1 : 0;
    summary->same += gain.gain == 0 ? 1 : 0;
    summary->clearly_worse += gain.gain < -kWorseErrors * gain.standard_error ? 1 : 0;
    summary->kept += person.outcome == Outcome::kKept ? 1 : 0;
    summary->persona_only += person.outcome == Outcome::kPersonaOnly ? 1 : 0;
    summary->rolled_back += person.outcome == Outcome::kRolledBack ? 1 : 0;
    summary->general_rise_most =
        std::max(summary->general_rise_most, person.general_after / person.general_before - 1);
  }
  summary->sign_test = SignTest(summary->better, summary->worse);
}

}  // namespace

PeopleSummary Summarize(const std::vector<PersonResult>& people, uint64_t seed) {
  PeopleSummary summary;
  const auto losses = [&](std::vector<DocumentLoss> PersonResult::* side) {
    return SummaryOf(people, seed,
                     [side](const PersonResult& person) { return MeanLoss(person.*side); });
  };
  const auto numbers = [&](double PersonResult::* member) {
    return SummaryOf(people, seed, [member](const PersonResult& person) { return person.*member; });
  };
  summary.base = losses(&PersonResult::base);
  summary.persona = losses(&PersonResult::persona);
  summary.scratch = losses(&PersonResult::scratch);
  summary.personalized = losses(&PersonResult::personalized);
  summary.in_use = losses(&PersonResult::in_use);
  summary.gain = SummaryOf(people, seed, [](const PersonResult& person) {
    return MeanLoss(person.base) - MeanLoss(person.in_use);
  });
  summary.general_rise = SummaryOf(people, seed, [](const PersonResult& person) {
    return person.general_after / person.general_before - 1;
  });
  summary.cpu = numbers(&PersonResult::cpu);
  summary.selection_cpu = numbers(&PersonResult::selection_cpu);
  summary.scratch_cpu = numbers(&PersonResult::scratch_cpu);
  CountShares(people, &summary);
  CountEnds(people, &summary);
  return summary;
}

std::string PeopleTable(const PeopleReport& report) {
  const PeopleSummary& summary = report.summary;
  std::string table = absl::StrFormat("%-28s %7s %-18s %7s %8s %8s %8s %8s %7s %7s  %s\n", "user",
                                      "bytes", "persona", "base", "persona", "scratch", "personal",
                                      "in use", "general", "told", "end");
  for (const PersonResult& person : report.people) {
    absl::StrAppendFormat(
        &table, "%-28s %7d %-18s %7.3f %8.3f %8.3f %8.3f %8.3f %+6.1f%% %+6.1f%%  %s\n",
        person.user.substr(0, 28), person.train_bytes, person.chosen.substr(0, 18),
        MeanLoss(person.base), MeanLoss(person.persona), MeanLoss(person.scratch),
        MeanLoss(person.personalized), MeanLoss(person.in_use),
        100 * (person.general_after / person.general_before - 1), 100 * person.forgetting,
        std::string(OutcomeName(person.outcome)));
  }
  absl::StrAppendFormat(&table, "%-28s %7s %-18s %7.3f %8.3f %8.3f %8.3f %8.3f %+6.1f%%\n", "mean",
                        "", "", summary.base.mean, summary.persona.mean, summary.scratch.mean,
                        summary.personalized.mean, summary.in_use.mean,
                        100 * summary.general_rise.mean);
  absl::StrAppendFormat(&table,
                        "personalized, of people with %d bytes or more (95 %% intervals):\n"
                        "  beats the base: %s\n  beats the persona alone: %s\n  beats both: %s\n"
                        "  beats scratch, where a persona was chosen: %s\n",
                        kEnoughBytes, Text(summary.beats_base), Text(summary.beats_persona),
                        Text(summary.beats_both), Text(summary.beats_scratch));
  absl::StrAppendFormat(
      &table,
      "in use against the base: %d better, %d the same, %d worse (sign test for worse: p = %.2g), "
      "%d worse by more than noise (chance alone: %.1f); gain %.3f [%.3f, %.3f] nats a token\n",
      summary.better, summary.same, summary.worse, summary.sign_test, summary.clearly_worse,
      0.05 * static_cast<double>(report.people.size()), summary.gain.mean,
      summary.gain.mean_interval.low, summary.gain.mean_interval.high);
  absl::StrAppendFormat(
      &table,
      "kept %d, persona only %d, rolled back %d; general text %+.2f %% [%+.2f, %+.2f], at most "
      "%+.2f %%; processor seconds %.1f (selection %.2f), scratch %.1f\n",
      summary.kept, summary.persona_only, summary.rolled_back, 100 * summary.general_rise.mean,
      100 * summary.general_rise.mean_interval.low, 100 * summary.general_rise.mean_interval.high,
      100 * summary.general_rise_most, summary.cpu.mean, summary.selection_cpu.mean,
      summary.scratch_cpu.mean);
  return table;
}

json PeopleJson(const PeopleReport& report) {
  const PeopleSummary& summary = report.summary;
  json people = json::array();
  for (const PersonResult& person : report.people) people.push_back(PersonJson(person));
  return {{"model", report.model},
          {"data", report.data},
          {"seed", report.options.seed},
          {"loss_base", ToJson(summary.base)},
          {"loss_persona", ToJson(summary.persona)},
          {"loss_scratch", ToJson(summary.scratch)},
          {"loss_personalized", ToJson(summary.personalized)},
          {"loss_in_use", ToJson(summary.in_use)},
          {"gain_in_use", ToJson(summary.gain)},
          {"beats_base", ToJson(summary.beats_base)},
          {"beats_persona", ToJson(summary.beats_persona)},
          {"beats_both", ToJson(summary.beats_both)},
          {"beats_scratch", ToJson(summary.beats_scratch)},
          {"better", summary.better},
          {"same", summary.same},
          {"worse", summary.worse},
          {"clearly_worse", summary.clearly_worse},
          {"sign_test_worse", summary.sign_test},
          {"kept", summary.kept},
          {"persona_only", summary.persona_only},
          {"rolled_back", summary.rolled_back},
          {"general_rise", ToJson(summary.general_rise)},
          {"general_rise_most", summary.general_rise_most},
          {"cpu_seconds", ToJson(summary.cpu)},
          {"selection_cpu_seconds", ToJson(summary.selection_cpu)},
          {"scratch_cpu_seconds", ToJson(summary.scratch_cpu)},
          {"people", std::move(people)}};
}

}  // namespace lorikeet
