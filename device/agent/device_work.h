// A real device's computations: its model, its vault, its personal adapter.
#ifndef LORIKEET_DEVICE_AGENT_DEVICE_WORK_H_
#define LORIKEET_DEVICE_AGENT_DEVICE_WORK_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/base/thread_pool.h"
#include "device/agent/agent_store.h"
#include "device/agent/agent_work.h"
#include "device/agent/base_health.h"
#include "device/personalization/personalizer.h"
#include "device/vault/vault.h"

namespace lorikeet {

struct DeviceWorkOptions {
  std::string model_path;  // empty: the base release in the agent's store
  BaseHealthOptions base_health = {};
  // The personal adapter, an absolute path; one that is there is judged too, and replaced only by a
  // better one.  Its history is kept beside it (device/personalization/history.h), and the vault
  // remembers it, so that forgetting reaches it.
  std::string adapter_path;
  PersonalizeOptions personalize;
  std::string vault_dir;  // absolute; what open_vault opens
  std::function<absl::StatusOr<std::unique_ptr<Vault>>()> open_vault;
  // Called with every result before it is kept (reports); may be empty.
  std::function<void(uint64_t catalog_version, const Catalog&, const PersonalizeResult&)>
      on_personalized;
  ProgressCallback progress;  // of training; may be empty
};

// Used by one thread at a time.  Everything borrowed must outlive it.
class DeviceWork final : public AgentWork {
 public:
  DeviceWork(DeviceWorkOptions options, DirectoryAgentStore* store, ThreadPool* pool,
             const Clock* clock, RandomSource* random)
      : options_(std::move(options)), store_(store), pool_(pool), clock_(clock), random_(random) {}

  BaseHealth CheckBase(const CheckBaseAction& action) override;
  absl::StatusOr<PersonalSummary> Personalize(const PersonalizeAction& action) override;
  absl::StatusOr<EncodedDelta> Contribute(const ContributeAction& action) override;

 private:
  absl::StatusOr<std::shared_ptr<const Model>> LoadModel(const Hash256& base_file);
  // The owner's text, and in the vault what is needed to forget some of it again.
  absl::StatusOr<OwnerText> ReadVault(const Model& model, const std::string& catalog_path);

  DeviceWorkOptions options_;
  DirectoryAgentStore* store_;
  ThreadPool* pool_;
  const Clock* clock_;
  RandomSource* random_;
  std::shared_ptr<const Model> model_;
};

// What the agent remembers of a result.
PersonalSummary Summarize(const PersonalizeResult& result, const Catalog& catalog, absl::Time at);

// Trains `catalog`'s persona on `documents` as the round asks, and prepares the contribution.
struct ContributionInput {
  std::shared_ptr<const Model> model;
  const Catalog* catalog = nullptr;
  std::vector<PrivateText> documents;
};
absl::StatusOr<EncodedDelta> TrainContribution(const ContributionInput& input,
                                               const ContributeAction& action, ThreadPool* pool,
                                               const Clock& clock, RandomSource* random,
                                               const ProgressCallback& progress);

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_DEVICE_WORK_H_
