// Vouches for a fleet's releases and rounds: signs targets, snapshot and timestamp with the online
// keys, keeps the log, proves what is in it.  The root keys are not here (root_keeper.h).
//
// What is signed follows from the store: the newest release of every kind for every base.  A
// release is in the log before it is listed.  Several processes over one store may do this at once
// (a server and `publish`, or replicas): versions and positions are taken once, and who comes
// second looks again.
#ifndef LORIKEET_COORDINATOR_DISTRIBUTION_TRUST_OFFICE_H_
#define LORIKEET_COORDINATOR_DISTRIBUTION_TRUST_OFFICE_H_

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/crypto/sign.h"
#include "common/wire/trust_messages.h"
#include "coordinator/storage/trust_store.h"

namespace lorikeet {

// One key may have several roles.
struct OnlineKeys {
  const SigningKey* targets = nullptr;
  const SigningKey* snapshot = nullptr;
  const SigningKey* timestamp = nullptr;
  const SigningKey* log = nullptr;
};

// Not thread-safe.
class TrustOffice {
 public:
  struct Options {
    TrustStore* store = nullptr;
    const Clock* clock = nullptr;
    OnlineKeys keys;
    // Signed again when half of it is over.  More than kMaxClockSkew.
    absl::Duration timestamp_validity = absl::Hours(24 * 7);
    absl::Duration targets_validity = absl::Hours(24 * 90);  // and the snapshot's
  };
  // Borrows everything in options; lists and signs what is due.  FAILED_PRECONDITION: the store has
  // no root, or one that names other keys.
  static absl::StatusOr<std::unique_ptr<TrustOffice>> Create(const Options& options);

  // Logs new releases, lists them and signs what is due.
  absl::Status Refresh();
  // The same, if a release was added (by this process) or the last look was long ago.  Errors are
  // logged: what was signed before is still there.
  void RefreshIfDue();
  void ReleasesChanged() { next_look_ = absl::InfinitePast(); }

  absl::StatusOr<TrustUpdate> Answer(const TrustQuery& query);

  // Durable when it returns; an entry that is in already is OK.
  absl::Status Log(const LogEntry& entry);
  // NOT_FOUND: an entry is not in the log; FAILED_PRECONDITION: the log is shorter than known_size.
  absl::StatusOr<LogEvidence> Prove(const LogQuery& query);

 private:
  // Nodes never change: those read lately are kept.
  class CachedNodes final : public MerkleNodes {
   public:
    explicit CachedNodes(MerkleNodes* nodes) : nodes_(nodes) {}
    absl::StatusOr<Hash256> ReadNode(int level, uint64_t index) override;

   private:
    MerkleNodes* nodes_;
    std::map<std::pair<int, uint64_t>, Hash256> read_;
  };
  struct Documents;

  explicit TrustOffice(const Options& options) : options_(options), nodes_(options.store) {}
  absl::StatusOr<Documents> ReadDocuments();
  absl::Status CheckKeys(const RootMetadata& root) const;
  // The files that devices may install, all of them in the log.
  absl::StatusOr<std::map<std::string, TargetFile>> ListTargets();
  absl::Status SignDue(const Documents& documents, const RootMetadata& root,
                       std::map<std::string, TargetFile> targets);

  const Options options_;
  CachedNodes nodes_;
  std::set<Hash256> logged_;  // manifests known to be in the log
  absl::Time next_look_ = absl::InfinitePast();
};

}  // namespace lorikeet

#endif  // LORIKEET_COORDINATOR_DISTRIBUTION_TRUST_OFFICE_H_
