// The coordinator without a network: devices' calls in, durable state, rounds that go on.
//
// Implements FederationService over injected store, blobs, clock, randomness and key.  The gRPC
// server (coordinator/server) and lorikeet-sim call it.  Tasks, releases and revocations are read
// from the store at each call, so that the admin program needs no line to a running server.  An
// accepted message is stored before its device is answered; Create continues the rounds that a
// killed coordinator left.  Rounds open when the first device asks for one.
#ifndef LORIKEET_COORDINATOR_ROUNDS_COORDINATOR_H_
#define LORIKEET_COORDINATOR_ROUNDS_COORDINATOR_H_

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "common/crypto/sign.h"
#include "common/dp/ledger.h"
#include "common/tokens/redeemer.h"
#include "common/wire/federation.h"
#include "coordinator/aggregation/update_merge.h"
#include "coordinator/distribution/blob_store.h"
#include "coordinator/distribution/publisher.h"
#include "coordinator/distribution/trust_office.h"
#include "coordinator/rounds/describe_round.h"
#include "coordinator/rounds/leadership.h"
#include "coordinator/rounds/open_round.h"
#include "coordinator/rounds/task_config.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

// Thread-safe, by one mutex.
class Coordinator final : public FederationService {
 public:
  struct Options {
    Store* store = nullptr;
    BlobStore* blobs = nullptr;
    const Clock* clock = nullptr;
    RandomSource* random = nullptr;
    const SigningKey* key = nullptr;
    ThreadPool* pool = nullptr;  // for unmasking; may be null; nothing else may use it meanwhile
    absl::Duration poll_interval = absl::Milliseconds(250);  // asked of devices in a round
    absl::Duration round_interval = absl::Seconds(1);        // asked of devices waiting for one
    absl::Duration release_validity = absl::Hours(24 * 90);
    // Of tasks that require anonymous tokens; null: their rounds do not open.
    TokenRedeemer* redeemer = nullptr;
    TrustOffice* trust = nullptr;  // over the same store, and for nobody else
    // Of several coordinators over one store; of this one alone, over the same store.  Null: it is
    // the only one.
    Leadership* leadership = nullptr;
    // Over all tasks of a base together (total_budget.h): a round that would pass it does not open.
    std::optional<PrivacyBudget> total_budget = std::nullopt;
  };
  // Borrows everything in options.  Continues the rounds that are open in the store.
  static absl::StatusOr<std::unique_ptr<Coordinator>> Create(const Options& options);

  // Ends steps whose deadline has passed.  Call it a few times a second, or at the time it returns
  // (the next deadline; InfiniteFuture when no round is open).
  absl::Time Tick();

  // Where the rounds are run: the address of another coordinator, or empty for this one.  What is
  // about rounds (GetRound, the five steps, Poll) is UNAVAILABLE on the others.  UNAVAILABLE: by
  // nobody now.
  absl::StatusOr<std::string> Leader();
  // Lets another coordinator run the rounds, at once.  For the end of this one.
  void Resign();

  absl::StatusOr<HelloResult> Hello(const DeviceId& device, uint32_t protocol_version) override;
  absl::StatusOr<SignedManifest> GetRelease(const DeviceId& device,
                                            const ReleaseQuery& query) override;
  absl::StatusOr<ChunkResult> FetchChunk(const DeviceId& device, const ChunkQuery& query) override;
  absl::StatusOr<TrustUpdate> GetTrust(const DeviceId& device, const TrustQuery& query) override;
  absl::StatusOr<LogEvidence> GetLogProof(const DeviceId& device, const LogQuery& query) override;
  absl::StatusOr<RoundOffer> GetRound(const DeviceId& device, const RoundQuery& query) override;
  absl::StatusOr<uint32_t> AdvertiseKeys(const DeviceId& device,
                                         const JoinRequest& request) override;
  absl::Status ShareKeys(const DeviceId& device, const ShareKeysMessage& message) override;
  absl::Status SubmitMaskedUpdate(const DeviceId& device, const MaskedUpdate& message) override;
  absl::Status Acknowledge(const DeviceId& device, const Acknowledgement& message) override;
  absl::Status Unmask(const DeviceId& device, const UnmaskResponse& message) override;
  absl::StatusOr<PollResult> Poll(const DeviceId& device, const PollQuery& query) override;

 private:
  explicit Coordinator(const Options& options) : options_(options) {}

  // Rebuilds open_ from the store if it is not known to be the same.  UNAVAILABLE: another
  // coordinator runs the rounds.
  absl::Status EnsureLoaded() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status EnsureLeading() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A write failed, or its fate is unknown: nothing in memory counts any more.
  absl::Status Distrust(std::string_view what, const absl::Status& stored)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Admit(const DeviceId& device) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // To a round that admits by token: its members, which it knows by their tokens, and nobody by
  // name.  To the others: enrolled devices.
  absl::Status AdmitToRound(const DeviceId& device, const SessionId& session)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // A message of a round on its way in.
  struct Arrival {
    const DeviceId& device;
    const SessionId& session;
    RoundMessage message;
    const std::optional<Token>& token;
    bool done = false;
    absl::StatusOr<uint32_t> reply = 0;
  };
  // What happened in the rounds and is not stored yet.
  struct RoundBatch {
    struct Change {
      bool summed = false;  // a masked update was added
    };
    EventBatch events;
    std::map<SessionId, Change> rounds;
    bool round_ended = false;  // nothing more may enter this batch
    bool empty() const { return events.empty(); }
    // ALREADY_EXISTS: in this batch the token pays for another round.
    absl::Status CheckUnspent(const Token& token, const SessionId& session) const;
  };
  // Group commit: whoever comes while nobody stores takes all that has come in, steps the rounds
  // and stores it in one transaction; the others wait for theirs.
  absl::StatusOr<uint32_t> Receive(const DeviceId& device, const SessionId& session,
                                   RoundMessage message, const std::optional<Token>& token)
      ABSL_LOCKS_EXCLUDED(mutex_, arrivals_mutex_);
  void AcceptBatch(const std::vector<Arrival*>& batch) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::StatusOr<uint32_t> AcceptArrival(Arrival* arrival, RoundBatch* changes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Whether what came with an advertisement admits its sender.
  absl::Status CheckToken(const RoundDescription& round, const DeviceId& device,
                          const KeyAdvertisement& keys, const std::optional<Token>& token)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Steps the machine; what must be stored (the event, and the token that paid for it) goes to
  // `batch`.
  RoundActions StepRound(OpenRound* round, const RoundInput& input,
                         const std::optional<Token>& token, RoundBatch* batch)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Stores and empties the batch, and settles the rounds that it ended.
  absl::Status Commit(RoundBatch* batch) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<OpenRound> RestoreRound(RoundRecord record,
                                         const std::vector<RoundEventRecord>& events,
                                         const std::vector<PartialSumRecord>& sums);
  // Whether a round like this fits into the total budget; says why not, once.
  absl::StatusOr<bool> FitsTotal(const TaskConfig& config, const RoundDescription& round)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The tokens that a round opening now admits.
  absl::StatusOr<TokenDemand> DemandTokens() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status TickAll() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // A finished machine -> store (and release); the round leaves open_.
  absl::Status Settle(OpenRound* round) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What the round gave, for the one that ends its sweep.
  absl::Status Keep(const OpenRound& round, RoundEnd* end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The next catalog, of all sums of the round's sweep.
  absl::Status Release(const OpenRound& round, RoundEnd* end, nlohmann::json* report)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<ReleaseRecord> Merge(const TaskConfig& config, const RoundDescription& round,
                                      std::span<const RoundSum> sums, nlohmann::json* report)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // In the order of their opening.
  std::vector<const OpenRound*> OfferedRounds(const DeviceId& device, const RoundQuery& query)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Opens rounds of the tasks that are due, unless the device has one to join that is for all
  // personas: one such round at a time.
  absl::Status OpenDueRounds(const DeviceId& device, const RoundQuery& query)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status OpenIfDue(const TaskRecord& task, const RoundQuery& query)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status StartSweep(const TaskConfig& config, uint64_t first_number,
                          const ReleaseRecord& catalog) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  absl::Mutex arrivals_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  std::vector<Arrival*> arrivals_ ABSL_GUARDED_BY(arrivals_mutex_);
  bool batch_in_progress_ ABSL_GUARDED_BY(arrivals_mutex_) = false;
  absl::Mutex mutex_;
  bool loaded_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t term_ ABSL_GUARDED_BY(mutex_) = 0;  // of the leadership in which it was loaded
  std::map<SessionId, OpenRound> open_ ABSL_GUARDED_BY(mutex_);
  // Task -> rounds it had spent when its budget was found too small for another: said and computed
  // once.
  std::map<std::string, int64_t> out_of_budget_ ABSL_GUARDED_BY(mutex_);
  // Task -> what all tasks had spent (SpentDigest) when the total budget was found too small.
  std::map<std::string, Hash256> out_of_total_ ABSL_GUARDED_BY(mutex_);
};

// Rounds of this task that count against its privacy budget.  A sweep of routed rounds counts once:
// no device is in two of them, and what each of them costs its own devices costs the others
// nothing. That is for devices that are there or not; one that changes its choice changes two sums.
absl::StatusOr<int64_t> SpentRounds(Store* store, const std::string& task);

// Rounds of this task, or sweeps of them, that made a catalog.
int CompletedRounds(const TaskConfig& config, const std::vector<RoundRecord>& rounds);

// Shape of a published catalog, for planning rounds.
absl::StatusOr<CatalogShape> ShapeOf(const ReleaseRecord& release, BlobStore* blobs);

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_ROUNDS_COORDINATOR_H_
