// task create|list|pause|end, ledger.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/accountant.h"
#include "common/dp/ledger.h"
#include "common/dp/modulus.h"
#include "common/dp/utility.h"
#include "common/wire/decode.h"
#include "coordinator/admin/commands.h"
#include "coordinator/admin/workspace.h"
#include "coordinator/rounds/coordinator.h"

namespace lorikeet {
namespace {

// One number that stands for "no budget" in a demonstration that gives none.
constexpr double kNoBudget = 1e9;

struct CreateOptions {
  std::string config;
  TaskConfig task;
  double epsilon_budget = 0;
  double advertise = 0, share = 0, mask = 0, acknowledge = 0, unmask = 0, pause = 0;
};

absl::StatusOr<CatalogShape> CatalogFor(Workspace* workspace, TaskConfig* task) {
  ASSIGN_OR_RETURN(const auto release,
                   workspace->store->LatestRelease(ReleaseKind::kCatalog, task->base_fingerprint));
  if (!release) {
    return absl::FailedPreconditionError(
        "task: expected a published catalog (lorikeet-coordinator publish catalog FILE)");
  }
  task->base_fingerprint = release->base_fingerprint;
  return ShapeOf(*release, workspace->blobs.get());
}

// At best: the whole cohort trains one persona.
double PlannedNoise(const TaskConfig& task, const RoundDescription& round) {
  const double deviation =
      round.encoding.sigma_local * std::sqrt(task.cohort_max) / round.encoding.clip_norm;
  return NoiseRatio(deviation, round.layout.block_size, task.cohort_max);
}

absl::Status RunCreate(const CreateOptions& options, Output& out) {
  TaskConfig task = options.task;
  task.advertise = absl::Seconds(options.advertise);
  task.share = absl::Seconds(options.share);
  task.mask = absl::Seconds(options.mask);
  task.acknowledge = absl::Seconds(options.acknowledge);
  task.unmask = absl::Seconds(options.unmask);
  task.pause = absl::Seconds(options.pause);
  if (options.epsilon_budget > 0) {
    task.epsilon_budget = options.epsilon_budget;
  } else if (task.demonstration) {
    task.epsilon_budget = kNoBudget;
  }
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(options.config));
  ASSIGN_OR_RETURN(const CatalogShape shape, CatalogFor(workspace.get(), &task));
  RETURN_IF_ERROR(CheckTaskConfig(task));
  if (RequiresTokens(task) && !workspace->HasTokens()) {
    return absl::FailedPreconditionError(
        absl::StrCat("task: --tokens required: expected a seed of tokens at ",
                     workspace->settings.token_seed_path, ", found none"));
  }
  ASSIGN_OR_RETURN(const RoundDescription round, PlanRound(task, shape));
  ASSIGN_OR_RETURN(const double total, EpsilonOfRounds(task, round, task.rounds));
  RETURN_IF_ERROR(CheckTaskPolicy(task, total, workspace->settings.policy));
  TaskRecord record;
  record.name = task.name;
  record.config = TaskConfigToJson(task);
  record.created = absl::Now();
  RETURN_IF_ERROR(workspace->store->AddTask(record));
  out.Line(
      absl::StrFormat("task %s: %d rounds of %d to %d devices, threshold %d, %d numbers of %d "
                      "bits each",
                      task.name, task.rounds, task.cohort_min, task.cohort_max,
                      round.secagg.threshold, round.secagg.dimension, round.secagg.modulus_bits));
  out.Line(absl::StrFormat("privacy: epsilon %.3f a round, %.3f over all, at delta %g%s",
                           round.epsilon, total, task.delta,
                           task.demonstration ? " (demonstration: no strong guarantee)" : ""));
  ASSIGN_OR_RETURN(const OverflowBound overflow, SumOverflow(round.encoding, task.cohort_max));
  out.Line(absl::StrFormat(
      "modulus 2^%d at scale %g: a coordinate of the sum wraps around with probability under %.3g",
      round.encoding.modulus_bits, round.encoding.scale, overflow.coordinate));
  const double noise_ratio = PlannedNoise(task, round);
  out.Line(absl::StrFormat(
      "noise in a persona's mean, if all %d devices share it: %.3g clip norms (released up to %g)",
      task.cohort_max, noise_ratio, task.largest_noise_ratio));
  out.SetJson({{"task", nlohmann::json::parse(record.config)},
               {"state", "active"},
               {"epsilon_per_round", round.epsilon},
               {"epsilon_total", total},
               {"delta", task.delta},
               {"degree", round.secagg.degree},
               {"threshold", round.secagg.threshold},
               {"dimension", round.secagg.dimension},
               {"modulus_bits", round.secagg.modulus_bits},
               {"scale", round.encoding.scale},
               {"overflow_per_coordinate", overflow.coordinate},
               {"overflow_probability", overflow.any},
               {"least_noise_ratio", noise_ratio}});
  return absl::OkStatus();
}

absl::Status RunList(const std::string& config, Output& out) {
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(config));
  ASSIGN_OR_RETURN(const auto tasks, workspace->store->ListTasks());
  nlohmann::json list = nlohmann::json::array();
  for (const TaskRecord& task : tasks) {
    ASSIGN_OR_RETURN(const auto rounds, workspace->store->ListRounds(task.name));
    int done = 0, aborted = 0, open = 0;
    for (const RoundRecord& round : rounds) {
      done += round.status == RoundStatus::kDone ? 1 : 0;
      aborted += round.status == RoundStatus::kAborted ? 1 : 0;
      open += round.status == RoundStatus::kOpen ? 1 : 0;
    }
    const nlohmann::json settings = nlohmann::json::parse(task.config);
    out.Line(absl::StrFormat("%s: %s, %d of %d rounds done, %d aborted, %d open", task.name,
                             ToAbsl(TaskStateName(task.state)), done, settings.value("rounds", 0),
                             aborted, open));
    list.push_back({{"name", task.name},
                    {"state", std::string(TaskStateName(task.state))},
                    {"created", FormatInstant(task.created)},
                    {"rounds_done", done},
                    {"rounds_aborted", aborted},
                    {"rounds_open", open},
                    {"config", settings}});
  }
  if (tasks.empty()) out.Line("no tasks");
  out.SetJson({{"tasks", list}});
  return absl::OkStatus();
}

absl::Status RunSetState(const std::string& config, const std::string& name, TaskState state,
                         Output& out) {
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(config));
  ASSIGN_OR_RETURN(const auto tasks, workspace->store->ListTasks());
  for (const TaskRecord& task : tasks) {
    if (task.name == name && task.state == TaskState::kEnded) {
      return absl::FailedPreconditionError(absl::StrCat("task ", name, " has ended"));
    }
  }
  RETURN_IF_ERROR(workspace->store->SetTaskState(name, state));
  out.Line(absl::StrCat("task ", name, ": ", ToAbsl(TaskStateName(state))));
  out.SetJson({{"task", name}, {"state", std::string(TaskStateName(state))}});
  return absl::OkStatus();
}

// What the numbers of a task's ledger rest on.
std::string Assumptions(const TaskConfig& config) {
  return absl::StrFormat(
      "%s noise of %g clip norms in the sum of %d honest survivors (at least %d, %g of them "
      "corrupt), Renyi accounting, no amplification by sampling: devices select themselves",
      config.noise, config.noise_multiplier, HonestSurvivors(config), config.cohort_min,
      config.corrupt_fraction);
}

// Adds every round of the task that released something, as it was described when it opened.
absl::Status SpendReleased(const TaskConfig& config, const std::vector<LedgerRecord>& entries,
                           const std::vector<RoundRecord>& rounds, PrivacyLedger* ledger) {
  for (const LedgerRecord& entry : entries) {
    if (!entry.spent) continue;
    const auto round = std::find_if(rounds.begin(), rounds.end(), [&](const RoundRecord& record) {
      return record.number == entry.round_number;
    });
    if (round == rounds.end()) {
      return absl::DataLossError(absl::StrFormat(
          "ledger: expected the description of round %d, found none", entry.round_number));
    }
    ASSIGN_OR_RETURN(const RoundDescription description,
                     DecodeRoundDescription(round->description.description));
    ASSIGN_OR_RETURN(const RdpCurve curve, DistributedRdp(RoundMechanism(
                                               description.encoding, HonestSurvivors(config), 1)));
    RETURN_IF_ERROR(ledger->Spend(curve));
  }
  return absl::OkStatus();
}

absl::Status AppendLedger(Workspace* workspace, const TaskRecord& task, nlohmann::json* list,
                          PrivacyLedger* all, double* delta, Output& out) {
  ASSIGN_OR_RETURN(const TaskConfig config, TaskConfigFromJson(task.config));
  ASSIGN_OR_RETURN(const auto entries, workspace->store->ListLedger(task.name));
  ASSIGN_OR_RETURN(const auto rounds, workspace->store->ListRounds(task.name));
  PrivacyLedger ledger;
  RETURN_IF_ERROR(SpendReleased(config, entries, rounds, &ledger));
  RETURN_IF_ERROR(SpendReleased(config, entries, rounds, all));
  *delta = std::max(*delta, config.delta);
  ASSIGN_OR_RETURN(const double total, ledger.SpentEpsilon(config.delta));
  nlohmann::json rows = nlohmann::json::array();
  for (const LedgerRecord& entry : entries) {
    rows.push_back({{"round", entry.round_number},
                    {"epsilon", entry.epsilon},
                    {"delta", entry.delta},
                    {"noise_multiplier", entry.noise_multiplier},
                    {"charged", FormatInstant(entry.charged)},
                    {"spent", entry.spent}});
  }
  const std::string budget = config.epsilon_budget < kNoBudget
                                 ? absl::StrFormat(" of %g", config.epsilon_budget)
                                 : " (no budget)";
  out.Line(absl::StrFormat("%s: epsilon %.3f%s spent in %d rounds, at delta %g%s", task.name, total,
                           budget, ledger.releases, config.delta,
                           config.demonstration ? " (demonstration)" : ""));
  out.Line("  assumes " + Assumptions(config));
  list->push_back({{"task", task.name},
                   {"epsilon_spent", total},
                   {"epsilon_budget", config.epsilon_budget},
                   {"delta", config.delta},
                   {"rounds_spent", ledger.releases},
                   {"demonstration", config.demonstration},
                   {"mechanism", config.noise},
                   {"accountant", "rdp"},
                   {"honest_survivors", HonestSurvivors(config)},
                   {"cohort_min", config.cohort_min},
                   {"corrupt_fraction", config.corrupt_fraction},
                   {"sampling_amplification", false},
                   {"entries", rows}});
  return absl::OkStatus();
}

absl::Status RunLedger(const std::string& config, Output& out) {
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(config));
  ASSIGN_OR_RETURN(const auto tasks, workspace->store->ListTasks());
  nlohmann::json list = nlohmann::json::array();
  PrivacyLedger all;
  double delta = 0;  // the largest that a task allows
  for (const TaskRecord& task : tasks) {
    RETURN_IF_ERROR(AppendLedger(workspace.get(), task, &list, &all, &delta, out));
  }
  if (tasks.empty()) out.Line("no tasks, nothing spent");
  nlohmann::json total = nullptr;
  if (all.releases > 0) {
    ASSIGN_OR_RETURN(const double epsilon, all.SpentEpsilon(delta));
    out.Line(absl::StrFormat(
        "all tasks: epsilon %.3f spent in %d rounds, at delta %g, of a device that was in all of "
        "them",
        epsilon, all.releases, delta));
    total = {{"epsilon_spent", epsilon}, {"delta", delta}, {"rounds_spent", all.releases}};
  }
  out.SetJson({{"tasks", list}, {"total", total}});
  return absl::OkStatus();
}

void AddTrainingOptions(CLI::App* command, TaskConfig* task) {
  command->add_option("--steps", task->training.steps, "Local training steps");
  command->add_option("--batch", task->training.batch_size, "Local batch size");
  command->add_option("--context", task->training.context_length, "Local context length");
  command->add_option("--lr", task->training.learning_rate, "Local learning rate");
  command->add_option("--server-lr", task->server_learning_rate, "Step along the mean delta");
  command->add_option(
      "--min-count", task->min_count,
      "Leave personas with a smaller noisy count alone (0: three deviations of its noise)");
  command->add_option("--count-weight", task->count_weight, "Of the counts, in clip norms");
  command->add_option("--loss-weight", task->loss_weight, "Of a loss, in clip norms");
  command->add_option("--loss-bound", task->loss_bound, "Losses are cut to this");
}

void AddPrivacyOptions(CLI::App* command, const std::shared_ptr<CreateOptions>& options) {
  TaskConfig* task = &options->task;
  command->add_option("--cohort-min", task->cohort_min, "Fewer survivors release nothing");
  command->add_option("--cohort-max", task->cohort_max, "Devices admitted to a round");
  command->add_option("--corrupt", task->corrupt_fraction, "Share of corrupt devices withstood");
  command->add_option("--dropout", task->dropout_fraction, "Share of dropouts planned for");
  command->add_option("--clip", task->clip_norm, "L2 norm of a device's vector");
  command->add_option("--noise", task->noise_multiplier, "Noise of the sum, in clip norms");
  command->add_option("--noise-kind", task->noise, "skellam or discrete-gaussian")
      ->check(CLI::IsMember({"skellam", "discrete-gaussian"}))
      ->capture_default_str();
  command
      ->add_option("--largest-noise", task->largest_noise_ratio,
                   "Release no persona whose mean holds more noise, in clip norms")
      ->capture_default_str();
  command->add_option("--delta", task->delta, "Delta of the guarantee");
  command->add_option("--epsilon-budget", options->epsilon_budget,
                      "Over all rounds (default: 8; none in a demonstration)");
  command->add_option("--scale", task->scale, "Integer units per unit (0: 1024 a clip norm)");
  command->add_flag("--demonstration", task->demonstration,
                    "A fleet too small for the strict rule; devices must opt in");
  command
      ->add_option("--tokens", task->tokens,
                   "required: devices join unnamed, by anonymous token; off: by name")
      ->check(CLI::IsMember({"required", "off"}))
      ->capture_default_str();
}

void AddDeadlineOptions(CLI::App* command, const std::shared_ptr<CreateOptions>& options) {
  const TaskConfig defaults;
  const auto add = [&](const char* name, double* field, absl::Duration value, const char* help) {
    *field = absl::ToDoubleSeconds(value);
    command->add_option(name, *field, help)->capture_default_str();
  };
  add("--advertise-seconds", &options->advertise, defaults.advertise, "Longest key advertisement");
  add("--share-seconds", &options->share, defaults.share, "Longest key sharing");
  add("--mask-seconds", &options->mask, defaults.mask, "Longest training and masking");
  add("--acknowledge-seconds", &options->acknowledge, defaults.acknowledge,
      "Longest acknowledgement");
  add("--unmask-seconds", &options->unmask, defaults.unmask, "Longest unmasking");
  add("--pause-seconds", &options->pause, defaults.pause, "Between two rounds");
}

}  // namespace

void AddTaskCommands(Program& program) {
  CLI::App* group = program.AddGroup("task", "What the fleet trains");
  auto create = std::make_shared<CreateOptions>();
  CLI::App* command = program.Add(group, "create", "Plan rounds over the newest catalog of a base",
                                  [create](Output& out) { return RunCreate(*create, out); });
  AddConfigOption(command, &create->config);
  command->add_option("name", create->task.name, "Name of the task")->required();
  command->add_option("--base", create->task.base_fingerprint,
                      "Base fingerprint (default: of the newest catalog)");
  command->add_option("--rounds", create->task.rounds, "Rounds to complete");
  AddPrivacyOptions(command, create);
  AddTrainingOptions(command, &create->task);
  AddDeadlineOptions(command, create);

  auto list_config = std::make_shared<std::string>();
  command = program.Add(group, "list", "Tasks and their progress",
                        [list_config](Output& out) { return RunList(*list_config, out); });
  AddConfigOption(command, list_config.get());

  struct StateOptions {
    std::string config;
    std::string name;
  };
  const auto add_state = [&](const char* name, const char* help, TaskState state) {
    auto options = std::make_shared<StateOptions>();
    CLI::App* added = program.Add(group, name, help, [options, state](Output& out) {
      return RunSetState(options->config, options->name, state, out);
    });
    AddConfigOption(added, &options->config);
    added->add_option("name", options->name, "Name of the task")->required();
  };
  add_state("pause", "Open no new rounds for now", TaskState::kPaused);
  add_state("resume", "Open rounds again", TaskState::kActive);
  add_state("end", "Open no new rounds, for good", TaskState::kEnded);
}

void AddLedgerCommand(Program& program) {
  auto config = std::make_shared<std::string>();
  CLI::App* command = program.Add("ledger", "Privacy spent, per task",
                                  [config](Output& out) { return RunLedger(*config, out); });
  AddConfigOption(command, config.get());
}

}  // namespace lorikeet
