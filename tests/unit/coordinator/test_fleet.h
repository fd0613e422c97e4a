// A coordinator over a store on disk, a tiny base and catalog, and devices that speak the protocol
// with the production SecAggClient.
#ifndef LORIKEET_TESTS_UNIT_COORDINATOR_TEST_FLEET_H_
#define LORIKEET_TESTS_UNIT_COORDINATOR_TEST_FLEET_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/adapter/catalog.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/crypto/sign.h"
#include "common/dp/ledger.h"
#include "common/secagg/client.h"
#include "common/wire/federation.h"
#include "coordinator/distribution/directory_blob_store.h"
#include "coordinator/registry/token_office.h"
#include "coordinator/rounds/coordinator.h"
#include "coordinator/storage/open_store.h"
#include "coordinator/storage/sqlite_store.h"

namespace lorikeet {

// Personas ("brief", "formal", then "kind-2" etc.) over one 4 x 4 matrix of rank 2: block size 4.
Catalog TinyCatalog(const std::string& base_fingerprint, uint64_t version, int personas = 2);
// A file that passes for a base model; another `seed` is another base.
std::string WriteTinyBase(const std::string& directory, int seed);

struct FleetOptions {
  int cohort_min = 3;
  int cohort_max = 5;
  int rounds = 2;
  double noise_multiplier = 0.001;  // next to none: sums can be compared
  double epsilon_budget = 1e9;
  int devices = 6;
  bool tokens = false;     // the task requires them
  std::string store = {};  // see OpenStore; empty: a file of the fleet's
  int personas = 2;
  int bucket_personas = 0;  // above 0: the task is routed, and requires tokens
  std::string noise = "skellam";
  int separation = 1;  // of central noise
};

class TestFleet {
 public:
  explicit TestFleet(const FleetOptions& options = {});

  // As kill -9 and a new start: everything in memory is gone.
  void Restart();

  // From now on, over all tasks together; restarts.
  void LimitTotal(const PrivacyBudget& budget);

  // A second coordinator over `store`, as another process would be.
  struct ReplicaOptions {
    Leadership* leadership = nullptr;
    const Clock* clock = nullptr;    // null: the fleet's
    RandomSource* random = nullptr;  // null: the fleet's
  };
  std::unique_ptr<Coordinator> Replica(SqlStore* store, const ReplicaOptions& options);
  std::unique_ptr<Coordinator> Replica(SqlStore* store) { return Replica(store, {}); }
  // Where devices call from now on instead of at service().
  void Redirect(FederationService* entrance) { entrance_ = entrance; }
  FederationService& entrance() { return entrance_ != nullptr ? *entrance_ : *coordinator_; }

  Coordinator& service() { return *coordinator_; }
  TokenOffice& office() { return *office_; }
  const SigningKey& issuer_key() const { return issuer_key_; }
  static TokenSchedule token_schedule() {
    return {.start_unix_seconds = 0, .epoch_seconds = 1000, .tokens_per_epoch = 3};
  }
  SqlStore& store() { return *store_; }
  BlobStore& blobs() { return *blobs_; }
  const std::string& store_path() const { return store_path_; }
  ManualClock& clock() { return clock_; }
  const SigningKey& key() const { return key_; }
  // What devices pin.
  const SignedMetadata& root() const { return root_; }
  const std::string& directory() const { return directory_; }
  const std::string& base() const { return base_; }
  Publisher publisher();
  Catalog LatestCatalog();
  RoundRecord LatestRound();

 private:
  std::string directory_;
  std::string store_path_;
  FederationService* entrance_ = nullptr;
  ManualClock clock_{absl::FromUnixSeconds(1700000000)};
  SeededRandom random_{"test fleet", 1};
  SigningKey key_;
  SigningKey issuer_key_;
  SigningKey root_key_;
  SignedMetadata root_;
  std::string base_;
  std::optional<PrivacyBudget> total_budget_;
  std::unique_ptr<SqlStore> store_;
  std::unique_ptr<DirectoryBlobStore> blobs_;
  std::unique_ptr<SqlStore> office_store_;
  std::optional<TokenRedeemer> redeemer_;
  std::vector<std::unique_ptr<TrustOffice>> trust_;  // of each coordinator
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<TokenOffice> office_;
};

// One participant of one round.  Each call polls and sends one message, the same if it is
// repeated.
class TestDevice {
 public:
  // Device number `index`: id "device-<index>".
  TestDevice(TestFleet* fleet, int index);

  // Whose round it joins where there are several; the first persona's unless set.
  void set_persona(int persona) { persona_ = persona; }
  absl::Status Join(uint64_t catalog_version = 1);  // GetRound, Verify, AdvertiseKeys
  // Join in its parts.  Prepare fetches a token where the round asks for one.
  absl::Status Prepare(uint64_t catalog_version = 1);
  absl::Status Advertise(FederationService* service);
  absl::Status Share();
  // Contributes `value` to all numbers of its persona's block.
  absl::Status Mask(int persona, float value);
  absl::Status Acknowledge();
  absl::Status Unmask();
  absl::StatusOr<PollResult> Poll();

  const std::string& id() const { return id_; }
  // Its id, or who it is in a round that it joined by token.
  const DeviceId& caller() const { return caller_; }
  const std::optional<Token>& token() const { return token_; }
  void set_token(const std::optional<Token>& token) { token_ = token; }
  const RoundDescription& round() const { return round_; }
  const KeyAdvertisement& keys() const { return keys_; }
  const MaskedUpdate& update() const { return update_; }
  uint32_t ticket() const { return ticket_; }

 private:
  absl::Status FetchToken();

  TestFleet* fleet_;
  int persona_ = 0;
  std::string id_;
  DeviceId caller_;
  std::optional<Token> token_;
  SeededRandom random_;
  RoundDescription round_;
  std::unique_ptr<SecAggClient> client_;
  KeyAdvertisement keys_;
  // What was made for this round: sent again where the first time failed.
  std::optional<ShareKeysMessage> shares_;
  std::optional<Acknowledgement> acknowledgement_;
  std::optional<UnmaskResponse> unmask_;
  bool masked_ = false;
  MaskedUpdate update_;
  uint32_t ticket_ = 0;
};

}  // namespace lorikeet

#endif  // LORIKEET_TESTS_UNIT_COORDINATOR_TEST_FLEET_H_
