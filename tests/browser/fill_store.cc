// fill_store FOLDER: puts the store, the releases and the keys of a fleet that has seen rounds into
// a coordinator's folder, by the production coordinator and devices that speak the whole protocol.
// Some rounds lose devices, one is aborted, one is open when it ends.
#include <cstdio>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "coordinator/rounds/task_config.h"
#include "tests/unit/coordinator/test_fleet.h"

namespace lorikeet {
namespace {

constexpr int kDevices = 14;
constexpr int kRounds = 9;
constexpr int kAbortedRound = 4;
constexpr int kPersonas = 6;

struct Losses {
  int after_join = 0;
  int after_share = 0;
  int after_mask = 0;
};

absl::Status PassDeadline(TestFleet* fleet) {
  fleet->clock().Set(fleet->service().Tick() + absl::Milliseconds(1));
  fleet->service().Tick();
  return absl::OkStatus();
}

// One round from joining to its sum; the last devices of each step do not come to the next.
absl::Status RunRound(TestFleet* fleet, uint64_t catalog_version, int joining,
                      const Losses& losses) {
  std::vector<TestDevice> devices;
  for (int i = 0; i < joining; ++i) devices.emplace_back(fleet, i);
  size_t left = devices.size();
  const auto step = [&](const auto& take, int lost) -> absl::Status {
    left -= static_cast<size_t>(lost);
    for (size_t i = 0; i < left; ++i) {
      fleet->clock().Advance(absl::Milliseconds(90));
      RETURN_IF_ERROR(take(devices[i]));
    }
    return lost > 0 ? PassDeadline(fleet) : absl::OkStatus();
  };
  RETURN_IF_ERROR(step([&](TestDevice& d) { return d.Join(catalog_version); }, 0));
  if (joining < kDevices - 2) RETURN_IF_ERROR(PassDeadline(fleet));
  RETURN_IF_ERROR(step([](TestDevice& d) { return d.Share(); }, losses.after_join));
  const auto mask = [](TestDevice& d) {
    return d.Mask(static_cast<int>(d.id().back() - '0') % kPersonas, 0.5f);
  };
  RETURN_IF_ERROR(step(mask, losses.after_share));
  RETURN_IF_ERROR(step([](TestDevice& d) { return d.Acknowledge(); }, losses.after_mask));
  return step([](TestDevice& d) { return d.Unmask(); }, 0);
}

// A second task with time enough for a round to be looked at while it is open.
absl::Status AddSlowTask(TestFleet* fleet) {
  ASSIGN_OR_RETURN(const auto tasks, fleet->store().ListTasks());
  ASSIGN_OR_RETURN(TaskConfig task, TaskConfigFromJson(tasks.front().config));
  task.name = "evening";
  task.rounds = 20;
  task.epsilon_budget = 1e9;
  task.advertise = task.share = task.mask = task.acknowledge = task.unmask = absl::Hours(1);
  TaskRecord record;
  record.name = task.name;
  record.config = TaskConfigToJson(task);
  record.created = fleet->clock().Now();
  RETURN_IF_ERROR(fleet->store().AddTask(record));
  return fleet->store().SetTaskState(tasks.front().name, TaskState::kPaused);
}

absl::Status Fill(TestFleet* fleet) {
  fleet->clock().Set(absl::Now() - absl::Hours(kRounds + 1));
  uint64_t version = 1;
  for (int round = 1; round <= kRounds; ++round) {
    fleet->clock().Advance(absl::Minutes(55));
    const bool aborted = round == kAbortedRound;
    const Losses losses = {.after_join = round % 2,
                           .after_share = aborted ? 5 : round % 3,
                           .after_mask = round == 7 ? 1 : 0};
    const absl::Status status = RunRound(fleet, version, round % 4 == 0 ? 10 : 12, losses);
    if (aborted == status.ok())
      return absl::InternalError(absl::StrCat(round, ": ", status.message()));
    version += aborted ? 0 : 1;
  }
  RETURN_IF_ERROR(AddSlowTask(fleet));
  fleet->clock().Set(absl::Now());
  std::vector<TestDevice> devices;
  for (int i = 0; i < kDevices - 2; ++i) devices.emplace_back(fleet, i);
  // Not before all are there: one that has joined must not move.
  for (TestDevice& device : devices) RETURN_IF_ERROR(device.Join(version));
  for (int i = 0; i < 7; ++i) RETURN_IF_ERROR(devices[static_cast<size_t>(i)].Share());
  return fleet->store().RevokeDevice("device-13", fleet->clock().Now());
}

int Main(const std::string& folder) {
  namespace fs = std::filesystem;
  fs::path made;
  {
    FleetOptions options;
    options.cohort_min = 7;
    options.cohort_max = kDevices - 2;
    options.rounds = kRounds + 2;
    options.noise_multiplier = 2;
    options.epsilon_budget = 26;
    options.devices = kDevices;
    options.personas = kPersonas;
    TestFleet fleet(options);
    const absl::Status status = Fill(&fleet);
    if (!status.ok()) {
      std::fprintf(stderr, "fill_store: %s\n", std::string(status.message()).c_str());
      return 1;
    }
    // One key for all of the fleet's roles: the server finds those that its metadata names.
    for (const char* name : {"signing.key", "snapshot.key", "timestamp.key", "log.key"}) {
      fs::remove(fs::path(folder) / name);
      const absl::Status written = fleet.key().WriteFile(fs::path(folder) / name);
      if (!written.ok()) return 1;
    }
    made = fleet.directory();
  }  // the store is closed
  fs::copy(made / "store.sqlite", folder, fs::copy_options::overwrite_existing);
  fs::copy(made / "releases", fs::path(folder) / "releases",
           fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  return 0;
}

}  // namespace
}  // namespace lorikeet

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "fill_store: expected a folder\n");
    return 2;
  }
  return lorikeet::Main(argv[1]);
}
