// The production coordinator, and the issuer of tokens beside it, over stores in memory, which can
// be killed and started again.
#ifndef LORIKEET_SIMULATIONS_WORLD_SIM_COORDINATOR_H_
#define LORIKEET_SIMULATIONS_WORLD_SIM_COORDINATOR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/base/random.h"
#include "common/crypto/sign.h"
#include "coordinator/distribution/blob_store.h"
#include "coordinator/registry/token_office.h"
#include "coordinator/rounds/coordinator.h"
#include "coordinator/storage/sqlite_store.h"
#include "device/agent/requests.h"
#include "simulations/world/recording_store.h"

namespace lorikeet {

class SimCoordinator {
 public:
  struct Options {
    TaskConfig task;
    uint64_t seed = 1;
    absl::Duration poll_interval = absl::Seconds(2);  // asked of devices
    TokenSchedule tokens = {.start_unix_seconds = 0, .epoch_seconds = 3600, .tokens_per_epoch = 16};
  };
  // Publishes the catalog, creates the task and enrolls the devices.  `clock` is borrowed.
  static absl::StatusOr<std::unique_ptr<SimCoordinator>> Create(
      const Options& options, const Catalog& catalog, const std::vector<std::string>& devices,
      const Clock* clock, RecordingStore::Callback finished);

  // Null while it is killed.
  AgentServices services() { return {.federation = coordinator_.get(), .issuer = office_.get()}; }
  // As kill -9: what is not in the store is gone.
  void Kill() {
    coordinator_.reset();
    trust_.reset();
    office_.reset();
  }
  absl::Status Start();
  void Tick() {
    if (coordinator_ != nullptr) coordinator_->Tick();
  }

  Store* store() { return store_.get(); }
  BlobStore* blobs() { return &blobs_; }
  // What devices pin.
  const SignedMetadata& root() const { return root_; }
  Ed25519PublicKey issuer_key() const { return issuer_key_.public_key(); }
  // The newest catalog's version, and rounds, or sweeps of routed ones, that made a catalog.
  absl::StatusOr<uint64_t> CatalogVersion();
  absl::StatusOr<int> RoundsDone();

 private:
  SimCoordinator(const Options& options, const Clock* clock);
  absl::Status MakeRoot();
  Options options_;
  const Clock* clock_;
  SeededRandom random_;
  SigningKey key_;
  SigningKey issuer_key_;
  SignedMetadata root_;
  SecretBytes token_seed_;
  MemoryBlobStore blobs_;
  std::unique_ptr<SqliteStore> store_;
  std::unique_ptr<RecordingStore> recording_;
  std::optional<TokenRedeemer> redeemer_;
  std::unique_ptr<TrustOffice> trust_;
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<TokenOffice> office_;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_SIM_COORDINATOR_H_
