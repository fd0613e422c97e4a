// The store in one SQLite file (WAL, synchronous = FULL: a commit survives a power cut).
//
// Several processes may have it open (a server and admin commands): every read sees the others'
// commits.  Not thread-safe.
#ifndef LORIKEET_COORDINATOR_STORAGE_SQLITE_STORE_H_
#define LORIKEET_COORDINATOR_STORAGE_SQLITE_STORE_H_

#include <memory>
#include <string>

#include "common/sqlite/database.h"
#include "coordinator/storage/store.h"

namespace lorikeet {

class SqliteStore final : public Store {
 public:
  // ":memory:" lives as long as the object.  Older schemas are brought up to date
  // (migrations.h).  FAILED_PRECONDITION: a newer schema than this program's.
  // NOT_FOUND: no such file and `create` is false.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& path, bool create);

  absl::Status SetMeta(std::string_view key, std::string_view value) override;
  absl::StatusOr<std::optional<std::string>> GetMeta(std::string_view key) override;
  absl::Status AddTask(const TaskRecord& task) override;
  absl::Status SetTaskState(std::string_view name, TaskState state) override;
  absl::StatusOr<std::vector<TaskRecord>> ListTasks() override;
  absl::StatusOr<int64_t> OpenRound(const RoundRecord& round, const LedgerRecord& ledger) override;
  absl::Status AppendEvents(const EventBatch& batch) override;
  absl::StatusOr<std::optional<SessionId>> FindSpentToken(uint64_t epoch,
                                                          const Hash256& nonce) override;
  absl::StatusOr<bool> TryChargeTokens(const TokenChargeRecord& charge, uint32_t limit) override;
  absl::Status ForgetTokens(uint64_t before_epoch) override;
  absl::StatusOr<std::vector<RoundEventRecord>> RoundEvents(int64_t round_id) override;
  absl::StatusOr<std::vector<PartialSumRecord>> PartialSums(int64_t round_id) override;
  absl::Status FinishRound(const RoundRecord& round, bool spent,
                           const std::optional<ReleaseRecord>& release,
                           const std::optional<NoiseRecord>& noise) override;
  absl::Status AddNoise(const NoiseRecord& noise) override;
  absl::StatusOr<std::optional<NoiseRecord>> FindNoise(std::string_view task) override;
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

 private:
  absl::Status InsertEvent(int64_t round_id, const RoundEventRecord& event);
  absl::Status SpendToken(const SpentTokenRecord& token);
  explicit SqliteStore(std::unique_ptr<Database> database) : database_(std::move(database)) {}
  std::unique_ptr<Database> database_;
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_STORAGE_SQLITE_STORE_H_
