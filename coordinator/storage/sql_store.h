// The store over SQL that SQLite and PostgreSQL both read: everything but opening one.
//
// Each method is one statement or one transaction.  Not thread-safe.
#ifndef LORIKEET_COORDINATOR_STORAGE_SQL_STORE_H_
#define LORIKEET_COORDINATOR_STORAGE_SQL_STORE_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/storage/sql_connection.h"
#include "coordinator/storage/store.h"
#include "coordinator/storage/trust_store.h"

namespace lorikeet {

class SqlStore : public Store, public TrustStore {
 public:
  absl::Status SetMeta(std::string_view key, std::string_view value) override;
  absl::StatusOr<std::optional<std::string>> GetMeta(std::string_view key) override;
  absl::Status AddTask(const TaskRecord& task) override;
  absl::Status SetTaskState(std::string_view name, TaskState state) override;
  absl::StatusOr<std::vector<TaskRecord>> ListTasks() override;
  absl::StatusOr<std::vector<int64_t>> OpenSweep(const std::vector<RoundOpening>& rounds) override;
  absl::Status AppendEvents(const EventBatch& batch) override;
  absl::StatusOr<std::optional<SessionId>> FindSpentToken(uint64_t epoch,
                                                          const Hash256& nonce) override;
  absl::StatusOr<bool> TryChargeTokens(const TokenChargeRecord& charge, uint32_t limit) override;
  absl::Status ForgetTokens(uint64_t before_epoch) override;
  absl::StatusOr<std::vector<RoundEventRecord>> RoundEvents(int64_t round_id) override;
  absl::StatusOr<std::vector<PartialSumRecord>> PartialSums(int64_t round_id) override;
  absl::Status FinishRound(const RoundEnd& end) override;
  absl::Status AddNoise(const NoiseRecord& noise) override;
  absl::StatusOr<std::optional<NoiseRecord>> FindNoise(std::string_view task) override;
  absl::StatusOr<std::vector<KeptSumRecord>> KeptSums(std::string_view task,
                                                      uint64_t sweep) override;
  absl::StatusOr<std::vector<RoundRecord>> ListRounds(std::string_view task) override;
  absl::StatusOr<std::vector<RoundRecord>> OpenRounds() override;
  absl::StatusOr<RoundRecord> FindRound(const SessionId& session) override;
  absl::Status AddRelease(const ReleaseRecord& release) override;
  absl::StatusOr<std::optional<ReleaseRecord>> LatestRelease(
      ReleaseKind kind, std::string_view base_fingerprint) override;
  absl::StatusOr<std::vector<ReleaseRecord>> ListReleases() override;
  absl::Status AddDevice(const DeviceRecord& device) override;
  absl::Status RevokeDevice(std::string_view id, absl::Time when) override;
  absl::StatusOr<std::optional<DeviceRecord>> FindDevice(std::string_view id) override;
  absl::StatusOr<std::vector<DeviceRecord>> ListDevices() override;
  absl::StatusOr<std::vector<LedgerRecord>> ListLedger(std::string_view task) override;
  absl::StatusOr<std::vector<RoundEventCount>> CountRoundEvents(int64_t round_id) override;
  absl::StatusOr<std::vector<RoundRecord>> RoundsAfter(int64_t id) override;
  absl::StatusOr<DeviceCounts> CountDevices() override;

  absl::StatusOr<Lease> AcquireLease(const LeaseRequest& request) override;
  absl::Status RenewLease(const Fence& fence, absl::Time now, absl::Duration duration) override;
  absl::Status ReleaseLease(const Fence& fence) override;
  absl::StatusOr<std::optional<Lease>> FindLease(std::string_view name) override;
  void UseFence(const std::optional<Fence>& fence) override;

  absl::Status AddTrust(const std::vector<TrustRecord>& records) override;
  absl::StatusOr<std::vector<TrustRecord>> CurrentTrust() override;
  absl::StatusOr<std::vector<TrustRecord>> RootsAfter(uint64_t version, int limit) override;
  absl::StatusOr<std::vector<ReleaseRecord>> NewestReleases() override;
  absl::Status AppendLog(const LogAppend& append) override;
  absl::StatusOr<uint64_t> LogSize() override;
  absl::StatusOr<std::optional<uint64_t>> FindLogEntry(const LogEntry& entry) override;
  absl::StatusOr<std::vector<LogEntry>> ReadLog(uint64_t first, int limit) override;
  absl::StatusOr<Hash256> ReadNode(int level, uint64_t index) override;

 protected:
  explicit SqlStore(std::unique_ptr<SqlConnection> database) : database_(std::move(database)) {}

 private:
  // A transaction in which rounds may be written: refused if the fence in use is behind its lease.
  // `exclusive`: see SqlConnection::Begin.
  absl::StatusOr<SqlTransaction> BeginRoundWrite(std::string_view exclusive = "");
  absl::Status InsertEvent(int64_t round_id, const RoundEventRecord& event);
  absl::Status SpendToken(const SpentTokenRecord& token);
  absl::StatusOr<int64_t> InsertRound(const RoundRecord& round);
  // Checks RoundEnd::ends_sweep and keeps or deletes sums.
  absl::Status UpdateSweep(const RoundEnd& end);

  std::unique_ptr<SqlConnection> database_;
  std::optional<Fence> fence_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_STORAGE_SQL_STORE_H_
