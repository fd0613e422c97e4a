#include "simulations/world/sim_coordinator.h"

#include <utility>

#include "common/base/status_macros.h"
#include "coordinator/distribution/root_keeper.h"
#include "coordinator/registry/device_registry.h"

namespace lorikeet {

SimCoordinator::SimCoordinator(const Options& options, const Clock* clock)
    : options_(options),
      clock_(clock),
      random_("simulated coordinator", options.seed),
      key_(SigningKey::Generate(&random_)),
      issuer_key_(SigningKey::Generate(&random_)),
      token_seed_(SecretBytes::Random(kVoprfSeedBytes, &random_)) {}

absl::StatusOr<std::unique_ptr<SimCoordinator>> SimCoordinator::Create(
    const Options& options, const Catalog& catalog, const std::vector<std::string>& devices,
    const Clock* clock, RecordingStore::Callback finished) {
  RETURN_IF_ERROR(CheckTaskConfig(options.task));
  auto sim = std::unique_ptr<SimCoordinator>(new SimCoordinator(options, clock));
  ASSIGN_OR_RETURN(sim->store_, SqliteStore::Open(":memory:", /*create=*/true));
  RETURN_IF_ERROR(sim->MakeRoot());
  sim->recording_ = std::make_unique<RecordingStore>(sim->store_.get(), std::move(finished));
  Publisher publisher(
      {.store = sim->store_.get(), .blobs = &sim->blobs_, .key = &sim->key_, .clock = clock});
  ASSIGN_OR_RETURN(const ReleaseRecord release,
                   publisher.MakeCatalogRelease(catalog, "simulation", /*parent=*/""));
  RETURN_IF_ERROR(sim->store_->AddRelease(release));
  RETURN_IF_ERROR(sim->store_->AddTask({.name = options.task.name,
                                        .config = TaskConfigToJson(options.task),
                                        .created = clock->Now()}));
  for (const std::string& device : devices) {
    RETURN_IF_ERROR(EnrollDevice(sim->store_.get(), device, clock->Now()));
  }
  RETURN_IF_ERROR(sim->Start());
  return sim;
}

// A simulated fleet has one online key, and a root key that is not needed again.
absl::Status SimCoordinator::MakeRoot() {
  SeededRandom random("simulated root", options_.seed);
  const SigningKey root_key = SigningKey::Generate(&random);
  const Ed25519PublicKey online = key_.public_key();
  root_ = MakeFirstRoot({.root_keys = {&root_key},
                         .threshold = 1,
                         .online = {{TrustRole::kTimestamp, online},
                                    {TrustRole::kSnapshot, online},
                                    {TrustRole::kTargets, online},
                                    {TrustRole::kLog, online},
                                    {TrustRole::kRounds, online}},
                         .expires = clock_->Now() + absl::Hours(24 * 3650)});
  return AcceptRoot(store_.get(), root_);
}

absl::Status SimCoordinator::Start() {
  ASSIGN_OR_RETURN(
      trust_, TrustOffice::Create(
                  {.store = store_.get(), .clock = clock_, .keys = {&key_, &key_, &key_, &key_}}));
  ASSIGN_OR_RETURN(redeemer_, TokenRedeemer::Create(options_.tokens, token_seed_.Clone()));
  ASSIGN_OR_RETURN(coordinator_, Coordinator::Create({.store = recording_.get(),
                                                      .blobs = &blobs_,
                                                      .clock = clock_,
                                                      .random = &random_,
                                                      .key = &key_,
                                                      .poll_interval = options_.poll_interval,
                                                      .redeemer = &*redeemer_,
                                                      .trust = trust_.get()}));
  ASSIGN_OR_RETURN(office_, TokenOffice::Create({.store = store_.get(),
                                                 .schedule = options_.tokens,
                                                 .signer = &issuer_key_,
                                                 .clock = clock_,
                                                 .random = &random_},
                                                token_seed_.Clone()));
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> SimCoordinator::CatalogVersion() {
  ASSIGN_OR_RETURN(const auto release,
                   store_->LatestRelease(ReleaseKind::kCatalog, options_.task.base_fingerprint));
  if (!release) return absl::InternalError("simulation: no catalog is published");
  return release->version;
}

absl::StatusOr<int> SimCoordinator::RoundsDone() {
  ASSIGN_OR_RETURN(const auto rounds, store_->ListRounds(options_.task.name));
  return CompletedRounds(options_.task, rounds);
}

}  // namespace lorikeet
