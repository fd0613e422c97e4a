#include "simulations/world/world.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "common/base/status_macros.h"

namespace lorikeet {
namespace {

constexpr int64_t kStartSeconds = 1767225600;  // 2026-01-01
constexpr absl::Duration kTick = absl::Seconds(1);
constexpr absl::Duration kCoordinatorOutage = absl::Seconds(4);
constexpr absl::Duration kBootWindow = absl::Seconds(5);
constexpr int64_t kEventsBetweenChecks = 64;

// An independent stream of randomness for each part of a world.
uint64_t SeedOf(std::string_view part, uint64_t seed) { return SeededRandom(part, seed).Uint64(); }

// The last catalog is not only installed but used; a device that stopped will do neither.
bool Settled(const SimDevice& device, uint64_t catalog_version) {
  if (device.final_status()) return true;
  const AgentState& state = device.state();
  return device.running() && !device.computing() && state.catalog && state.personal &&
         state.catalog->version == catalog_version &&
         state.personal->catalog_version == catalog_version;
}

}  // namespace

World::World(const WorldOptions& options)
    : options_(options),
      start_(absl::FromUnixSeconds(kStartSeconds)),
      queue_(start_),
      network_(options.faults, SeedOf("simulated network", options.seed)),
      dice_(SeedOf("simulated faults", options.seed)),
      jobs_(std::make_unique<JobPool>(options.threads)) {}

absl::StatusOr<std::unique_ptr<World>> World::Create(const WorldOptions& options,
                                                     const Catalog& catalog,
                                                     const MakeWork& make_work,
                                                     WorldObserver* observer) {
  auto world = std::unique_ptr<World>(new World(options));
  std::vector<std::string> ids;
  for (int i = 0; i < options.devices; ++i) ids.push_back(absl::StrFormat("device-%04d", i));
  ASSIGN_OR_RETURN(
      world->coordinator_,
      SimCoordinator::Create(
          {.task = options.task, .seed = options.seed}, catalog, ids, &world->queue_.clock(),
          [observer](const FinishedRound& round) { observer->OnRoundFinished(round); }));
  const DeviceSurroundings surroundings = {.queue = &world->queue_,
                                           .network = &world->network_,
                                           .coordinator = world->coordinator_.get(),
                                           .traffic = &world->traffic_,
                                           .observer = observer,
                                           .jobs = world->jobs_.get()};
  for (int i = 0; i < options.devices; ++i) {
    SimDevice::Options device{.id = ids[static_cast<size_t>(i)],
                              .agent = options.agent,
                              .seed = options.seed,
                              .dropout = options.dropout};
    device.agent.root = world->coordinator_->root();
    device.agent.issuer_key = world->coordinator_->issuer_key();
    auto work = make_work(i, SeedOf(absl::StrFormat("work of device %d", i), options.seed));
    world->devices_.push_back(
        std::make_unique<SimDevice>(std::move(device), surroundings, std::move(work)));
    SimDevice* booting = world->devices_.back().get();
    world->queue_.After(kBootWindow * world->dice_.Uniform(), [booting] { booting->Boot(); });
  }
  world->ScheduleTick();
  world->ScheduleKill();
  return world;
}

void World::ScheduleTick() {
  queue_.After(kTick, [this] {
    coordinator_->Tick();
    ScheduleTick();
  });
}

void World::ScheduleKill() {
  if (options_.faults.restart == absl::ZeroDuration()) return;
  // Exponential: a kill may hit any moment.
  queue_.After(options_.faults.restart * -std::log(1 - dice_.Uniform()), [this] {
    ++kills_;
    coordinator_->Kill();
    queue_.After(kCoordinatorOutage, [this] {
      coordinator_status_ = coordinator_->Start();
      ScheduleKill();
    });
  });
}

absl::StatusOr<bool> World::Finished() {
  ASSIGN_OR_RETURN(const int done, coordinator_->RoundsDone());
  bool all_stopped = true;
  for (const auto& device : devices_) all_stopped = all_stopped && device->final_status();
  if (all_stopped) return true;
  if (done < options_.task.rounds) return false;
  ASSIGN_OR_RETURN(const uint64_t version, coordinator_->CatalogVersion());
  for (const auto& device : devices_) {
    if (!Settled(*device, version)) return false;
  }
  return true;
}

absl::Status World::Run(const std::function<bool()>& stop_requested) {
  while (queue_.RunNext()) {
    RETURN_IF_ERROR(coordinator_status_);
    if (queue_.events_run() % kEventsBetweenChecks != 0) continue;
    if (stop_requested()) return absl::CancelledError("stopped by request");
    ASSIGN_OR_RETURN(const bool finished, Finished());
    if (finished) break;
    if (elapsed() > options_.limit) {
      ASSIGN_OR_RETURN(const int done, coordinator_->RoundsDone());
      return absl::DeadlineExceededError(absl::StrFormat(
          "expected %d rounds and their catalog on every device within %s of virtual time, got %d "
          "rounds",
          options_.task.rounds, absl::FormatDuration(options_.limit), done));
    }
  }
  return absl::OkStatus();
}

}  // namespace lorikeet
