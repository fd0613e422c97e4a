// What a coordinator must not forget, behind one interface.
//
// Everything a device was told was accepted is in the store before the answer leaves.  Release
// bytes are not here (coordinator/distribution/blob_store.h), nor are keys.  Not thread-safe.
#ifndef LORIKEET_COORDINATOR_STORAGE_STORE_H_
#define LORIKEET_COORDINATOR_STORAGE_STORE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/hash.h"
#include "common/wire/federation.h"
#include "common/wire/round.h"

namespace lorikeet {

enum class TaskState : uint8_t { kActive, kPaused, kEnded };
std::string_view TaskStateName(TaskState state);  // "active", "paused", "ended"

struct TaskRecord {
  std::string name;
  std::string config;  // JSON, see coordinator/rounds/task_config.h
  TaskState state = TaskState::kActive;
  absl::Time created;
};

enum class RoundStatus : uint8_t { kOpen, kDone, kAborted };
std::string_view RoundStatusName(RoundStatus status);  // "open", "done", "aborted"

struct RoundRecord {
  int64_t id = 0;  // grows with every round of every task
  std::string task;
  uint64_t number = 0;  // of the task
  SessionId session = {};
  SignedRoundDescription description;
  RoundStatus status = RoundStatus::kOpen;
  absl::Time opened;
  absl::Time finished = absl::InfinitePast();
  std::string message;          // kAborted: why
  uint32_t survivor_count = 0;  // kDone
  Hash256 transcript = {};      // kDone
  std::string report;           // kDone: JSON, see coordinator/aggregation/update_merge.h
};

// One input that changed a round's state; a round is rebuilt by stepping through them in order.
enum class RoundEventKind : uint8_t {
  kAdvertise = 1,
  kShare = 2,
  kMask = 3,  // a masked update, whose numbers are in a partial sum (PartialSumRecord)
  kAcknowledge = 4,
  kUnmask = 5,
  kTick = 6,  // a deadline passed at `at`
};
struct RoundEventRecord {
  RoundEventKind kind = RoundEventKind::kTick;
  std::string device;   // empty for kTick
  std::string payload;  // encoded message (common/wire/encode.h); kMask: see MaskedEntry
                        // (round_machine.h); empty for kTick
  absl::Time at;
};

// The masked updates that one writer (a coordinator, from one start to its end) added up: as many
// as it has stored kMask events of.
struct PartialSumRecord {
  std::string writer;
  std::string sum;  // modulo 2^m, packed as masked updates are
};

// The messages of one kind in a round, without what they say.
struct RoundEventCount {
  RoundEventKind kind = RoundEventKind::kTick;
  int64_t messages = 0;
  uint64_t bytes = 0;  // of all payloads
  absl::Time last;
};

struct ReleaseRecord {
  ReleaseKind kind = ReleaseKind::kCatalog;
  std::string name;
  uint64_t version = 0;
  std::string base_fingerprint;
  SignedManifest manifest;
  absl::Time published;
};

struct DeviceRecord {
  std::string id;
  absl::Time enrolled;
  absl::Time revoked = absl::InfiniteFuture();
  bool is_revoked() const { return revoked != absl::InfiniteFuture(); }
};

struct DeviceCounts {
  int64_t enrolled = 0;  // and not revoked
  int64_t revoked = 0;
};

// Privacy spent.  Written before the round opens; `spent` turns false only when a round was aborted
// before any unmasking share arrived, so that nothing was released.
struct LedgerRecord {
  std::string task;
  uint64_t round_number = 0;
  double epsilon = 0;  // of this round alone
  double delta = 0;
  double noise_multiplier = 0;
  absl::Time charged;
  bool spent = true;
  // Number of the first round that opened together with it, or its own.  A device is in one round
  // of such a sweep at most: they count once.
  uint64_t sweep = 0;
};

struct RoundOpening {
  RoundRecord round;
  LedgerRecord ledger;
};

// Central noise of a task (coordinator/rounds/central_noise.h): as secret as the sums it goes onto.
struct NoiseRecord {
  std::string task;
  std::string state;  // seed and next step, among others
};

// How a round ended.
struct RoundEnd {
  RoundRecord round;  // what it says about its end
  bool spent = false;
  std::optional<ReleaseRecord> release;
  std::optional<NoiseRecord> noise;  // takes the place of the task's
  // Whether no other round of its sweep is open.  Then what was kept is deleted.
  bool ends_sweep = true;
  std::string kept_sum;  // else, unless empty: kept until the sweep ends
};

// What a round of a sweep that is not over gave, noised and decoded.
struct KeptSumRecord {
  int64_t round_id = 0;
  std::string sum;  // 32-bit floats, little-endian
};

// Anonymous tokens that a device asked an issuer for.
struct TokenChargeRecord {
  std::string device;
  uint64_t epoch = 0;
  Hash256 request = {};
  uint32_t count = 0;
};

// An anonymous token that admitted somebody to a round.
struct SpentTokenRecord {
  uint64_t epoch = 0;
  Hash256 nonce = {};
  SessionId session = {};
};

// What happened in the rounds since the last batch: stored together or not at all.
struct EventBatch {
  struct Entry {
    int64_t round_id = 0;
    RoundEventRecord event;
    std::optional<SpentTokenRecord> token;  // that paid for it
  };
  struct Sum {
    int64_t round_id = 0;
    PartialSumRecord sum;  // takes the place of this writer's earlier one
  };
  std::vector<Entry> entries;
  std::vector<Sum> sums;
  bool empty() const { return entries.empty(); }
};

// Which of several coordinators over one store may do something, for how long.  Never deleted: the
// token counts who has held it.
struct Lease {
  std::string name;
  uint64_t token = 0;   // grows with every acquisition
  std::string holder;   // "": nobody
  std::string address;  // where the others reach the holder
  absl::Time expires;   // by the store's clock
};
struct LeaseRequest {
  std::string name;
  std::string holder;  // another one for every start of a coordinator
  std::string address;
  absl::Time now;  // a store with a clock of its own goes by that one
  absl::Duration duration;
};
// A lease as its holder had it.
struct Fence {
  std::string lease;
  uint64_t token = 0;
};

// Texts are UTF-8 without NUL.  UNAVAILABLE: the store cannot be reached now; what was to be
// written may be in it or not, as the message says.
class Store {
 public:
  virtual ~Store() = default;

  virtual absl::Status SetMeta(std::string_view key, std::string_view value) = 0;
  virtual absl::StatusOr<std::optional<std::string>> GetMeta(std::string_view key) = 0;

  // ALREADY_EXISTS: the name is taken.
  virtual absl::Status AddTask(const TaskRecord& task) = 0;
  // NOT_FOUND.
  virtual absl::Status SetTaskState(std::string_view name, TaskState state) = 0;
  virtual absl::StatusOr<std::vector<TaskRecord>> ListTasks() = 0;

  // The rounds of a sweep and their ledger entries, in one transaction; returns the rounds' ids.
  virtual absl::StatusOr<std::vector<int64_t>> OpenSweep(
      const std::vector<RoundOpening>& rounds) = 0;
  // One transaction, however many devices are in it.  ALREADY_EXISTS: a token is spent (by
  // whichever coordinator over this store, whenever), and nothing was stored.
  virtual absl::Status AppendEvents(const EventBatch& batch) = 0;
  // The session that a token was spent in, if it was.
  virtual absl::StatusOr<std::optional<SessionId>> FindSpentToken(uint64_t epoch,
                                                                  const Hash256& nonce) = 0;
  // Records a charge and returns true, or records nothing and returns false if the device's sum for
  // that epoch would pass `limit`.  A charge known before is true again, and counts once.
  virtual absl::StatusOr<bool> TryChargeTokens(const TokenChargeRecord& charge, uint32_t limit) = 0;
  // Deletes what is known of epochs before this one.
  virtual absl::Status ForgetTokens(uint64_t before_epoch) = 0;
  virtual absl::StatusOr<std::vector<RoundEventRecord>> RoundEvents(int64_t round_id) = 0;
  virtual absl::StatusOr<std::vector<PartialSumRecord>> PartialSums(int64_t round_id) = 0;
  // Sets what `end` says, adds the release if there is one, sets the ledger entry's `spent`,
  // deletes the round's events and partial sums, replaces the task's noise if there is new one,
  // keeps or deletes the sweep's sums: one transaction. FAILED_PRECONDITION: the round is not open;
  // another one of its sweep is, and `ends_sweep` says not (or the other way round): nothing was
  // stored.
  virtual absl::Status FinishRound(const RoundEnd& end) = 0;
  // ALREADY_EXISTS: the task has one.
  virtual absl::Status AddNoise(const NoiseRecord& noise) = 0;
  virtual absl::StatusOr<std::optional<NoiseRecord>> FindNoise(std::string_view task) = 0;
  // Of a sweep that is not over, by round.
  virtual absl::StatusOr<std::vector<KeptSumRecord>> KeptSums(std::string_view task,
                                                              uint64_t sweep) = 0;
  // Newest first; all tasks if `task` is empty.
  virtual absl::StatusOr<std::vector<RoundRecord>> ListRounds(std::string_view task) = 0;
  virtual absl::StatusOr<std::vector<RoundRecord>> OpenRounds() = 0;
  // NOT_FOUND.
  virtual absl::StatusOr<RoundRecord> FindRound(const SessionId& session) = 0;

  // ALREADY_EXISTS: this kind, base and version is there.
  virtual absl::Status AddRelease(const ReleaseRecord& release) = 0;
  // The highest version of a kind; of any base if `base_fingerprint` is empty.
  virtual absl::StatusOr<std::optional<ReleaseRecord>> LatestRelease(
      ReleaseKind kind, std::string_view base_fingerprint) = 0;
  virtual absl::StatusOr<std::vector<ReleaseRecord>> ListReleases() = 0;

  // ALREADY_EXISTS: enrolled before.
  virtual absl::Status AddDevice(const DeviceRecord& device) = 0;
  // NOT_FOUND.
  virtual absl::Status RevokeDevice(std::string_view id, absl::Time when) = 0;
  virtual absl::StatusOr<std::optional<DeviceRecord>> FindDevice(std::string_view id) = 0;
  virtual absl::StatusOr<std::vector<DeviceRecord>> ListDevices() = 0;

  // In order of charging; all tasks if `task` is empty.
  virtual absl::StatusOr<std::vector<LedgerRecord>> ListLedger(std::string_view task) = 0;

  // Takes the lease if nobody holds it, its time is over or it is this holder's (whose earlier
  // token ends with that).  Returns it as it is afterwards: the request's holder's, or another's.
  virtual absl::StatusOr<Lease> AcquireLease(const LeaseRequest& request) = 0;
  // From now on for `duration`.  FAILED_PRECONDITION: given up, or somebody else has taken it.
  virtual absl::Status RenewLease(const Fence& fence, absl::Time now, absl::Duration duration) = 0;
  // Gives it up, so that others need not wait for its end.  OK if it was another's already.
  virtual absl::Status ReleaseLease(const Fence& fence) = 0;
  virtual absl::StatusOr<std::optional<Lease>> FindLease(std::string_view name) = 0;
  // From now on what this object writes of rounds (OpenSweep, AppendEvents, FinishRound) is refused
  // with FAILED_PRECONDITION, and nothing of it stored, once the lease has another token: a
  // coordinator that was paused and wakes can write no more.  Null: no fence.
  virtual void UseFence(const std::optional<Fence>& fence) = 0;

  // For those who look on often.  As they are here they read everything; a store that can count
  // without reading overrides them.
  // By kind, in ascending order; kinds without a message are left out.
  virtual absl::StatusOr<std::vector<RoundEventCount>> CountRoundEvents(int64_t round_id);
  // Rounds whose id is above `id`, oldest first.
  virtual absl::StatusOr<std::vector<RoundRecord>> RoundsAfter(int64_t id);
  virtual absl::StatusOr<DeviceCounts> CountDevices();
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_STORAGE_STORE_H_
