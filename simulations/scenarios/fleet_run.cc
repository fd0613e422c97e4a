#include "simulations/scenarios/fleet_run.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"
#include "common/wire/decode.h"
#include "simulations/checkers/invariants.h"
#include "simulations/scenarios/fleet_data.h"
#include "simulations/world/model_work.h"
#include "simulations/world/synthetic_work.h"
#include "simulations/world/world.h"

namespace lorikeet {
namespace {

constexpr double kDefaultCohortShare = 0.6;
constexpr int kSpareRounds = 2;  // the noise leaves room for rounds that fail after their unmasking
constexpr double kAnyNoiseRatio = 1e9;
constexpr double kLeastNoise = 0.01;
constexpr double kNoiseStep = 1.1;

// The world's parts that differ between real and synthetic work.
struct Workforce {
  Catalog catalog;
  std::shared_ptr<const Model> model;
  std::vector<Person> people;
  MakeWork make_work;
};

absl::StatusOr<Workforce> ModelWorkforce(const FleetRunOptions& options) {
  const ModelFleetOptions& limits = options.model;
  Workforce force;
  ASSIGN_OR_RETURN(force.model, Model::Load(limits.model));
  ASSIGN_OR_RETURN(force.people, ReadPeople(limits.data));
  if (limits.catalog.empty()) {
    ASSIGN_OR_RETURN(force.catalog, BuildSeedCatalog(force.model, {.data = limits.seeds,
                                                                   .steps = limits.catalog_steps}));
  } else {
    ASSIGN_OR_RETURN(force.catalog, ReadCatalog(limits.catalog));
  }
  PersonalizeOptions personalize;
  personalize.train = DefaultPersonalTraining();
  personalize.train.max_steps = limits.personalize_steps;
  personalize.train.batch_size = 2;
  personalize.train.eval_every = std::max(1, limits.personalize_steps);
  personalize.train.warmup_steps = 0;
  personalize.rank = 4;
  personalize.alpha = 8;
  personalize.split.window_tokens = 96;
  personalize.split.min_tokens = 32;
  personalize.select.candidate_count = 2;
  personalize.select.token_budget = limits.select_tokens;
  personalize.select.blend = false;
  force.make_work = [model = force.model, people = force.people, options, personalize](
                        int index, uint64_t seed) {
    ModelWork::Options work{
        .model = model, .documents = {}, .personalize = personalize, .seed = seed};
    for (std::string& text :
         TextOfDevice(people, index, options.devices, options.seed, options.model.device_bytes)) {
      work.documents.emplace_back(std::move(text));
    }
    return std::make_unique<ModelWork>(std::move(work));
  };
  return force;
}

Workforce SyntheticWorkforce(const FleetRunOptions& options) {
  Workforce force;
  force.catalog =
      SyntheticCatalog({.personas = options.personas, .rank = options.core_rank}, options.seed);
  force.make_work = [catalog = force.catalog](int index, uint64_t seed) {
    return std::make_unique<SyntheticWork>(catalog, index, seed);
  };
  return force;
}

// The least noise for which all rounds and some spare ones fit the budget.
absl::StatusOr<double> CalibrateNoise(TaskConfig task, const Catalog& catalog) {
  CatalogShape shape;
  shape.hash = CatalogHash(catalog);
  shape.version = catalog.version;
  shape.persona_count = static_cast<int>(catalog.personas.size());
  shape.block_size = catalog.block_size();
  for (task.noise_multiplier = kLeastNoise; task.noise_multiplier < 1e3;
       task.noise_multiplier *= kNoiseStep) {
    ASSIGN_OR_RETURN(const RoundDescription round, PlanRound(task, shape));
    ASSIGN_OR_RETURN(const double epsilon,
                     EpsilonOfRounds(task, round, task.rounds + kSpareRounds));
    if (epsilon <= task.epsilon_budget) return task.noise_multiplier;
  }
  return absl::InvalidArgumentError(
      absl::StrFormat("epsilon: expected a budget that %d rounds fit into, got %g", task.rounds,
                      task.epsilon_budget));
}

absl::StatusOr<TaskConfig> TaskFor(const FleetRunOptions& options, const Catalog& catalog) {
  TaskConfig task;
  task.name = "simulation";
  task.tokens = "required";
  task.base_fingerprint = catalog.base_fingerprint;
  task.rounds = options.rounds;
  task.noise = options.noise;
  task.separation = options.separation;
  task.cohort_max = options.devices / options.separation;
  task.cohort_min = options.cohort_min > 0
                        ? options.cohort_min
                        : std::max(2, static_cast<int>(kDefaultCohortShare * task.cohort_max));
  task.dropout_fraction = std::clamp(options.dropout, task.dropout_fraction, 0.4);
  task.demonstration = task.cohort_min < TaskPolicy().cohort_floor;
  // What is looked at here is the machinery: fleets this small release noise, and it is measured.
  task.largest_noise_ratio = kAnyNoiseRatio;
  task.epsilon_budget = options.epsilon_budget;
  task.training = {.steps = options.model.training_steps,
                   .batch_size = 2,
                   .context_length = 96,
                   .learning_rate = 1e-2};
  task.advertise = task.mask = absl::Seconds(60);
  task.share = task.acknowledge = task.unmask = absl::Seconds(30);
  RETURN_IF_ERROR(CheckTaskConfig(task));
  if (options.noise_multiplier > 0) {
    task.noise_multiplier = options.noise_multiplier;
  } else {
    ASSIGN_OR_RETURN(task.noise_multiplier, CalibrateNoise(task, catalog));
  }
  return task;
}

AgentOptions AgentsOf(const TaskConfig& task) {
  AgentOptions agent;
  agent.base_fingerprint = task.base_fingerprint;
  agent.policy.federate = true;
  agent.policy.allow_demonstration = task.demonstration;
  agent.policy.allow_central_noise = HasCentralNoise(task);
  agent.poll_interval = absl::Seconds(10);
  agent.step_interval = absl::Seconds(2);
  agent.retry_cap = absl::Seconds(10);
  return agent;
}

absl::StatusOr<RoundResult> ResultOf(const RoundRecord& record, const TaskConfig& task,
                                     int64_t spent, const World& world,
                                     const InvariantChecker& checker) {
  ASSIGN_OR_RETURN(const RoundDescription description,
                   DecodeRoundDescription(record.description.description));
  RoundResult round;
  round.number = record.number;
  round.done = record.status == RoundStatus::kDone;
  round.status = RoundStatusName(record.status);
  round.message = record.message;
  round.survivors = record.survivor_count;
  const auto error = checker.sum_errors().find(record.number);
  if (error != checker.sum_errors().end()) round.sum_error = error->second;
  round.epsilon = description.epsilon;
  ASSIGN_OR_RETURN(round.epsilon_total, spent == 0 ? absl::StatusOr<double>(0.0)
                                                   : EpsilonOfRounds(task, description, spent));
  const Traffic traffic = world.traffic().OfSession(record.session);
  round.bytes_up = traffic.bytes_up;
  round.bytes_down = traffic.bytes_down;
  if (record.status != RoundStatus::kOpen) {
    round.seconds = absl::ToDoubleSeconds(record.finished - record.opened);
  }
  if (!record.report.empty()) round.report = nlohmann::json::parse(record.report);
  return round;
}

absl::Status CollectRounds(const TaskConfig& task, World* world, const InvariantChecker& checker,
                           FleetResult* result) {
  Store* store = world->coordinator().store();
  ASSIGN_OR_RETURN(std::vector<RoundRecord> records, store->ListRounds(task.name));
  ASSIGN_OR_RETURN(const auto ledger, store->ListLedger(task.name));
  std::reverse(records.begin(), records.end());  // oldest first
  int64_t spent = 0;
  for (const RoundRecord& record : records) {
    for (const LedgerRecord& entry : ledger) {
      spent += entry.round_number == record.number && entry.spent ? 1 : 0;
    }
    ASSIGN_OR_RETURN(result->rounds.emplace_back(), ResultOf(record, task, spent, *world, checker));
  }
  return absl::OkStatus();
}

DeviceResult ResultOf(const SimDevice& device) {
  const AgentState& state = device.state();
  DeviceResult result;
  result.id = device.id();
  if (state.personal) {
    result.persona = state.personal->chosen;
    result.loss_base = state.personal->loss_base;
    result.loss_persona = state.personal->loss_persona;
    result.loss_personalized = state.personal->loss_personalized;
    result.kept = state.personal->kept;
  }
  if (state.catalog) result.catalog_version = state.catalog->version;
  result.rounds_done = state.rounds_done;
  result.crashes = device.crashes();
  const auto spent = TotalOf(state.ledger, state.ledger.terms.delta);
  LORIKEET_CHECK(spent.ok());
  result.epsilon_spent = spent->epsilon;
  if (device.final_status()) result.stopped = device.final_status()->ToString();
  return result;
}

}  // namespace

int FleetResult::rounds_done() const {
  return static_cast<int>(
      std::count_if(rounds.begin(), rounds.end(), [](const auto& round) { return round.done; }));
}

absl::StatusOr<FleetResult> RunFleet(const FleetRunOptions& options) {
  absl::StatusOr<Workforce> force =
      options.synthetic ? SyntheticWorkforce(options) : ModelWorkforce(options);
  if (!force.ok()) return force.status();
  ASSIGN_OR_RETURN(const TaskConfig task, TaskFor(options, force->catalog));
  WorldOptions world_options{.devices = options.devices,
                             .seed = options.seed,
                             .dropout = options.dropout,
                             .faults = options.faults,
                             .task = task,
                             .agent = AgentsOf(task),
                             .threads = options.threads};
  const absl::Duration round =
      task.advertise + task.share + task.mask + task.acknowledge + task.unmask + absl::Minutes(2);
  world_options.limit = options.limit_hours > 0 ? absl::Hours(options.limit_hours)
                                                : round * 3 * (options.rounds + kSpareRounds);
  InvariantChecker checker(task);
  ASSIGN_OR_RETURN(const auto world,
                   World::Create(world_options, force->catalog, force->make_work, &checker));
  checker.Watch(world->coordinator().store(), world->coordinator().blobs());
  FleetResult result;
  result.options = options;
  result.status = world->Run(options.stop_requested);
  result.violations = checker.violations();
  result.cohort_min = task.cohort_min;
  result.noise_multiplier = task.noise_multiplier;
  result.demonstration = task.demonstration;
  result.other_bytes_up = world->traffic().others().bytes_up;
  result.other_bytes_down = world->traffic().others().bytes_down;
  result.seconds = absl::ToDoubleSeconds(world->elapsed());
  result.events = world->events();
  result.coordinator_kills = world->coordinator_kills();
  ASSIGN_OR_RETURN(result.catalog_version, world->coordinator().CatalogVersion());
  RETURN_IF_ERROR(CollectRounds(task, world.get(), checker, &result));
  for (const auto& device : world->devices()) result.devices.push_back(ResultOf(*device));
  return result;
}

}  // namespace lorikeet
