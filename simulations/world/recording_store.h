// A store that keeps nothing itself, and shows what ends a round before its events are deleted.
#ifndef LORIKEET_SIMULATIONS_WORLD_RECORDING_STORE_H_
#define LORIKEET_SIMULATIONS_WORLD_RECORDING_STORE_H_

#include <functional>

#include "coordinator/storage/store.h"
#include "simulations/world/observer.h"

namespace lorikeet {

class RecordingStore final : public Store {
 public:
  using Callback = std::function<void(const FinishedRound&)>;
  // `store` must outlive this.
  RecordingStore(Store* store, Callback finished) : store_(store), finished_(std::move(finished)) {}

  absl::Status SetMeta(std::string_view key, std::string_view value) override {
    return store_->SetMeta(key, value);
  }
  absl::StatusOr<std::optional<std::string>> GetMeta(std::string_view key) override {
    return store_->GetMeta(key);
  }
  absl::Status AddTask(const TaskRecord& task) override { return store_->AddTask(task); }
  absl::Status SetTaskState(std::string_view name, TaskState state) override {
    return store_->SetTaskState(name, state);
  }
  absl::StatusOr<std::vector<TaskRecord>> ListTasks() override { return store_->ListTasks(); }
  absl::StatusOr<std::vector<int64_t>> OpenSweep(const std::vector<RoundOpening>& rounds) override {
    return store_->OpenSweep(rounds);
  }
  absl::Status AppendEvents(const EventBatch& batch) override {
    return store_->AppendEvents(batch);
  }
  absl::StatusOr<std::optional<SessionId>> FindSpentToken(uint64_t epoch,
                                                          const Hash256& nonce) override {
    return store_->FindSpentToken(epoch, nonce);
  }
  absl::StatusOr<bool> TryChargeTokens(const TokenChargeRecord& charge, uint32_t limit) override {
    return store_->TryChargeTokens(charge, limit);
  }
  absl::Status ForgetTokens(uint64_t before_epoch) override {
    return store_->ForgetTokens(before_epoch);
  }
  absl::StatusOr<std::vector<RoundEventRecord>> RoundEvents(int64_t round_id) override {
    return store_->RoundEvents(round_id);
  }
  absl::StatusOr<std::vector<PartialSumRecord>> PartialSums(int64_t round_id) override {
    return store_->PartialSums(round_id);
  }
  absl::Status FinishRound(const RoundEnd& end) override;
  absl::StatusOr<std::vector<KeptSumRecord>> KeptSums(std::string_view task,
                                                      uint64_t sweep) override {
    return store_->KeptSums(task, sweep);
  }
  absl::Status AddNoise(const NoiseRecord& noise) override { return store_->AddNoise(noise); }
  absl::StatusOr<std::optional<NoiseRecord>> FindNoise(std::string_view task) override {
    return store_->FindNoise(task);
  }
  absl::StatusOr<std::vector<RoundRecord>> ListRounds(std::string_view task) override {
    return store_->ListRounds(task);
  }
  absl::StatusOr<std::vector<RoundRecord>> OpenRounds() override { return store_->OpenRounds(); }
  absl::StatusOr<RoundRecord> FindRound(const SessionId& session) override {
    return store_->FindRound(session);
  }
  absl::Status AddRelease(const ReleaseRecord& release) override {
    return store_->AddRelease(release);
  }
  absl::StatusOr<std::optional<ReleaseRecord>> LatestRelease(
      ReleaseKind kind, std::string_view base_fingerprint) override {
    return store_->LatestRelease(kind, base_fingerprint);
  }
  absl::StatusOr<std::vector<ReleaseRecord>> ListReleases() override {
    return store_->ListReleases();
  }
  absl::Status AddDevice(const DeviceRecord& device) override { return store_->AddDevice(device); }
  absl::Status RevokeDevice(std::string_view id, absl::Time when) override {
    return store_->RevokeDevice(id, when);
  }
  absl::StatusOr<std::optional<DeviceRecord>> FindDevice(std::string_view id) override {
    return store_->FindDevice(id);
  }
  absl::StatusOr<std::vector<DeviceRecord>> ListDevices() override { return store_->ListDevices(); }
  absl::StatusOr<std::vector<LedgerRecord>> ListLedger(std::string_view task) override {
    return store_->ListLedger(task);
  }
  absl::StatusOr<Lease> AcquireLease(const LeaseRequest& request) override {
    return store_->AcquireLease(request);
  }
  absl::Status RenewLease(const Fence& fence, absl::Time now, absl::Duration duration) override {
    return store_->RenewLease(fence, now, duration);
  }
  absl::Status ReleaseLease(const Fence& fence) override { return store_->ReleaseLease(fence); }
  absl::StatusOr<std::optional<Lease>> FindLease(std::string_view name) override {
    return store_->FindLease(name);
  }
  void UseFence(const std::optional<Fence>& fence) override { store_->UseFence(fence); }

 private:
  Store* store_;
  Callback finished_;
};

}  // namespace lorikeet

#endif  // LORIKEET_SIMULATIONS_WORLD_RECORDING_STORE_H_
