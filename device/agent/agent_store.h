// What an agent must remember across restarts, and the files it downloads.
#ifndef LORIKEET_DEVICE_AGENT_AGENT_STORE_H_
#define LORIKEET_DEVICE_AGENT_AGENT_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/crypto/secret_bytes.h"
#include "common/secagg/messages.h"
#include "common/tokens/token_keys.h"
#include "common/transparency/release_log.h"
#include "common/trust/trust_state.h"
#include "common/wire/manifest.h"
#include "device/agent/base_slots.h"
#include "device/agent/device_ledger.h"

namespace lorikeet {

// Outcome of selecting, training and judging with one catalog.
struct PersonalSummary {
  uint64_t catalog_version = 0;
  std::string chosen;          // persona id, "a+b" for a blend, or "base"
  std::string contributes_to;  // persona whose block a contribution goes to; empty: none fits
  std::string reason;          // the sentence with its evidence
  std::string verdict;
  double loss_base = 0;  // held-out, nats a token
  double loss_persona = 0;
  double loss_personalized = 0;
  bool kept = false;  // the new adapter is better than what was there
  absl::Time at;
};

// An anonymous token (token_purse.h): what is kept of it besides its seed.
struct PurseToken {
  uint64_t epoch = 0;
  Hash256 keys_hash = {};             // of its one-time keys; names its seed
  Hash256 key_id = {};                // of the issuer's key that it was asked of
  std::optional<VoprfOutput> output;  // absent: asked for, not received yet
};

// What it trusts of its fleet (fleet_trust.h).
struct StoredTrust {
  Hash256 pinned = {};  // of the root that it was enrolled with
  TrustedDocuments documents;
};

struct AgentState {
  std::optional<InstalledRelease> base;  // in use
  BaseSlots slots;
  std::optional<InstalledRelease> catalog;
  std::optional<PersonalSummary> personal;
  std::vector<SessionId>
      joined;  // sessions this device advertised keys in, oldest first; never joined again
  int rounds_done = 0;
  uint64_t last_round_catalog = 0;  // catalog version that the last finished round started from
  DeviceLedger ledger;              // of the joined rounds
  std::vector<PurseToken> tokens;
  TokenKeyMemory token_keys;      // what the issuer has shown
  uint64_t next_token_epoch = 0;  // tokens of earlier epochs were asked for
  std::optional<StoredTrust> trust;
  std::optional<TreeHead> tree_head;  // of the fleet's log, the last one seen
  std::vector<Hash256> sweeps;        // in whose rounds it was (sweep_plan.h), oldest first
};

// Every change is durable when the call returns.  Not thread-safe.
class AgentStore {
 public:
  virtual ~AgentStore() = default;
  // Defaults when nothing was saved.  DATA_LOSS: unreadable.
  virtual absl::StatusOr<AgentState> Load() = 0;
  virtual absl::Status Save(const AgentState& state) = 0;

  // A download in progress: which chunks are there already, and one more, verified by the caller.
  // RESOURCE_EXHAUSTED: no room; what is there stays.
  virtual absl::StatusOr<std::vector<bool>> ChunksPresent(const ManifestFile& file) = 0;
  virtual absl::Status WriteChunk(const ManifestFile& file, size_t chunk,
                                  std::string_view data) = 0;
  // Verifies the whole file and makes it FileContent.  DATA_LOSS: it is not the file; chunks that
  // are wrong are no longer present.
  virtual absl::Status FinishFile(const ManifestFile& file) = 0;
  // Makes `file` of one that is there and a delta that is there, verified; the delta is deleted,
  // whatever comes of it.  Errors of ApplyDelta.
  virtual absl::Status FinishByDelta(const Hash256& from, const Hash256& delta,
                                     const ManifestFile& file) = 0;
  virtual bool HasFile(const Hash256& file) = 0;
  // All of a small file.
  virtual absl::StatusOr<std::string> FileContent(const Hash256& file) = 0;
  // Deletes finished files other than these.
  virtual absl::Status KeepOnly(const std::vector<Hash256>& files) = 0;
  // Deletes downloads in progress other than of these.
  virtual absl::Status KeepOnlyDownloads(const std::vector<Hash256>& files) = 0;

  // Seeds of one-time keys that wait for their round.
  virtual absl::Status KeepSeed(const Hash256& name, const SecretBytes& seed) = 0;
  // NOT_FOUND; DATA_LOSS: unreadable.
  virtual absl::StatusOr<SecretBytes> ReadSeed(const Hash256& name) = 0;
  // Overwrites and deletes all others.
  virtual absl::Status KeepOnlySeeds(const std::vector<Hash256>& names) = 0;
};

// In a directory: state.json (atomic), files/HASH, files/HASH.part and .chunks
// (partial_download.h), seeds/HASH (secret files).
class DirectoryAgentStore final : public AgentStore {
 public:
  static absl::StatusOr<std::unique_ptr<DirectoryAgentStore>> Open(const std::string& dir);

  absl::StatusOr<AgentState> Load() override;
  absl::Status Save(const AgentState& state) override;
  absl::StatusOr<std::vector<bool>> ChunksPresent(const ManifestFile& file) override;
  absl::Status WriteChunk(const ManifestFile& file, size_t chunk, std::string_view data) override;
  absl::Status FinishFile(const ManifestFile& file) override;
  absl::Status FinishByDelta(const Hash256& from, const Hash256& delta,
                             const ManifestFile& file) override;
  bool HasFile(const Hash256& file) override;
  absl::StatusOr<std::string> FileContent(const Hash256& file) override;
  absl::Status KeepOnly(const std::vector<Hash256>& files) override;
  absl::Status KeepOnlyDownloads(const std::vector<Hash256>& files) override;
  absl::Status KeepSeed(const Hash256& name, const SecretBytes& seed) override;
  absl::StatusOr<SecretBytes> ReadSeed(const Hash256& name) override;
  absl::Status KeepOnlySeeds(const std::vector<Hash256>& names) override;

  std::string FilePath(const Hash256& file) const;

 private:
  explicit DirectoryAgentStore(std::string dir) : dir_(std::move(dir)) {}
  std::string SeedPath(const Hash256& name) const;
  // Deletes from files/ what `unwanted` says.
  absl::Status Clean(const std::function<bool(const std::string& name)>& unwanted);
  std::string dir_;
};

// In memory, for simulated devices: survives a simulated crash of its agent.
class MemoryAgentStore : public AgentStore {
 public:
  absl::StatusOr<AgentState> Load() override { return state_; }
  absl::Status Save(const AgentState& state) override;
  absl::StatusOr<std::vector<bool>> ChunksPresent(const ManifestFile& file) override;
  absl::Status WriteChunk(const ManifestFile& file, size_t chunk, std::string_view data) override;
  absl::Status FinishFile(const ManifestFile& file) override;
  absl::Status FinishByDelta(const Hash256& from, const Hash256& delta,
                             const ManifestFile& file) override;
  bool HasFile(const Hash256& file) override { return files_.contains(file); }
  absl::StatusOr<std::string> FileContent(const Hash256& file) override;
  absl::Status KeepOnly(const std::vector<Hash256>& files) override;
  absl::Status KeepOnlyDownloads(const std::vector<Hash256>& files) override;
  absl::Status KeepSeed(const Hash256& name, const SecretBytes& seed) override;
  absl::StatusOr<SecretBytes> ReadSeed(const Hash256& name) override;
  absl::Status KeepOnlySeeds(const std::vector<Hash256>& names) override;

 private:
  AgentState state_;
  std::map<Hash256, SecretBytes> seeds_;
  std::map<Hash256, std::map<size_t, std::string>> partial_;  // chunks
  std::map<Hash256, std::string> files_;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_AGENT_STORE_H_
