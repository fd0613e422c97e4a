// task create|list|pause|end.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/base/strings.h"
#include "common/dp/accountant.h"
#include "common/dp/modulus.h"
#include "common/dp/utility.h"
#include "coordinator/admin/commands.h"
#include "coordinator/admin/watch.h"
#include "coordinator/admin/workspace.h"
#include "coordinator/rounds/central_noise.h"
#include "coordinator/rounds/coordinator.h"
#include "coordinator/rounds/total_budget.h"

namespace lorikeet {
namespace {

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
  return NoiseRatio(PlannedDeviation(round, task.cohort_max), round.layout.block_size,
                    task.cohort_max);
}

// What noise from the coordinator means, and what it gains: null without it.
nlohmann::json PrintCentralNoise(const RoundDescription& round, Output& out) {
  if (!round.central) return nullptr;
  const CentralNoise& central = *round.central;
  const PrefixError error = PrefixErrorOf(ShapeOf(central));
  out.Line(
      "central noise: the coordinator sees every sum before noise; only devices whose owners allow "
      "that take part (lorikeet agent --allow-central-noise)");
  out.Line(absl::StrFormat(
      "  one guarantee for all %d rounds together, of a device that contributes to %d of them at "
      "most, %d apart at least; devices see to that themselves",
      central.steps, central.participations, central.separation));
  out.Line(absl::StrFormat(
      "  noise in the sum of all rounds so far: %.3g clip norms in each number (root mean square), "
      "%.3g with independent noise for the same guarantee: %.3f of it",
      error.correlated * central.noise_multiplier, error.independent * central.noise_multiplier,
      error.correlated / error.independent));
  return {{"coordinator_sees_sums", true},    {"steps", central.steps},
          {"separation", central.separation}, {"participations", central.participations},
          {"prefix_error", error.correlated}, {"prefix_error_independent", error.independent}};
}

// What routed rounds are, and what they reveal: null for rounds of all personas.
nlohmann::json PrintRouting(const TaskConfig& task, const CatalogShape& shape, Output& out) {
  if (!IsRouted(task)) return nullptr;
  const size_t buckets = BucketsOf(task, shape).size();
  out.Line(absl::StrFormat(
      "routed: %d buckets of %d of %d personas, each with a round and a cohort of its own", buckets,
      std::min(task.bucket_personas, shape.persona_count), shape.persona_count));
  out.Line(absl::StrCat("  ", kRoutedReveals));
  out.Line(absl::StrFormat(
      "  devices that hear of them in the first %g s join in the next %g s; others stay out",
      absl::ToDoubleSeconds(task.advertise / 2), absl::ToDoubleSeconds(task.advertise / 4)));
  return {{"buckets", buckets},
          {"bucket_personas", task.bucket_personas},
          {"reveals", "histogram of choices"}};
}

// What the task finds left of the total budget; null where none is set.  RESOURCE_EXHAUSTED: not
// one of its rounds would open.
absl::StatusOr<nlohmann::json> CheckTotal(Workspace* workspace, const TaskConfig& task,
                                          const RoundDescription& round) {
  const auto budget = TotalBudgetOf(workspace->settings.policy);
  if (!budget) return nlohmann::json();
  ASSIGN_OR_RETURN(const TotalSpent spent,
                   SpentOverTasks(workspace->store.get(), task.base_fingerprint));
  RETURN_IF_ERROR(Annotate(CheckTotalBudget(spent, task, round, *budget),
                           absl::StrCat("task ", task.name, ": no round could open")));
  ASSIGN_OR_RETURN(const double epsilon, spent.composed.SpentEpsilon(budget->delta));
  ASSIGN_OR_RETURN(const int64_t fits, RoundsThatFit(spent, task, round, task.rounds, *budget));
  return nlohmann::json{{"epsilon", budget->epsilon},
                        {"delta", budget->delta},
                        {"epsilon_spent", epsilon},
                        {"composed", Composed(spent)},
                        {"rounds_that_fit", fits}};
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
  ASSIGN_OR_RETURN(nlohmann::json total_budget, CheckTotal(workspace.get(), task, round));
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
  const char* label = task.demonstration ? " (demonstration: no strong guarantee)" : "";
  out.Line(round.central
               ? absl::StrFormat("privacy: epsilon %.3f over all rounds, at delta %g%s", total,
                                 task.delta, label)
               : absl::StrFormat("privacy: epsilon %.3f a round, %.3f over all, at delta %g%s",
                                 round.epsilon, total, task.delta, label));
  if (!total_budget.is_null()) {
    out.Line(absl::StrFormat(
        "total budget of this base: epsilon %.3f of %g spent, at delta %g; %d of %d rounds fit",
        total_budget["epsilon_spent"].get<double>(), total_budget["epsilon"].get<double>(),
        total_budget["delta"].get<double>(), total_budget["rounds_that_fit"].get<int64_t>(),
        task.rounds));
  }
  nlohmann::json central = PrintCentralNoise(round, out);
  ASSIGN_OR_RETURN(const OverflowBound overflow, PlannedOverflow(task, round));
  out.Line(absl::StrFormat(
      "modulus 2^%d at scale %g: a coordinate of the sum wraps around with probability under %.3g",
      round.encoding.modulus_bits, round.encoding.scale, overflow.coordinate));
  nlohmann::json routing = PrintRouting(task, shape, out);
  const double noise_ratio = PlannedNoise(task, round);
  out.Line(absl::StrFormat(
      "noise in a persona's mean, if all %d devices share it: %.3g clip norms (released up to %g)",
      task.cohort_max, noise_ratio, task.largest_noise_ratio));
  out.SetJson({{"task", nlohmann::json::parse(record.config)},
               {"state", "active"},
               {"routing", std::move(routing)},
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
               {"least_noise_ratio", noise_ratio},
               {"central_noise", std::move(central)},
               {"total_budget", std::move(total_budget)}});
  return absl::OkStatus();
}

absl::Status RunList(const std::string& config, Output& out) {
  ASSIGN_OR_RETURN(const auto workspace, Workspace::Open(config));
  ASSIGN_OR_RETURN(const auto tasks, workspace->store->ListTasks());
  nlohmann::json list = nlohmann::json::array();
  for (const TaskRecord& task : tasks) {
    ASSIGN_OR_RETURN(const auto rounds, workspace->store->ListRounds(task.name));
    ASSIGN_OR_RETURN(const TaskConfig task_config, TaskConfigFromJson(task.config));
    const int done = CompletedRounds(task_config, rounds);
    int aborted = 0, open = 0;
    for (const RoundRecord& round : rounds) {
      aborted += round.status == RoundStatus::kAborted ? 1 : 0;
      open += round.status == RoundStatus::kOpen ? 1 : 0;
    }
    const nlohmann::json settings = nlohmann::json::parse(task.config);
    out.Line(absl::StrFormat("%s: %s, %d of %d %s aborted, %d open", task.name,
                             ToAbsl(TaskStateName(task.state)), done, task_config.rounds,
                             IsRouted(task_config)
                                 ? absl::StrCat("sweeps done, ", aborted, " rounds")
                                 : absl::StrCat("rounds done, ", aborted),
                             open));
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
  command->add_option(
      "--noise", task->noise_multiplier,
      "Noise of the sum, in clip norms; of central noise, in what all contributions "
      "of a device can change");
  command
      ->add_option(
          "--noise-kind", task->noise,
          "skellam or discrete-gaussian: devices add it; central: the coordinator adds it, "
          "correlated over the rounds, and sees every sum before")
      ->check(CLI::IsMember({"skellam", "discrete-gaussian", "central"}))
      ->capture_default_str();
  command
      ->add_option("--separation", task->separation,
                   "Central noise: rounds from one contribution of a device to its next")
      ->capture_default_str();
  command
      ->add_option("--participations", task->participations,
                   "Central noise: contributions of a device at most (0: as many as fit)")
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
  command
      ->add_option(
          "--routing", task->routing,
          "all-blocks: vectors with room for all personas; routed: rounds of some personas, "
          "which reveal how many devices chose from each bucket")
      ->check(CLI::IsMember({"all-blocks", "routed"}))
      ->capture_default_str();
  command
      ->add_option("--bucket-personas", task->bucket_personas, "Personas that share a routed round")
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

  struct ListOptions {
    std::string config;
    bool watch = false;
  };
  auto list = std::make_shared<ListOptions>();
  command = program.Add(group, "list", "Tasks and their progress", [list](Output& out) {
    return RunWatched(list->watch, out, [&](Output& o) { return RunList(list->config, o); });
  });
  AddConfigOption(command, &list->config);
  AddWatchOption(command, &list->watch);

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

}  // namespace lorikeet
