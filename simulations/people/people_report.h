// What the runs of people say together, as numbers, a table, JSON and a page.
#ifndef LORIKEET_SIMULATIONS_PEOPLE_PEOPLE_REPORT_H_
#define LORIKEET_SIMULATIONS_PEOPLE_PEOPLE_REPORT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "simulations/people/people.h"
#include "simulations/people/statistics.h"

namespace lorikeet {

struct Share {
  int count = 0;
  int of = 0;
  Interval interval;  // 95 %
};

// A person whose loss rose by more than this many standard errors of the paired difference ended
// worse; 1 in 20 does by chance where nothing changed for anybody.
inline constexpr double kWorseErrors = 1.645;
// Users with so much text (train lines, bytes) are those that the target speaks of.
inline constexpr size_t kEnoughBytes = 4000;

struct PeopleSummary {
  // Mean losses over people, nats a token.
  Summary base, persona, scratch, personalized, in_use;
  Summary gain;  // of what is in use over the base
  // Of people with kEnoughBytes; beats_scratch of those among them for whom a persona was chosen.
  Share beats_base, beats_persona, beats_both, beats_scratch;
  // Of everybody, of what is in use against the base.
  int better = 0, worse = 0, same = 0;
  int clearly_worse = 0;  // by kWorseErrors
  double sign_test = 1;   // chance of so many worse, were better and worse as likely
  int kept = 0, persona_only = 0, rolled_back = 0;
  Summary general_rise;  // relative
  double general_rise_most = 0;
  Summary cpu, selection_cpu, scratch_cpu;
};

struct PeopleReport {
  std::string model;
  std::string data;  // name of the set
  PeopleOptions options;
  std::vector<PersonResult> people;
  PeopleSummary summary;
};

PeopleSummary Summarize(const std::vector<PersonResult>& people, uint64_t seed);

std::string PeopleTable(const PeopleReport& report);
nlohmann::json PeopleJson(const PeopleReport& report);
std::string PeoplePage(const PeopleReport& report);  // self-contained

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_PEOPLE_PEOPLE_REPORT_H_
