// ledger: privacy spent, by task and over all tasks of a base, with what each number assumes.
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/accountant.h"
#include "common/dp/ledger.h"
#include "coordinator/admin/commands.h"
#include "coordinator/admin/watch.h"
#include "coordinator/admin/workspace.h"
#include "coordinator/rounds/describe_round.h"
#include "coordinator/rounds/total_budget.h"

namespace lorikeet {
namespace {

// What the numbers of a task's ledger rest on.
std::string Assumptions(const TaskConfig& config) {
  if (HasCentralNoise(config)) {
    return absl::StrFormat(
        "that the coordinator is honest: it sees every sum before it adds noise, which is "
        "correlated over all %d rounds and charged once; exact Gaussian at noise multiplier %g; "
        "devices contribute %d rounds apart or more",
        config.rounds, config.noise_multiplier, config.separation);
  }
  return absl::StrFormat(
      "%s noise of %g clip norms in the sum of %d honest survivors (at least %d, %g of them "
      "corrupt), Renyi accounting, no amplification by sampling: devices select themselves",
      config.noise, config.noise_multiplier, HonestSurvivors(config), config.cohort_min,
      config.corrupt_fraction);
}

// Of each sweep the round that cost the most: a device is in one of them at most.
std::vector<LedgerRecord> SpentSweeps(const std::vector<LedgerRecord>& entries) {
  std::map<uint64_t, LedgerRecord> sweeps;
  for (const LedgerRecord& entry : entries) {
    if (!entry.spent) continue;
    LedgerRecord& most = sweeps.try_emplace(entry.sweep, entry).first->second;
    if (entry.epsilon > most.epsilon) most = entry;
  }
  std::vector<LedgerRecord> spent;
  for (const auto& [number, entry] : sweeps) spent.push_back(entry);
  return spent;
}

// What routed rounds reveal, and what counting a sweep once assumes.  `ledger`: of the task.
absl::Status PrintRoutedSpending(const TaskConfig& config, const PrivacyLedger& ledger,
                                 nlohmann::json* row, Output& out) {
  (*row)["routing"] = config.routing;
  if (!IsRouted(config)) return absl::OkStatus();
  // Of each sweep a change of choice is in two sums.
  PrivacyLedger twice = ledger;
  if (ledger.releases > 0) RETURN_IF_ERROR(twice.Spend(ledger.spent));
  ASSIGN_OR_RETURN(const double changed, twice.SpentEpsilon(config.delta));
  out.Line(absl::StrCat("  routed: ", kRoutedReveals));
  out.Line(absl::StrFormat(
      "  assumes that a device joins one round of a sweep at most, so that a sweep counts once: "
      "for "
      "devices that are there or not; of one that chose from another bucket, which changes two "
      "sums: epsilon %.3f",
      changed));
  (*row)["reveals"] = "histogram of choices";
  (*row)["epsilon_choice_changed"] = changed;
  return absl::OkStatus();
}

absl::Status AppendLedger(Store* store, const TaskRecord& task, nlohmann::json* list, Output& out) {
  ASSIGN_OR_RETURN(const TaskConfig config, TaskConfigFromJson(task.config));
  ASSIGN_OR_RETURN(const auto entries, store->ListLedger(task.name));
  ASSIGN_OR_RETURN(const PrivacyLedger ledger, SpentByTask(store, config));
  ASSIGN_OR_RETURN(double total, ledger.SpentEpsilon(config.delta));
  if (HasCentralNoise(config) && ledger.releases > 0) {
    ASSIGN_OR_RETURN(total, GaussianEpsilon(config.noise_multiplier, 1, config.delta));
  }
  const size_t rounds_spent = SpentSweeps(entries).size();
  nlohmann::json rows = nlohmann::json::array();
  for (const LedgerRecord& entry : entries) {
    rows.push_back({{"round", entry.round_number},
                    {"epsilon", entry.epsilon},
                    {"delta", entry.delta},
                    {"noise_multiplier", entry.noise_multiplier},
                    {"charged", FormatInstant(entry.charged)},
                    {"spent", entry.spent},
                    {"sweep", entry.sweep}});
  }
  const std::string budget = config.epsilon_budget < kNoBudget
                                 ? absl::StrFormat(" of %g", config.epsilon_budget)
                                 : " (no budget)";
  out.Line(absl::StrFormat("%s: epsilon %.3f%s spent in %d %s, at delta %g%s", task.name, total,
                           budget, rounds_spent, IsRouted(config) ? "sweeps" : "rounds",
                           config.delta, config.demonstration ? " (demonstration)" : ""));
  out.Line("  assumes " + Assumptions(config));
  nlohmann::json row;
  RETURN_IF_ERROR(PrintRoutedSpending(config, ledger, &row, out));
  row.update({{"task", task.name},
              {"epsilon_spent", total},
              {"epsilon_budget", config.epsilon_budget},
              {"delta", config.delta},
              {"rounds_spent", rounds_spent},
              {"demonstration", config.demonstration},
              {"mechanism", config.noise},
              {"accountant", HasCentralNoise(config) ? "gaussian" : "rdp"},
              {"coordinator_sees_sums", HasCentralNoise(config)},
              {"honest_survivors", HonestSurvivors(config)},
              {"cohort_min", config.cohort_min},
              {"corrupt_fraction", config.corrupt_fraction},
              {"sampling_amplification", false},
              {"entries", rows}});
  list->push_back(std::move(row));
  return absl::OkStatus();
}

// What all tasks of a base (of all bases if it is empty) have cost together.
absl::Status AppendTotal(Workspace* workspace, const std::string& base, double delta,
                         nlohmann::json* list, Output& out) {
  const auto budget = TotalBudgetOf(workspace->settings.policy);
  if (budget) delta = budget->delta;
  ASSIGN_OR_RETURN(const TotalSpent spent, SpentOverTasks(workspace->store.get(), base));
  ASSIGN_OR_RETURN(const double epsilon, spent.composed.SpentEpsilon(delta));
  const std::string limit =
      budget ? absl::StrFormat("of %g", budget->epsilon) : std::string("(no total budget is set)");
  out.Line(absl::StrFormat("all tasks of base %s: epsilon %.3f %s spent, at delta %g",
                           base.substr(0, 12), epsilon, limit, delta));
  out.Line(absl::StrFormat(
      "  composed of %s; assumes a device that was in all of them, and for each the survivors and "
      "trust that its task states; Renyi curves added, whatever their noise; %s",
      Composed(spent),
      budget ? "a round that would pass the budget does not open"
             : "no round is kept from opening by it ([policy] total_epsilon sets a budget)"));
  list->push_back({{"base", base},
                   {"epsilon_spent", epsilon},
                   {"epsilon_budget", budget ? nlohmann::json(budget->epsilon) : nlohmann::json()},
                   {"delta", delta},
                   {"rounds_spent", spent.composed.releases},
                   {"charges", spent.tasks},
                   {"accountant", "rdp"}});
  return absl::OkStatus();
}

absl::Status RunLedger(const std::string& config, Output& out) {
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(config));
  ASSIGN_OR_RETURN(const auto tasks, workspace->store->ListTasks());
  nlohmann::json list = nlohmann::json::array(), totals = nlohmann::json::array();
  std::map<std::string, double> bases;  // -> the largest delta that a task allows
  for (const TaskRecord& task : tasks) {
    RETURN_IF_ERROR(AppendLedger(workspace->store.get(), task, &list, out));
    ASSIGN_OR_RETURN(const TaskConfig read, TaskConfigFromJson(task.config));
    double& delta = bases[read.base_fingerprint];
    delta = std::max(delta, read.delta);
  }
  if (tasks.empty()) out.Line("no tasks, nothing spent");
  for (const auto& [base, delta] : bases) {
    RETURN_IF_ERROR(AppendTotal(workspace.get(), base, delta, &totals, out));
  }
  // Devices of one base are the common case; of several, that which has cost the most.
  const auto most = std::max_element(
      totals.begin(), totals.end(),
      [](const auto& a, const auto& b) { return a["epsilon_spent"] < b["epsilon_spent"]; });
  const nlohmann::json total = most == totals.end() ? nlohmann::json() : *most;
  out.SetJson({{"tasks", list}, {"totals", totals}, {"total", total}});
  return absl::OkStatus();
}

}  // namespace

void AddLedgerCommand(Program& program) {
  struct Options {
    std::string config;
    bool watch = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = program.Add(
      "ledger", "Privacy spent, per task and over all tasks of a base", [options](Output& out) {
        return RunWatched(options->watch, out,
                          [&](Output& o) { return RunLedger(options->config, o); });
      });
  AddConfigOption(command, &options->config);
  AddWatchOption(command, &options->watch);
}

}  // namespace lorikeet
