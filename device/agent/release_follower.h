// Fetching one release: the fleet's metadata, the manifest that it lists, a proof that this is in
// the log, then a resumable download of the file or of a delta to it, install.  A part of the
// agent's state machine.
#ifndef LORIKEET_DEVICE_AGENT_RELEASE_FOLLOWER_H_
#define LORIKEET_DEVICE_AGENT_RELEASE_FOLLOWER_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "device/agent/agent_store.h"
#include "device/agent/chunk_fetch.h"
#include "device/agent/fleet_trust.h"
#include "device/agent/requests.h"

namespace lorikeet {

class ReleaseFollower {
 public:
  // `installed`: what is there now, if anything.  `trust` and `store` must outlive the follower.
  ReleaseFollower(ReleaseKind kind, std::string base_fingerprint,
                  std::optional<InstalledRelease> installed, FleetTrust* trust, AgentStore* store)
      : kind_(kind),
        base_fingerprint_(std::move(base_fingerprint)),
        installed_(std::move(installed)),
        trust_(trust),
        store_(store) {}

  // A file that this device refused before: a release of it counts as nothing newer.
  void LeaveOut(const Hash256& file) { left_out_ = file; }

  ReleaseKind kind() const { return kind_; }
  AgentRequest FirstRequest() const { return trust_->NextQuery(); }

  // The next request, or nullopt when finished: then `result` tells what is installed now
  // (unchanged if nothing newer was there).  Errors refuse the release (not vouched for, rolled
  // back, expired, not in the log, altered); the old one stays.
  absl::StatusOr<std::optional<AgentRequest>> Handle(const AgentResponse& response, absl::Time now);
  const std::optional<InstalledRelease>& result() const { return installed_; }
  bool changed() const { return changed_; }
  uint64_t bytes_fetched() const { return bytes_fetched_; }
  bool by_delta() const { return by_delta_; }

 private:
  // After the metadata: the manifest, or the one that waited for newer metadata.
  absl::StatusOr<std::optional<AgentRequest>> HandleTrust(const TrustUpdate& update,
                                                          absl::Time now);
  absl::StatusOr<std::optional<AgentRequest>> HandleManifest(const std::string& manifest,
                                                             absl::Time now);
  absl::StatusOr<std::optional<AgentRequest>> HandleProof(const LogEvidence& evidence,
                                                          absl::Time now);
  absl::StatusOr<std::optional<AgentRequest>> HandleChunk(const ChunkResult& chunk);
  // The file itself, or a delta to it from what is installed: whichever costs less.
  absl::Status ChooseFetch();
  absl::StatusOr<std::optional<AgentRequest>> NextChunk();
  absl::Status FinishFetch();
  const ManifestFile& file() const { return manifest_.files.front(); }

  ReleaseKind kind_;
  std::string base_fingerprint_;
  std::optional<InstalledRelease> installed_;
  std::optional<Hash256> left_out_;
  FleetTrust* trust_;
  AgentStore* store_;
  bool asked_for_manifest_ = false;
  std::optional<std::string> unlisted_manifest_;  // waits for newer metadata
  std::optional<LogEntry> unproven_;              // of manifest_, until the log was seen
  Manifest manifest_;
  std::optional<ChunkFetch> fetch_;
  bool by_delta_ = false;  // what is fetched is a delta
  uint64_t bytes_fetched_ = 0;
  bool changed_ = false;
};

}  // namespace lorikeet

#endif  // LORIKEET_DEVICE_AGENT_RELEASE_FOLLOWER_H_
